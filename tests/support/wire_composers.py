"""Composers for the fake far end: they answer any number of requests of a pipeline, from the request alone."""

import hashlib
import random
import re
from collections.abc import Mapping
from typing import Any

from tests.support.wire_messages import WireRequest

_SUBJECTS = (
    "canal",
    "archive",
    "bridge",
    "harbour",
    "orchard",
    "library",
    "railway",
    "glacier",
    "market",
    "observatory",
)
_VERBS = ("shapes", "reveals", "outlasts", "feeds", "explains", "slows", "connects", "measures")
_OBJECTS = ("settlement", "trade", "season", "memory", "budget", "landscape", "argument", "routine")


def _number(prompt: str, label: str, default: int) -> int:
    found = re.search(rf"^\W*{label}:\s*(\d+)", prompt, re.MULTILINE)
    return int(found.group(1)) if found else default


def _sentence(rng: random.Random, mark: str) -> str:
    """About twelve words that no other answer contains, thanks to the mark."""
    return (
        f"Note {mark} records how one {rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} the "
        f"{rng.choice(_OBJECTS)} beside another {rng.choice(_SUBJECTS)}."
    )


def longform_composer(request: WireRequest) -> Mapping[str, Any]:
    """Answers `OutlineAnswer` and `SectionAnswer`, told apart by their schemas.

    The prompts name their counts on lines of their own: `Sections: 8`, `Words: 300`.
    """
    seed = hashlib.sha256(request.prompt.encode()).hexdigest()
    rng = random.Random(seed)
    if "sections" in request.schema.get("properties", {}):
        return _outline(rng, seed[:6], _number(request.prompt, "Sections", 3))
    if "markdown" not in request.schema.get("properties", {}):
        raise ValueError(f"longform has no schema like {request.schema}")
    words, sentences = _number(request.prompt, "Words", 300), list[str]()
    while sum(len(sentence.split()) for sentence in sentences) < words:
        sentences.append(_sentence(rng, f"{seed[:6]}-{len(sentences) + 1}"))
    paragraphs = [" ".join(sentences[i : i + 5]) for i in range(0, len(sentences), 5)]
    return {"markdown": "\n\n".join(paragraphs)}


def _outline(rng: random.Random, mark: str, count: int) -> Mapping[str, Any]:
    return {
        "title": f"The {rng.choice(_SUBJECTS)} of {mark}",
        "thesis": _sentence(rng, f"{mark}-thesis"),
        "sections": [
            {
                "title": f"The {rng.choice(_SUBJECTS)} and its {rng.choice(_OBJECTS)}, part {number}",
                "purpose": _sentence(rng, f"{mark}-{number}"),
                "key_points": [_sentence(rng, f"{mark}-{number}-{letter}") for letter in "abc"],
            }
            for number in range(1, count + 1)
        ],
    }
