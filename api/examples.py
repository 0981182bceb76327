"""The examples in the API's documentation. A test checks each against its model."""

from typing import Any

from core.contracts.errors import ERRORS, ErrorType

Example = dict[str, Any]

JOB_ID = "019aa0c2-7f3e-7c41-9d0a-5b8e6f1f2a10"
ARTIFACT_ID = "7d0f4a86-0c0e-5f2b-8a39-6a7a4f1d9b55"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

SUBMISSION: Example = {
    "pipeline": "longform",
    "input": {
        "topic": "How tide mills worked, and why they vanished",
        "audience": "visitors of a small museum",
        "target_words": 1500,
        "formats": ["markdown", "pdf"],
    },
    "title": "Tide mills",
    "tags": ["museum", "draft"],
    "budget_usd": 0.25,
}
ESTIMATE: Example = {
    "model": "anthropic:claude-haiku-4-5",
    "calls": 10,
    "usd": 0.0395,
    "input_tokens": 18982,
    "output_tokens": 4100,
    "minutes": 0.39,
}
PATCH: Example = {"title": "Tide mills, second hall", "tags": ["museum"]}

PENDING: Example = {
    "id": JOB_ID,
    "pipeline": "longform",
    "title": "Tide mills",
    "tags": ["museum", "draft"],
    "models": ["anthropic:claude-haiku-4-5", "google:gemini-2.5-flash"],
    "status": "pending",
    "parent_job": None,
    "progress": {
        "stage": "",
        "current_step": "",
        "completed_steps": [],
        "total_steps": 0,
        "percentage": 0.0,
        "eta_seconds": None,
    },
    "cost": {
        "usd": 0.0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cached_tokens": 0,
        "minutes": None,
        "reserved_usd": 0.0,
        "budget_usd": 0.25,
        "estimate": ESTIMATE,
    },
    "waiting_for": None,
    "error": None,
    "result": None,
    "simulated": False,
    "webhook_url": None,
    "cancel_requested": False,
    "paused": False,
    "run": 1,
    "workflow_id": f"longform/{JOB_ID}",
    "workflow_run_id": None,
    "created_at": "2026-11-21T09:30:00.120000Z",
    "updated_at": "2026-11-21T09:30:00.120000Z",
    "started_at": None,
    "finished_at": None,
}
_BEGUN: Example = {
    **PENDING,
    "cost": {
        **PENDING["cost"],
        "usd": 0.0123,
        "input_tokens": 4210,
        "output_tokens": 1644,
        "minutes": 0.23,
        "reserved_usd": 0.0488,
    },
    "workflow_run_id": "019aa0c2-80aa-7d14-b7a1-6a1f1f0f9c02",
    "started_at": "2026-11-21T09:30:00.480000Z",
}
RUNNING: Example = {
    **_BEGUN,
    "status": "running",
    "progress": {
        "stage": "sections",
        "current_step": "section:s2",
        "completed_steps": ["decompose", "section:s1"],
        "total_steps": 8,
        "percentage": 25.0,
        "eta_seconds": 41.5,
    },
    "updated_at": "2026-11-21T09:30:14.300000Z",
}
PAUSING: Example = {**RUNNING, "paused": True}
CANCELLING: Example = {**RUNNING, "cancel_requested": True}
RETRIED: Example = {**RUNNING, "status": "pending", "run": 2, "workflow_run_id": None}
COMPLETED: Example = {
    **_BEGUN,
    "cost": {
        **_BEGUN["cost"],
        "usd": 0.0361,
        "input_tokens": 16420,
        "output_tokens": 3936,
        "minutes": 0.96,
        "reserved_usd": 0.0,
    },
    "status": "completed",
    "progress": {
        "stage": "export",
        "current_step": "export:pdf",
        "completed_steps": ["decompose", "section:s1", "section:s2", "assemble", "export:pdf"],
        "total_steps": 5,
        "percentage": 100.0,
        "eta_seconds": 0.0,
    },
    "result": {
        "outputs": [
            {
                "name": "tide-mills.pdf",
                "artifact_id": ARTIFACT_ID,
                "media_type": "application/pdf",
                "size": 48213,
                "sha256": SHA256,
                "url": f"/v1/artifacts/{ARTIFACT_ID}",
            }
        ],
        "summary": {"words": 1488},
        "simulated": False,
    },
    "updated_at": "2026-11-21T09:30:58.010000Z",
    "finished_at": "2026-11-21T09:30:58.010000Z",
}
JOBS: Example = {
    "items": [{**RUNNING, "progress": {**RUNNING["progress"], "completed_steps": []}}],
    "next_cursor": "AZqgwn8-fEGdClueb" + "x8qEA",
}
ARTIFACTS: Example = {
    "items": [
        {
            "id": ARTIFACT_ID,
            "job_id": JOB_ID,
            "step": "export:pdf",
            "name": "tide-mills.pdf",
            "role": "output",
            "media_type": "application/pdf",
            "size": 48213,
            "sha256": SHA256,
            "simulated": False,
            "created_at": "2026-11-21T09:30:57.800000Z",
            "url": f"/v1/artifacts/{ARTIFACT_ID}",
        }
    ]
}
EVENTS = (
    ": open\n\n"
    "id: 1\nevent: job.accepted\n"
    'data: {"seq":1,"type":"job.accepted","at":"2026-11-21T09:30:00.120000Z","pipeline":"longform"}\n\n'
    "id: 2\nevent: job.started\n"
    'data: {"seq":2,"type":"job.started","at":"2026-11-21T09:30:00.480000Z"}\n\n'
    "id: 9\nevent: step.text\n"
    'data: {"seq":9,"type":"step.text","at":"2026-11-21T09:30:04.100000Z","step":"section s1","stage":"sections",'
    '"revision":1,"attempt_id":"019aa0c2-8e11-7b02-8f3c-1d2e3f4a5b6c","model":"anthropic:claude-haiku-4-5",'
    '"offset":0,"text":"Twice a day the sea filled the pond"}\n\n'
    ": keep-alive\n\n"
)
LIVE: Example = {"status": "up"}
READY: Example = {
    "status": "degraded",
    "database": "up",
    "temporal": "up",
    "queues": {"orchestration": "up", "llm": "up", "render": "degraded"},
}
NOT_READY: Example = {
    "status": "down",
    "database": "down",
    "temporal": "down",
    "queues": {"orchestration": "degraded", "llm": "degraded", "render": "degraded"},
}

