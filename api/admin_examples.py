"""The examples of the admin routes in the API's documentation."""

from api.examples import Example
from api.money_examples import USAGE

ACCOUNT_ID = "019aa0b1-2c3d-7e4f-8a5b-6c7d8e9f0a1b"
PATCH: Example = {"submissions_per_hour": 500, "jobs_at_once": None, "monthly_usd": 50}
ACCOUNT: Example = {
    "id": ACCOUNT_ID,
    "name": "Ada Example",
    "email": "ada@example.com",
    "role": "user",
    "created_at": "2026-11-02T08:15:30.100000Z",
    "last_used_at": "2026-11-21T09:31:00Z",
    "jobs": 17,
    "spent_this_month_usd": 3.4187,
    "limits": {"submissions_per_hour": 500, "jobs_at_once": None, "monthly_usd": 50.0},
}
CREATION: Example = {
    "email": "ada@example.com",
    "name": "Ada Example",
    "password": "an invented password",
    "role": "user",
}
NEW_ACCOUNT: Example = {
    **ACCOUNT,
    "last_used_at": None,
    "jobs": 0,
    "spent_this_month_usd": 0.0,
    "limits": {"submissions_per_hour": None, "jobs_at_once": None, "monthly_usd": None},
}
ACCOUNTS: Example = {"items": [ACCOUNT], "next_cursor": None}
ALL_USAGE: Example = {
    **USAGE,
    "by": "account",
    "items": [{"key": ACCOUNT_ID, "name": "Ada Example", **USAGE["total"]}],
}
PROVIDERS: Example = {
    "items": [
        {
            "name": "anthropic",
            "configured": True,
            "reachable": False,
            "checked_at": "2026-11-21T09:31:40.100000Z",
            "calls": 412,
            "failed_calls": 9,
            "failures_in_a_row": 5,
            "cooling_down_until": "2026-11-21T09:32:10.100000Z",
            "last_error": {"code": "overloaded", "at": "2026-11-21T09:31:40.100000Z"},
        }
    ]
}
LIMITS: Example = {
    "enabled": True,
    "items": [
        {
            "name": "submissions",
            "quota": 100,
            "seconds": 3600,
            "subjects": 3,
            "near": 0,
            "reached": 1,
            "highest": 100.0,
            "accounts": [{"account_id": ACCOUNT_ID, "name": "Ada Example", "used": 100.0, "quota": 100}],
        },
        {
            "name": "jobs_at_once",
            "quota": 20,
            "seconds": None,
            "subjects": 1,
            "near": 0,
            "reached": 0,
            "highest": 4.0,
            "accounts": [{"account_id": ACCOUNT_ID, "name": "Ada Example", "used": 4.0, "quota": 20}],
        },
    ],
}
