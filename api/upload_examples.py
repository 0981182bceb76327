"""The examples of uploads in the API's documentation; see `examples.py`."""

from api.examples import Example

UPLOAD_ID = "019aa0d4-3b1c-7e60-8f2a-4d5c6b7a8091"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

UPLOAD: Example = {"name": "Tide mills.pdf", "size": 482_133, "media_type": "application/pdf", "sha256": _SHA256}
PENDING: Example = {
    "id": UPLOAD_ID,
    **UPLOAD,
    "status": "pending",
    "kind": None,
    "refused": None,
    "upload": {
        "url": f"/v1/uploads/{UPLOAD_ID}/content?expires=1795343400&signature=…",
        "method": "PUT",
        "headers": {"Content-Type": "application/pdf"},
        "expires_at": "2026-11-21T10:30:00Z",
    },
    "created_at": "2026-11-21T09:30:00.412000Z",
    "expires_at": "2026-11-22T09:30:00.412000Z",
    "finished_at": None,
}
READY: Example = {
    **PENDING,
    "status": "ready",
    "kind": "pdf",
    "upload": None,
    "expires_at": None,
    "finished_at": "2026-11-21T09:30:04.018000Z",
}
REFUSED: Example = {
    **PENDING,
    "status": "refused",
    "refused": {"reason": "encrypted", "message": "The PDF needs a password. Save it without one."},
    "upload": None,
    "expires_at": None,
    "finished_at": "2026-11-21T09:30:04.018000Z",
}
UPLOADS: Example = {"items": [READY, REFUSED], "next_cursor": None}
