"""The examples of accounts, logins, keys and the audit log in the API's documentation; see `examples.py`."""

from api.examples import JOB_ID, Example

ACCOUNT_ID = "019aa09e-11c4-7d02-b6f1-3a4c5d6e7f80"
LOGIN_ID = "019aa0b0-52e8-7b3a-9c14-8d7e6f5a4b3c"
KEY_ID = "019aa0b4-0d6f-7a81-8e2b-1c2d3e4f5a6b"
AUDIT_ID = "019aa0c2-9a20-7c55-a1d3-6f7a8b9c0d1e"
REFRESH_TOKEN = "atr_" + "Yf3kq0vTn2mXc8LdRw5s"
"""Shorter than real ones, and made in two parts: no scanner for leaks is to take it for one."""

REGISTRATION: Example = {
    "email": "ada@example.com",
    "name": "Ada Example",
    "password": "herring gulls over the mill",
}
ACCOUNT: Example = {
    "id": ACCOUNT_ID,
    "name": "Ada Example",
    "email": "ada@example.com",
    "role": "user",
    "created_at": "2026-11-21T08:50:12.004000Z",
}
LOGIN: Example = {"email": "ada@example.com", "password": "herring gulls over the mill"}
REFRESH: Example = {"refresh_token": REFRESH_TOKEN}
TOKENS: Example = {
    "access_token": "eyJhbGciOiJIUzI1NiIsImtpZCI6Ij" + "k4YTcifQ.…",
    "token_type": "Bearer",
    "expires_in": 1800,
    "refresh_token": REFRESH_TOKEN,
    "refresh_expires_in": 2592000,
}
ME: Example = {
    **ACCOUNT,
    "via": "login",
    "scopes": ["read", "write"],
    "has_password": True,
    "limits": {"submissions_per_hour": 100, "jobs_at_once": 20},
}
ME_PATCH: Example = {
    "name": "Ada Example",
    "email": "ada.example@example.com",
    "password": "herring gulls over the mill",
}
PASSWORD_CHANGE: Example = {
    "current_password": "herring gulls over the mill",
    "new_password": "a heron below the weir",
}
LOGINS: Example = {
    "items": [
        {
            "id": LOGIN_ID,
            "current": True,
            "ip": "203.0.113.7",
            "user_agent": "atelier/0.1.0",
            "created_at": "2026-11-21T09:10:00.250000Z",
            "used_at": "2026-11-21T09:30:00.120000Z",
            "expires_at": "2026-12-21T09:10:00.250000Z",
        }
    ],
    "next_cursor": None,
}
KEY_REQUEST: Example = {"name": "museum website", "scopes": ["read"], "expires_at": "2027-11-21T00:00:00Z"}
_KEY: Example = {
    "id": KEY_ID,
    "name": "museum website",
    "scopes": ["read"],
    "created_at": "2026-11-21T09:14:03.500000Z",
    "expires_at": "2027-11-21T00:00:00Z",
    "last_used_at": None,
    "revoked_at": None,
}
NEW_KEY: Example = {**_KEY, "key": "atl_" + "mQ7zR1cVb9KpXt4LdNw2"}
KEYS: Example = {"items": [{**_KEY, "last_used_at": "2026-11-21T09:29:40.100000Z"}], "next_cursor": None}
AUDIT: Example = {
    "items": [
        {
            "id": AUDIT_ID,
            "at": "2026-11-21T09:30:21.700000Z",
            "action": "jobs.cancel",
            "resource": f"jobs/{JOB_ID}",
            "account_id": ACCOUNT_ID,
            "actor_id": ACCOUNT_ID,
            "via": "login",
            "via_id": LOGIN_ID,
            "ip": "203.0.113.7",
            "request_id": "019aa0c2-9a1b-7e60-8a55-0f7f1c2d3e4f",
            "details": {},
        }
    ],
    "next_cursor": None,
}
