"""The examples of scoping sessions and charters in the API's documentation; see `examples.py`."""

from api.examples import ARTIFACT_ID, ESTIMATE, SHA256, Example

SESSION_ID = "019aa0e8-5c21-7b0e-9a44-0d6f1c2b3a49"
_AT = "2026-11-21T09:30:00.120000Z"
_LATER = "2026-11-21T10:12:41.900000Z"
_DESCRIPTION = "Sort the messages that reach the help desk of a bicycle rental, so that urgent ones are read first."

CREATION: Example = {
    "name": "Sorted help desk",
    "description": _DESCRIPTION,
    "language": "en",
    "formats": ["md", "pdf"],
    "tags": ["help desk"],
    "budget_usd": 2,
}
PATCH: Example = {"name": "Sorted help desk, autumn"}
ANSWERS: Example = {
    "answers": {
        "problem_now": "Riders with a broken lock wait among questions about opening hours: in summer the help desk "
        "reads a message after five hours, and stranded people give up and leave the bicycle behind.",
        "problem_size": "About 40 such messages a week, by the desk's own list of August.",
    }
}
FOLLOW_UPS: Example = {"answers": {"problem_size": "Each costs us EUR 35 for fetching the bicycle."}}
SKIP: Example = {"question": "other_ways", "because": "Nobody here was there when it was tried."}
REOPENING: Example = {"questions": ["yearly_value"], "because": "The price of fetching a bicycle has doubled."}
RESOLUTION: Example = {"holds": "second", "text": "The logs hold e-mail addresses, so there are personal data."}

