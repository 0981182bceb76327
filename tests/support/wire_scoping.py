"""A composer for the fake far end that answers the prompts of `scoping`, from the request alone."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.support.wire_messages import WireRequest

UNCLEAR = "somehow"
"""An answer that ends on this word, or on it and a full stop, is vague to this model."""
DISPUTED = "disputed"
"""Answers of two stages that hold this word contradict each other, once."""
_TAGGED = re.compile(r"<(\w+)>\n.*?\n</\1>", re.DOTALL)
# Read from the beginning, so that no line within tags is taken for one of the prompt's own.
_PART = re.compile(
    r"<(?P<tag>\w+)>\n(?P<text>(?s:.*?))\n</(?P=tag)>|^Stage (?P<stage>\d):$"
    r"|^Question (?P<id>[a-z0-9_]+), (?P<standing>.*)$",
    re.MULTILINE,
)


class _Asked(NamedTuple):
    """A question that is listed: what stands behind its id, the answers below it, and the stage it stands in."""

    id: str
    standing: str
    said: list[str]
    stage: str


def scoping_composer(request: WireRequest) -> Mapping[str, Any]:
    """Answers every schema of `scoping`, told apart by their properties.

    Ids are read outside of tags, so no material can mislead it: questions from lines of their own (`Question size,`),
    findings (`Finding scale, from questions: size, cost`), stages (`Stage 2:`), what is settled (`Between a and b:`).
    """
    properties, asked = request.schema.get("properties", {}), request.asked
    if "verdicts" in properties:
        return {"verdicts": [_verdict(one) for one in _questions(asked)]}
    if "findings" in properties:
        answers = {one.id: " ".join(one.said) for one in _questions(asked)}
        return {"findings": [_finding(id, on, answers) for id, on in _findings(asked)]}
    if "contradictions" in properties:
        return {"contradictions": _contradictions(asked)}
    if "statements" in properties:
        return _section(asked)
    raise ValueError(f"scoping has no schema like {request.schema}")


def _outside(asked: str) -> str:
    return _TAGGED.sub("", asked)


def _questions(asked: str) -> list[_Asked]:
    found: list[_Asked] = []
    stage = ""
    for part in _PART.finditer(asked):
        stage = part["stage"] or stage
        if part["id"]:
            found.append(_Asked(part["id"], part["standing"], [], stage))
        elif part["tag"] == "answer" and found:
            found[-1].said.append(part["text"])
    return found


def _verdict(one: _Asked) -> Mapping[str, Any]:
    vague = not one.said or one.said[-1].rstrip(". ").endswith(UNCLEAR)
    left = int(re.findall(r"follow-ups left: (\d+)", one.standing)[0])
    follow_up = f"What exactly do you mean, asked for the {len(one.said)}. time?" if vague and left else ""
    return {"question": one.id, "vague": vague, "reason": "It is judged.", "follow_up": follow_up}


def _findings(asked: str) -> list[tuple[str, list[str]]]:
    found = re.findall(r"^Finding ([a-z0-9_]+), from questions: (.+)$", _outside(asked), re.MULTILINE)
    return [(id, on.split(", ")) for id, on in found]


def _finding(id: str, on: Sequence[str], answers: Mapping[str, str]) -> Mapping[str, Any]:
    said = " ".join(answers.get(question, "") for question in on).strip()
    return {"finding": id, "statement": f"Of {id} it was said: {said or 'nothing'}"[:700], "rests_on": list(on)}


def _contradictions(asked: str) -> list[Mapping[str, Any]]:
    """One, between the first two answers of different stages that are disputed, unless the two are settled."""
    disputed = [one for one in _questions(asked) if one.standing != "skipped" and DISPUTED in " ".join(one.said)]
    first = next(iter(disputed), None)
    second = next((one for one in disputed if first is not None and one.stage != first.stage), None)
    settled = [set(pair) for pair in re.findall(r"^Between (\w+) and (\w+):$", _outside(asked), re.MULTILINE)]
    if first is None or second is None or {first.id, second.id} in settled:
        return []
    return [{"first": first.id, "second": second.id, "why": "Both are disputed.", "question": "Which one holds?"}]


def _section(asked: str) -> Mapping[str, Any]:
    """A statement a finding. A decision is a go, with a condition for each of the first open points."""
    outside = _outside(asked)
    found = re.findall(r"^An? (?:finding|assumption), resting on: (.+)$", outside, re.IGNORECASE | re.MULTILINE)
    statements = [
        {"text": f"Statement {n} rests on {on}.", "rests_on": on.split(", ")[:12]} for n, on in enumerate(found[:14], 1)
    ]
    answer: dict[str, Any] = {"statements": statements, "decision": None, "conditions": []}
    if "Write the section `decision`" in outside:
        points = re.findall(r"^An open point \(\w+\), about: (.+)$", outside, re.MULTILINE)
        answer["conditions"] = [
            {"text": f"Condition {n} is about {on}.", "rests_on": on.split(", ")[:12]}
            for n, on in enumerate(points[:8], 1)
        ]
        answer["decision"] = "go_with_conditions" if points else "go"
    return answer
