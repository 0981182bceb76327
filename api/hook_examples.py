"""The examples of webhooks in the API's documentation; see `examples.py`."""

from api.examples import JOB_ID, Example

HOOK_ID = "019aa0d1-3c52-7e18-a4b6-2f3e4d5c6b7a"
DELIVERY_ID = "019aa0d6-8f10-7b24-9c3d-4e5f6a7b8c9d"
_SECRET = "whsec_" + "C2FVsBQIhrscChlQIMV"
"""Shorter than real ones, and made in two parts: no scanner for leaks is to take it for one."""

HOOK_REQUEST: Example = {
    "url": "https://museum.example.com/hooks/atelier",
    "events": ["job.completed", "job.failed"],
    "description": "the website",
}
HOOK_PATCH: Example = {"active": False}
HOOK: Example = {
    "id": HOOK_ID,
    **HOOK_REQUEST,
    "active": True,
    "failing_since": None,
    "disabled_at": None,
    "disabled_because": None,
    "previous_secret_until": None,
    "created_at": "2026-11-21T09:00:00.310000Z",
}
NEW_HOOK: Example = {**HOOK, "secret": _SECRET}
ROTATED: Example = {**NEW_HOOK, "previous_secret_until": "2026-11-22T09:12:40.020000Z"}
HOOKS: Example = {"items": [HOOK], "next_cursor": None}
SIGNING_SECRET: Example = {"secret": _SECRET, "previous_secret_until": None}
DELIVERY: Example = {
    "id": DELIVERY_ID,
    "hook_id": HOOK_ID,
    "job_id": JOB_ID,
    "type": "job.completed",
    "url": HOOK_REQUEST["url"],
    "state": "delivered",
    "tries": [
        {
            "at": "2026-11-21T09:31:00.210000Z",
            "status": 503,
            "ms": 41.2,
            "error": "The receiver answered with status 503.",
        },
        {"at": "2026-11-21T09:31:05.340000Z", "status": 204, "ms": 38.9, "error": None},
    ],
    "next_try_at": None,
    "created_at": "2026-11-21T09:31:00.120000Z",
    "ended_at": "2026-11-21T09:31:05.380000Z",
}
DELIVERIES: Example = {"items": [DELIVERY], "next_cursor": None}
TESTING: Example = {
    **DELIVERY,
    "job_id": None,
    "type": "webhook.test",
    "state": "pending",
    "tries": [],
    "ended_at": None,
}
AGAIN: Example = {**DELIVERY, "state": "pending", "ended_at": None}