_SUMMARY: Example = {
    "id": SESSION_ID,
    "name": "Sorted help desk",
    "description": _DESCRIPTION,
    "status": "waiting_for_input",
    "phase": "asking",
    "stage": 2,
    "working": False,
    "expires_at": "2026-12-21T10:12:42.000000Z",
    "document_id": SESSION_ID,
    "simulated": False,
    "created_at": _AT,
    "updated_at": _LATER,
}
_STAGES = [
    {"number": 1, "title": "Business problem", "status": "closed", "closed": 1, "questions": 6, "settled": 6},
    {
        "number": 2,
        "title": "Value and measures of success",
        "status": "open",
        "closed": 0,
        "questions": 6,
        "settled": 5,
    },
    {"number": 3, "title": "Data readiness", "status": "upcoming", "closed": 0, "questions": 6, "settled": 0},
    {"number": 4, "title": "Users and workflow", "status": "upcoming", "closed": 0, "questions": 6, "settled": 0},
    {
        "number": 5,
        "title": "Risk, ethics and governance",
        "status": "upcoming",
        "closed": 0,
        "questions": 6,
        "settled": 0,
    },
]
_QUESTION: Example = {
    "id": "yearly_value",
    "text": "What would a solution be worth in one year, in money, hours or another figure?",
    "help": "Show the sum: how many cases, times what each one saves or earns.",
    "status": "follow_up",
    "follow_up": "How did you come to that figure: how many bicycles, and what does fetching one cost?",
    "stale": False,
    "said": ["Quite a lot of money."],
}
_PURPOSE = "What a solution is worth, how its success will be measured, and what may be spent on it."
_COST: Example = {
    "usd": 0.0412,
    "input_tokens": 9120,
    "output_tokens": 2230,
    "cached_tokens": 0,
    "minutes": 42.7,
    "reserved_usd": 0.0,
    "budget_usd": 2.0,
    "estimate": ESTIMATE,
}
SESSION: Example = {
    **_SUMMARY,
    "language": "en",
    "stages": _STAGES,
    "asked": {
        "stage": 2,
        "title": "Value and measures of success",
        "purpose": _PURPOSE,
        "questions": [_QUESTION],
    },
    "contradictions": [],
    "trouble": None,
    "error": None,
    "charter": None,
    "reopened_from": None,
    "cost": _COST,
    "models": ["anthropic:claude-haiku-4-5"],
    "tags": ["help desk"],
    "webhook_url": None,
    "links": {
        "job": f"/v1/jobs/{SESSION_ID}",
        "events": f"/v1/jobs/{SESSION_ID}/events",
        "transcript": f"/v1/sessions/{SESSION_ID}/transcript",
        "charter": f"/v1/sessions/{SESSION_ID}/charter",
    },
}
NEW_SESSION: Example = {
    **SESSION,
    "status": "pending",
    "stage": 1,
    "stages": [
        {**stage, "status": "open" if stage["number"] == 1 else "upcoming", "closed": 0, "settled": 0}
        for stage in _STAGES
    ],
    "asked": None,
    "working": True,
    "expires_at": None,
    "cost": {**_COST, "usd": 0.0, "input_tokens": 0, "output_tokens": 0, "minutes": None},
    "updated_at": _AT,
}
SESSIONS: Example = {
    "items": [{**_SUMMARY, "version": None, "decision": None, "usd": 0.0412}],
    "next_cursor": "AZqg6FwhewOaRA1v" + "HCs6SQ",
}
_FINDING: Example = {
    "id": "value",
    "statement": "A solution is worth about EUR 73,000 a year: 40 bicycles a week that need not be fetched.",
    "rests_on": ["yearly_value"],
    "assumption": False,
}
_CHECKPOINT: Example = {"number": 1, "through_seq": 7, "simulated": False, "at": _LATER}
STAGE: Example = {
    "session_id": SESSION_ID,
    "number": 2,
    "title": "Value and measures of success",
    "purpose": _PURPOSE,
    "status": "closed",
    "closed": 1,
    "questions": [
        {
            **_QUESTION,
            "status": "settled",
            "follow_up": "",
            "said": ["Quite a lot of money.", "40 bicycles a week, EUR 35 each."],
            "finding": "value",
            "follow_ups": 1,
            "vague": False,
            "skipped": False,
            "because": "",
            "resolutions": [],
        }
    ],
    "findings": [{**_FINDING, "title": "What it is worth"}],
    "checkpoint": _CHECKPOINT,
}
CONTRADICTIONS: Example = {
    "items": [
        {
            "id": "personal_data-rules_that_apply-31",
            "status": "open",
            "first": {
                "question": "personal_data",
                "stage": 3,
                "asked": "Do the data say anything about persons?",
                "said": ["No, only texts about bicycles."],
            },
            "second": {
                "question": "rules_that_apply",
                "stage": 5,
                "asked": "Which laws, contracts or rules of the house apply?",
                "said": ["Data protection, as the messages hold e-mail addresses."],
            },
            "why": "The messages cannot be without personal data and hold e-mail addresses.",
            "question": "Do the messages hold personal data?",
        }
    ]
}
TRANSCRIPT: Example = {
    "session_id": SESSION_ID,
    "name": "Sorted help desk",
    "description": _DESCRIPTION,
    "entries": [
        {
            "seq": 7,
            "kind": "answer_follow_up",
            "stage": 2,
            "body": {"answers": {"yearly_value": "40 bicycles a week, EUR 35 each."}},
            "at": _LATER,
        }
    ],
    "checkpoints": [
        {
            **_CHECKPOINT,
            "stage": 2,
            "findings": [_FINDING],
            "assumptions": [{"question": "stop_sign", "asked": "What would make you stop?", "kind": "skipped"}],
            "transcript": [
                {
                    "question": "yearly_value",
                    "asked": _QUESTION["text"],
                    "turns": [{"asked": _QUESTION["text"], "said": "Quite a lot of money."}],
                    "skipped": False,
                    "because": "",
                    "resolutions": [],
                }
            ],
        }
    ],
}
_VERSION: Example = {
    "document_id": SESSION_ID,
    "number": 1,
    "parent": None,
    "reopened": None,
    "session_id": SESSION_ID,
    "title": "Sorted help desk",
    "decision": "go_with_conditions",
    "simulated": False,
    "sha256": SHA256,
    "outputs": [
        {
            "name": "sorted-help-desk-charter.pdf",
            "artifact_id": ARTIFACT_ID,
            "media_type": "application/pdf",
            "size": 61220,
            "sha256": SHA256,
            "url": f"/v1/artifacts/{ARTIFACT_ID}",
        }
    ],
    "created_at": "2026-11-28T16:02:09.000000Z",
}
VERSIONS: Example = {"items": [_VERSION], "next_cursor": None}
_STATEMENT: Example = {
    "text": "A solution is worth about EUR 73,000 a year.",
    "rests_on": [{"question": "yearly_value", "assumption": False}],
}
WHOLE_CHARTER: Example = {
    **_VERSION,
    "charter": {
        "name": "Sorted help desk",
        "description": _DESCRIPTION,
        "language": "en",
        "sections": [
            {
                "id": "value",
                "title": "Value and measures of success",
                "statements": [_STATEMENT],
                "decision": None,
                "conditions": [],
                "simulated": False,
            }
        ],
        "findings": [
            {
                "stage": 2,
                "title": "Value and measures of success",
                "findings": [{**_FINDING, "title": "What it is worth"}],
            }
        ],
        "open_risks": [{"kind": "assumption", "text": "Nobody could say what stops it.", "rests_on": ["stop_sign"]}],
        "answers": [
            {
                "question": "yearly_value",
                "stage": 2,
                "asked": _QUESTION["text"],
                "said": ["Quite a lot of money.", "40 bicycles a week, EUR 35 each."],
                "skipped": False,
            }
        ],
        "simulated": False,
    },
}
CHARTER_DIFF: Example = {
    "name_changed": False,
    "description_changed": False,
    "sections": [
        {
            "id": "value",
            "status": "changed",
            "title_before": "Value and measures of success",
            "title_after": "Value and measures of success",
            "decision_before": None,
            "decision_after": None,
            "statements": [
                {
                    "status": "changed",
                    "before": _STATEMENT,
                    "after": {**_STATEMENT, "text": "A solution is worth about EUR 146,000 a year."},
                    "runs": [
                        {"op": "equal", "text": "A solution is worth about EUR "},
                        {"op": "delete", "text": "73,000"},
                        {"op": "insert", "text": "146,000"},
                        {"op": "equal", "text": " a year."},
                    ],
                }
            ],
            "conditions": [],
        }
    ],
    "risks_added": [],
    "risks_removed": [],
    "answers_changed": ["yearly_value"],
    "summary": {
        "sections_changed": 1,
        "statements_same": 0,
        "statements_changed": 1,
        "statements_added": 0,
        "statements_removed": 0,
    },
}
