"""The logins of the small API in memory: refresh tokens are good for one use, and used twice they end the login."""

import itertools
import threading
from typing import Any

from api import erasure_schemas

Json = dict[str, Any]
EMAIL, PASSWORD = "ada@example.com", "planted tide mill"
ME: Json = {
    "id": "019ab000-0000-7000-a000-00000000ada0",
    "name": "Ada Example",
    "email": EMAIL,
    "role": "user",
    "created_at": "2026-11-02T08:15:30Z",
    "scopes": ["read", "write"],
    "has_password": True,
    "limits": {"submissions_per_hour": 100, "jobs_at_once": 20},
}


class People:
    """One account with a password, and who is logged in."""

    def __init__(self) -> None:
        self.password = PASSWORD
        self.expires_in = 1800
        self.access: set[str] = set()
        self.refresh: str | None = None
        """The one that is good; None when the login has ended."""
        self.refreshed = 0
        self.refused: threading.Barrier | None = None
        """So many requests with a stale token are refused at the same moment."""
        self.refresh_status = 200
        self.looked = 0
        """How often somebody asked after the deletion."""
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def knows(self, token: str) -> bool:
        """Whether a request with this token is answered."""
        with self._lock:
            known = token in self.access
        if not known and self.refused is not None:
            self.refused.wait(10)
        return known

    def expire(self) -> None:
        """No access token is good any more."""
        with self._lock:
            self.access.clear()

    def answer(self, act: str, body: Json) -> tuple[int, Json | str]:
        """A status, and the answer or the code of a problem."""
        with self._lock:
            if act == "register":
                return 201, {name: ME[name] for name in ("id", "name", "email", "role", "created_at")}
            if act == "login":
                right = (body["email"], body["password"]) == (EMAIL, self.password)
                return (200, self._tokens()) if right else (401, "wrong_credentials")
            if act == "logout":
                self.access, self.refresh = set(), None
                return 204, {}
            self.refreshed += 1
            if self.refresh_status != 200:
                return self.refresh_status, "database_unavailable"
            if body["refresh_token"] != self.refresh:
                self.access, self.refresh = set(), None
                return 401, "unauthenticated"
            return 200, self._tokens()

    def change_password(self, body: Json) -> tuple[int, Json | str]:
        """All logins end, and a new one begins."""
        with self._lock:
            if body["current_password"] != self.password:
                return 401, "wrong_credentials"
            self.password = body["new_password"]
            self.access = set()
            return 200, self._tokens()

    def erasing(self) -> Json:
        """A deletion that is done when it is asked for the second time."""
        self.looked += 1
        return erasure_schemas.ERASED if self.looked > 1 else erasure_schemas.ERASING

    def _tokens(self) -> Json:
        number = next(self._numbers)
        self.refresh = f"refresh-{number}"
        self.access.add(f"access-{number}")
        return {
            "access_token": f"access-{number}",
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "refresh_token": self.refresh,
            "refresh_expires_in": 2_592_000,
        }
