"""What each prompt of `scoping` is told, once with everything."""

from typing import Any

PROJECT: dict[str, Any] = {"name": "Ticket triage", "description": "Sort what comes in.", "language": "en-GB"}
ASKED_BACK = [{"asked": "Which figure?", "said": "About 400 a week."}]


def question(id: str, answer: str = "Many tickets wait.", **changes: Any) -> dict[str, Any]:
    """A question as the prompts after the judge's see it."""
    fields: dict[str, Any] = {
        "id": id,
        "question": f"What about {id.replace('_', ' ')}?",
        "standing": "answered",
        "answer": answer,
        "follow_ups": [],
        "because": "",
        "resolutions": [],
    }
    return {**fields, **changes}


SETTLED = {"other": "people", "holds": "other", "text": "The first was a guess.", "instead": "Two teams."}
FULL = question("size", follow_ups=ASKED_BACK, because="Nobody counted.", resolutions=[SETTLED])
FINDING = {"title": "How large it is", "statement": "400 tickets wait.", "rests_on": ["size"], "assumption": True}
SCOPING: dict[str, dict[str, Any]] = {
    "judge_answers": {
        **PROJECT,
        "stage": {"number": 1, "title": "Business problem", "purpose": "What is wrong."},
        "questions": [
            {
                "id": "size",
                "question": "How often?",
                "help": "Roughly.",
                "wants": ["a figure with a unit"],
                "min_words": 6,
                "follow_ups_left": 1,
                "answer": "Quite often.",
                "follow_ups": ASKED_BACK,
            }
        ],
        "others": [{"id": "people", "question": "Who?", "answer": "Two teams.", "follow_ups": ASKED_BACK}],
    },
    "close_stage": {
        **PROJECT,
        "stage": {"number": 1, "title": "Business problem", "purpose": "What is wrong."},
        "findings": [{"id": "scale", "title": "How large it is", "made_from": ["size"]}],
        "questions": [FULL],
        "earlier": [{"title": "The aim", "statement": "Fewer wait.", "assumption": False}],
    },
    "check_consistency": {
        **PROJECT,
        "stages": [{"number": 1, "title": "Business problem", "questions": [FULL]}],
        "settled": [{"first": "size", "second": "people", "why": "Two figures."}],
    },
    "draft_section": {
        **PROJECT,
        "section": {"id": "problem", "title": "Business problem"},
        "stages": [{"number": 1, "title": "Business problem", "findings": [FINDING], "questions": [FULL]}],
        "open_points": [{"kind": "vague", "text": "How often?", "rests_on": ["size"]}],
    },
}
