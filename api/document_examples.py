"""The examples of outlines, documents and versions in the API's documentation; see `examples.py`."""

from api.examples import JOB_ID, PENDING, SHA256, Example

DOCUMENT_ID = JOB_ID
REVISION_ID = "019aa0d4-1b7c-7a55-8f3e-2c4d5e6f7a81"
_OTHER_SHA256 = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"

APPROVAL: Example = {"round": 1}
OUTLINE_EDIT: Example = {
    "title": "Mills that ran on the moon",
    "sections": [
        {"id": "s1"},
        {"id": "s3", "words": 600, "sources": ["r1"]},
        {"title": "What is left of them", "key_points": ["Three that still grind", "Where to see them"]},
    ],
    "round": 1,
}
OUTLINE_REVISION: Example = {"instructions": "Begin with the miller's day, and leave the engineering for later."}
OUTLINE: Example = {
    "job_id": JOB_ID,
    "round": 1,
    "waiting": True,
    "expires_at": "2026-12-21T09:30:04.120000Z",
    "title": "How tide mills worked",
    "thesis": "Tide mills gave way not to better mills, but to working hours that followed the clock.",
    "words": 1500,
    "sections": [
        {
            "id": "s1",
            "title": "A mill that keeps the moon's hours",
            "purpose": "The reader sees why a miller worked at a different hour each day.",
            "key_points": ["Two tides a day", "A pond behind a gate"],
            "words": 700,
            "sources": ["r1"],
        },
        {
            "id": "s2",
            "title": "Why they vanished",
            "purpose": "The reader knows what steam offered that the tide did not.",
            "key_points": ["Steam keeps office hours"],
            "words": 800,
            "sources": [],
        },
    ],
    "simulated": False,
}

REGENERATION: Example = {"instructions": "Say more about the gates, with fewer figures.", "base": 1}
SECTION_EDIT: Example = {
    "markdown": "The gate is a door that opens one way only [@r1].\n\nThe flood pushes it open; the ebb shuts it.",
    "title": "A door for the sea",
}
REVISION: Example = {
    **PENDING,
    "id": REVISION_ID,
    "pipeline": "longform_revision",
    "title": 'Section "Why they vanished" of How tide mills worked',
    "tags": [],
    "parent_job": JOB_ID,
    "workflow_id": f"longform_revision/{REVISION_ID}",
}

DOCUMENT: Example = {
    "id": DOCUMENT_ID,
    "title": "How tide mills worked",
    "latest": 2,
    "versions": 2,
    "words": 1476,
    "score": 0.82,
    "simulated": False,
    "language": "en",
    "created_at": "2026-11-21T09:30:57.910000Z",
    "updated_at": "2026-11-21T10:02:11.400000Z",
}
DOCUMENTS: Example = {"items": [DOCUMENT], "next_cursor": "AZqgwn8-fEGdClueb" + "x8qEA"}

_SECTIONS = [
    {"id": "s1", "title": "A mill that keeps the moon's hours", "words": 688, "sha256": SHA256},
    {"id": "s2", "title": "Why they vanished", "words": 788, "sha256": _OTHER_SHA256},
]
_VERSION: Example = {
    "document_id": DOCUMENT_ID,
    "number": 2,
    "parent": 1,
    "reason": "section_regenerated",
    "section_id": "s2",
    "restored_from": None,
    "instructions": "Say more about the gates, with fewer figures.",
    "job_id": REVISION_ID,
    "title": "How tide mills worked",
    "language": "en",
    "words": 1476,
    "score": 0.82,
    "simulated": False,
    "sha256": SHA256,
    "outputs": [
        {
            "name": "article.md",
            "artifact_id": "0b0c8b3e-6c1d-5a54-9f2e-8d7c6b5a4f3e",
            "media_type": "text/markdown; charset=utf-8",
            "size": 9312,
            "sha256": _OTHER_SHA256,
            "url": "/v1/artifacts/0b0c8b3e-6c1d-5a54-9f2e-8d7c6b5a4f3e",
        }
    ],
    "created_at": "2026-11-21T10:02:11.400000Z",
}
VERSIONS: Example = {"items": [{**_VERSION, "sections": _SECTIONS}], "next_cursor": None}
WHOLE_VERSION: Example = {
    **_VERSION,
    "thesis": "Tide mills gave way not to better mills, but to working hours that followed the clock.",
    "sections": [
        {**_SECTIONS[0], "markdown": "Twice a day the sea filled the pond [@r1].", "transition": ""},
        {
            **_SECTIONS[1],
            "markdown": "Steam asked nobody for the hour.",
            "transition": "What the moon gave, the clock took away.",
        },
    ],
    "references": [{"number": 1, "source_id": "r1", "title": "The mill at Woodbridge: a survey"}],
    "report": {
        "evaluation": {
            "score": 0.82,
            "measured": {
                "target_words": 1500,
                "words": 1476,
                "length_error": -0.016,
                "repetition": 0.01,
                "readability": 41.5,
                "claims": 6,
                "uncited_claims": 1,
                "heading_coverage": 1.0,
                "section_lengths": {"s1": -0.017, "s2": -0.015},
                "unknown_citations": [],
                "uncited_sources": [],
                "score": 0.85,
            },
            "rubric": {
                "coherence": {"score": 0.8, "reason": "One argument runs through both sections."},
                "coverage": {"score": 0.8, "reason": "All key points are made."},
                "style": {"score": 0.9, "reason": "Plain, and fit for visitors of a museum."},
                "support": {"score": 0.7, "reason": "One figure stands without its source."},
            },
            "sections": [
                {
                    "section_id": "s2",
                    "score": 0.7,
                    "reason": "The figure for 1850 has no source.",
                    "advice": "Cite the survey, or leave the figure out.",
                }
            ],
            "model": "anthropic:claude-haiku-4-5",
            "simulated": False,
        },
        "threshold": 0.7,
        "rounds": [],
    },
}

DIFF: Example = {
    "title_changed": False,
    "thesis_changed": False,
    "references_changed": False,
    "sections": [
        {
            "section_id": "s1",
            "status": "same",
            "moved": False,
            "title_before": "A mill that keeps the moon's hours",
            "title_after": "A mill that keeps the moon's hours",
            "words_before": 688,
            "words_after": 688,
            "parts": None,
        },
        {
            "section_id": "s2",
            "status": "changed",
            "moved": False,
            "title_before": "Why they vanished",
            "title_after": "Why they vanished",
            "words_before": 6,
            "words_after": 6,
            "parts": {
                "title": [{"op": "equal", "text": "Why they vanished"}],
                "transition": [],
                "markdown": [
                    {"op": "equal", "text": "Steam asked "},
                    {"op": "delete", "text": "nobody"},
                    {"op": "insert", "text": "no moon"},
                    {"op": "equal", "text": " for the hour."},
                ],
            },
        },
    ],
    "summary": {
        "same": 1,
        "changed": 1,
        "added": 0,
        "removed": 0,
        "moved": 0,
        "words_inserted": 2,
        "words_deleted": 1,
    },
}