_DETAILS: dict[ErrorType, tuple[str, Example]] = {
    ErrorType.INVALID_REQUEST: (
        "Not valid: input.target_words.",
        {
            "errors": [
                {
                    "loc": "input.target_words",
                    "message": "Input should be greater than or equal to 300",
                    "type": "greater_than_equal",
                }
            ]
        },
    ),
    ErrorType.UNKNOWN_PIPELINE: (
        "There is no pipeline 'poetry'. Known: longform.",
        {"details": {"pipelines": ["longform"]}},
    ),
    ErrorType.UNKNOWN_MODEL: (
        "openai:gpt-5: there is no provider 'openai'. There are anthropic, google, ollama.",
        {"details": {"model": "openai:gpt-5", "providers": ["anthropic"]}},
    ),
    ErrorType.PRICE_UNKNOWN: (
        "Nobody knows what google:gemini-9-nano costs, so a budget cannot be kept with it. Name models whose price is "
        "known (GET /v1/providers tells), or leave `budget_usd` out.",
        {"details": {"models": ["google:gemini-9-nano"]}},
    ),
    ErrorType.INVALID_CURSOR: ("Take the cursor from `next_cursor` of the page before.", {}),
    ErrorType.UNAUTHENTICATED: ("Send an API key or an access token: `Authorization: Bearer <key>`.", {}),
    ErrorType.INSUFFICIENT_SCOPE: (
        "This key may not write: use one with the scope `write`, or log in.",
        {"details": {"needed": "write", "scopes": ["read"]}},
    ),
    ErrorType.WRONG_CREDENTIALS: ("The email or the password is wrong.", {}),
    ErrorType.LOGIN_NEEDED: ("A key cannot change the account: log in, and use the access token.", {}),
    ErrorType.REGISTRATION_CLOSED: (
        "Accounts are made by the admins of this deployment: ask one of them.",
        {},
    ),
    ErrorType.EMAIL_TAKEN: ("There is an account with ada@example.com. Log in, or use another email.", {}),
    ErrorType.TOO_MANY_KEYS: (
        "There are 50 keys, as many as an account may have. Revoke one first.",
        {"details": {"limit": 50}},
    ),
    ErrorType.TOO_MANY_HOOKS: (
        "There are 20 webhooks, as many as an account may have. Delete one first.",
        {"details": {"limit": 20}},
    ),
    ErrorType.TOO_MANY_REQUESTS: (
        "You have started as many jobs as one user may in an hour. Try again in 6 minutes.",
        {"details": {"limit": "submissions", "quota": 100, "seconds": 3600}},
    ),
    ErrorType.TOO_MANY_JOBS: (
        "20 of your jobs run or are to start, and 20 may at once. Try again when one has ended, or cancel one.",
        {"details": {"limit": 20, "running": 20}},
    ),
    ErrorType.STAGE_RUNNING: (
        "A model works on another session of yours, and only one may at a time. Say it again in a moment.",
        {"details": {"session_id": JOB_ID}},
    ),
    ErrorType.REQUEST_TIMEOUT: ("The body did not arrive within 20 seconds. Send it again.", {}),
    ErrorType.ADMIN_NEEDED: ("Only an admin may do this.", {}),
    ErrorType.TOOK_TOO_LONG: ("The answer did not begin within 60 seconds. Try again in a moment.", {}),
    ErrorType.NOT_FOUND: (f"There is no job {JOB_ID}.", {"details": {"job_id": JOB_ID}}),
    ErrorType.IDEMPOTENCY_MISMATCH: (
        "This Idempotency-Key was used for another request. Send the first body again, or take a new key.",
        {"details": {"job_id": JOB_ID}},
    ),
    ErrorType.INVALID_STATE: ("The job is completed and cannot be cancelled.", {"details": {"status": "completed"}}),
    ErrorType.BODY_TOO_LARGE: ("The body may have 1048576 bytes.", {"details": {"limit": 1048576}}),
    ErrorType.UNSUPPORTED_MEDIA_TYPE: ("Send the body as JSON in UTF-8, with `Content-Type: application/json`.", {}),
    ErrorType.FILE_REFUSED: (
        "The PDF needs a password. Save it without one.",
        {"details": {"reason": "encrypted"}},
    ),
    ErrorType.QUOTA_EXCEEDED: (
        "You have 1000 files of 812004113 bytes, ready or on their way; 1000 files of 10000000000 bytes may be kept. "
        "Delete what is not needed any more.",
        {"details": {"files": 1000, "bytes": 812004113, "quota_files": 1000, "quota_bytes": 10_000_000_000}},
    ),
    ErrorType.UPLOAD_URL_INVALID: ("The URL is for `Content-Type: application/pdf`.", {}),
    ErrorType.UPLOAD_EXPIRED: ("The upload was not completed in time. Make another.", {}),
    ErrorType.RANGE_NOT_SATISFIABLE: ("The artifact has 48213 bytes.", {"details": {"size": 48213}}),
    ErrorType.DATABASE_UNAVAILABLE: ("The database cannot be reached; what was asked was not done.", {}),
    ErrorType.STORE_UNAVAILABLE: ("the artifact store does not answer", {}),
    ErrorType.TEMPORAL_UNAVAILABLE: (
        "The workflow did not answer in time. What you said may still take effect; to send it again with the same "
        "Idempotency-Key is safe.",
        {"details": {"idempotency_key": "tide-mills-outline"}},
    ),
    ErrorType.ARTIFACT_MISSING: ("the bytes of an artifact are gone", {}),
}


def problem(code: ErrorType) -> Example:
    """An example of the problem document with this code."""
    detail, more = _DETAILS[code]
    kind = ERRORS[code]
    return {
        "type": f"urn:atelier:error:{code.value}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": f"/v1/jobs/{JOB_ID}",
        "code": code.value,
        "request_id": "019aa0c2-9a1b-7e60-8a55-0f7f1c2d3e4f",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        **more,
    }
