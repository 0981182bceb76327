"""What admin routes reach beyond their own: everybody's accounts, figures and audit log, and nobody's content.

No other route takes this: a session's repositories are bound to the owner who asks.
"""

from typing import Annotated

from fastapi import Depends

from api.deps import AdminSession, Session
from core.db.repositories.accounts import Accounts
from core.db.repositories.admin import AdminRepository
from core.db.repositories.audit import AuditLog


class EverybodysRows:
    """In the transaction of an admin's session, also after it was away."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def figures(self) -> AdminRepository:
        """What everybody is, may and did."""
        return AdminRepository(self._session.connection)

    @property
    def logins(self) -> Accounts:
        """Who can log in."""
        return Accounts(self._session.connection)

    @property
    def audit(self) -> AuditLog:
        """What was done."""
        return AuditLog(self._session.connection)


def _everybody(session: AdminSession) -> EverybodysRows:
    return EverybodysRows(session)


Everybody = Annotated[EverybodysRows, Depends(_everybody)]
