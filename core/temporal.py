"""The Temporal client: data converter, namespace, search attributes, and what counts as Temporal being away."""

import logging
import os
import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import NoReturn

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client, Interceptor
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode

from core.contracts.names import SEARCH_ATTRIBUTES

_AWAY = {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}


async def connect(
    address: str, namespace: str, *, lazy: bool = False, interceptors: Iterable[Interceptor] = ()
) -> Client:
    """A client of one namespace. `lazy` connects at the first call: for processes that must start without Temporal."""
    return await Client.connect(
        address,
        namespace=namespace,
        data_converter=pydantic_data_converter,
        lazy=lazy,
        interceptors=list(interceptors),
    )


def is_away(error: BaseException) -> bool:
    """Whether a call failed because Temporal cannot be reached, and not because of what was asked."""
    if isinstance(error, RPCError):
        return error.status in _AWAY
    # A lazy client that cannot connect raises RuntimeError.
    return isinstance(error, (RuntimeError, OSError, TimeoutError))


def leave(status: int) -> NoReturn:
    """
    End a process that used a client, without taking the interpreter down first.

    The SDK's own threads may still hand over an answer while the interpreter ends, and abort the process with
    "PyGILState_Release": a command that did its work would be taken for one that crashed (temporalio/sdk-python#300).
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


async def prepare_namespace(address: str, namespace: str, retention: timedelta) -> None:
    """Make the namespace if it is missing, set how long histories are kept, register our search attributes.

    Safe to call again and from several processes.
    """
    client = await connect(address, namespace)
    service = client.workflow_service
    period = Duration(seconds=int(retention.total_seconds()))
    try:
        await service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        await service.register_namespace(
            RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=period)
        )
    await service.update_namespace(
        UpdateNamespaceRequest(namespace=namespace, config=NamespaceConfig(workflow_execution_retention_ttl=period))
    )
    known = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=namespace))
    missing = [key.name for key in SEARCH_ATTRIBUTES if key.name not in known.custom_attributes]
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=namespace,
                search_attributes=dict.fromkeys(missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
            )
        )
