"""The API against its own description: requests made from the OpenAPI document, good ones and bad ones."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.stack import ROOT

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EVENTS, FILE = "GET /v1/jobs/{job_id}/events", "GET /v1/artifacts/{artifact_id}"
NOT_JSON = {EVENTS, FILE}
"""Their answers are a stream and bytes, of which a JSON schema says nothing. Problems have their form by their type."""
SECONDS = 20.0

set_hypothesis_home_dir(ROOT / ".atelier" / "hypothesis")


class Conformance:
    """Sends the same requests in every run, and keeps what was not as the document says.

    `things` are ids that exist, by the name of the path's parameter; many requests have one of them in the place of
    what was generated. The last of `job_id` is of a job that has ended: its events come to an end.
    """

    def __init__(self, url: str, things: Mapping[str, Sequence[str]]) -> None:
        self._url = url
        self._things = things
        config = schemathesis.Config()
        # The credentials are given: tests/api/test_access.py has those that are none.
        config.projects.default.generation.with_security_parameters = False
        document = requests.get(f"{url}/openapi.json", timeout=SECONDS).json()
        schema = schemathesis.openapi.from_dict(document, config=config)
        self._operations = {found.label: found for found in _read(schema)}
        self.statuses: dict[str, Counter[int]] = {}
        """What was answered, by operation."""
        self.wrong: list[str] = []

    @property
    def operations(self) -> list[str]:
        """All there are; those that cancel and delete come last, as others ask for what is there and goes on."""
        return sorted(self._operations, key=lambda label: (label.startswith("DELETE"), label.endswith("/cancel")))

    @property
    def cases(self) -> int:
        """How many requests were sent."""
        return sum(found.total() for found in self.statuses.values())

    @property
    def never_done(self) -> set[str]:
        """The operations that refused every request."""
        return {label for label, found in self.statuses.items() if not any(status < 300 for status in found)}

    def ask(self, operations: Iterable[str], token: str, *, examples: int) -> None:
        """Send each operation so many good requests, and as many that are wrong in something."""
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {token}"
            for label in operations:
                self._ask(session, label, schemathesis.GenerationMode.POSITIVE, examples)
                given = self._operations[label]
                # What takes nothing but ids and headers of any form cannot be asked wrongly.
                if given.query or given.body:
                    self._ask(session, label, schemathesis.GenerationMode.NEGATIVE, examples)

    def _ask(self, session: requests.Session, label: str, mode: schemathesis.GenerationMode, examples: int) -> None:
        operation = self._operations[label]
        statuses = self.statuses.setdefault(label, Counter())
        left_out = [response_schema_conformance] if label in NOT_JSON else []

        @hypothesis.settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            # What is wrong is told as it was sent: the database has changed since, so nothing can be sent again.
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(data=st.data())
        def asked(data: st.DataObject) -> None:
            case = data.draw(operation.as_strategy(generation_mode=mode))
            for name in case.path_parameters:
                known = [*self._things.get(name, ())][-1 if label == EVENTS else 0 :]
                keep: bool = data.draw(st.integers(0, 3)) == 0
                if known and not keep:
                    case.path_parameters[name] = data.draw(st.sampled_from(known))
            response = case.call(self._url, session=session, timeout=SECONDS)
            statuses[response.status_code] += 1
            try:
                case.validate_response(response, checks=CHECKS, excluded_checks=left_out)
            except FailureGroup as failures:
                self.wrong.append(f"{label}: {failures}"[:3_000])

        asked()


def _read(schema: schemathesis.BaseSchema) -> Iterator[schemathesis.APIOperation[Any, Any, Any, Any]]:
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result.err()
        yield result.ok()
