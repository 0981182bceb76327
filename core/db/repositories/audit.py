"""The audit log: who did what to which resource, from where. Lines are only ever added."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import Json
from core.contracts.people import Via
from core.db.ids import new_id
from core.db.repositories.events import prepared


@dataclass(frozen=True)
class Act:
    """One thing that somebody did. `owner_id` is whose resource it was: they may read the line."""

    action: str
    owner_id: str | None
    actor_id: str | None
    via: Via
    via_id: str | None = None
    resource: str = ""
    ip: str | None = None
    request_id: str | None = None
    details: Json = field(default_factory=dict)


@dataclass(frozen=True)
class AuditRecord:
    """A line of the log."""

    id: str
    at: datetime
    act: Act


_INSERT = """
    INSERT INTO audit (id, owner_id, actor_id, via, via_id, action, resource, ip, request_id, details)
    SELECT :id, CAST(:owner_id AS uuid), :actor_id, :via, :via_id, :action, :resource, :ip, :request_id,
           CAST(:details AS jsonb)
    WHERE CAST(:owner_id AS uuid) IS NULL OR EXISTS (SELECT 1 FROM owners WHERE id = CAST(:owner_id AS uuid))
"""
_SELECT = "SELECT id, at, owner_id, actor_id, via, via_id, action, resource, ip, request_id, details::text AS details"


class AuditLog:
    """Adds lines. Whose they are is part of each."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, act: Act) -> None:
        """Add a line, in the transaction of what it tells of. None is added about an owner who is gone."""
        await self._connection.execute(
            prepared(_INSERT), {**act.__dict__, "id": new_id(), "details": json.dumps(act.details)}
        )

    async def everybody(self, *, owner_id: str | None, before: str | None, limit: int) -> list[AuditRecord]:
        """A page of all lines, or of one owner's, the newest first. For admins."""
        return await _page(self._connection, owner_id, before, limit)


class AuditRepository:
    """Reads an owner's lines."""

    def __init__(self, connection: AsyncConnection, owner_id: str) -> None:
        self._connection = connection
        self._owner_id = owner_id

    async def page(self, *, before: str | None, limit: int) -> list[AuditRecord]:
        """A page, the newest first, before the line `before`. From where an admin acted is not the owner's business."""
        found = await _page(self._connection, self._owner_id, before, limit)
        return [line if line.act.actor_id in (None, self._owner_id) else _without_origin(line) for line in found]


async def _page(connection: AsyncConnection, owner_id: str | None, before: str | None, limit: int) -> list[AuditRecord]:
    conditions = {"owner_id = :owner_id": owner_id, "id < :before": before}
    where = " AND ".join(condition for condition, value in conditions.items() if value is not None) or "true"
    given = {"owner_id": owner_id, "before": before, "limit": limit}
    rows = await connection.execute(
        text(f"{_SELECT} FROM audit WHERE {where} ORDER BY id DESC LIMIT :limit"),
        {name: value for name, value in given.items() if value is not None},
    )
    return [_record(row) for row in rows]


def _without_origin(line: AuditRecord) -> AuditRecord:
    return replace(line, act=replace(line.act, ip=None, via_id=None, request_id=None))


def _record(row: Row[Any]) -> AuditRecord:
    return AuditRecord(
        id=str(row.id),
        at=row.at,
        act=Act(
            action=row.action,
            owner_id=None if row.owner_id is None else str(row.owner_id),
            actor_id=None if row.actor_id is None else str(row.actor_id),
            via=Via(row.via),
            via_id=None if row.via_id is None else str(row.via_id),
            resource=row.resource,
            ip=row.ip,
            request_id=row.request_id,
            details=json.loads(row.details),
        ),
    )
