"""Composers for the fake far end: they answer any number of requests of a pipeline, from the request alone."""

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
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
_SENTENCE_WORDS = 12
_TAGGED = re.compile(r"<(\w+)>\n.*?\n</\1>", re.DOTALL)


def longform_composer(request: WireRequest) -> Mapping[str, Any]:
    """Answers every schema of `longform`, told apart by their properties.

    It reads what the prompts say outside of their tags, so no material can mislead it: counts on lines of their own
    (`Sections: 8`, `Words: 300`), ids of sources (`Source r1`, `Ids that may be cited: r1, r2`), sections that get a
    transition (`Into section 2:`) or a verdict (`Section 2:`). A repair is answered as the request that it repairs.
    """
    properties = request.schema.get("properties", {})
    said = _TAGGED.sub("", request.asked)
    seed = hashlib.sha256(request.asked.encode()).hexdigest()
    rng, mark = random.Random(seed), seed[:6]
    if "coherence" in properties:
        return _judgement(_numbers(said, "Section"))
    if "thesis" in properties:
        return _outline(rng, mark, _number(said, "Sections", 3), _number(said, "Words", 1_200), _sources(said))
    if "transitions" in properties:
        words = _number(said, "Words", 18)
        return {
            "transitions": [
                {"number": number, "text": _sentence(rng, f"{mark}-into-{number}", words)}
                for number in _numbers(said, "Into section")
            ]
        }
    if "markdown" in properties:
        return {"markdown": _section(rng, mark, _number(said, "Words", 300), _sources(said))}
    raise ValueError(f"longform has no schema like {request.schema}")


def _number(said: str, label: str, default: int) -> int:
    found = re.search(rf"^\W*{label}:\s*(\d+)", said, re.MULTILINE)
    return int(found.group(1)) if found else default


def _numbers(said: str, label: str) -> list[int]:
    return [int(number) for number in re.findall(rf"^{label} (\d+):$", said, re.MULTILINE)]


def _sources(said: str) -> list[str]:
    """Ids of sources that the prompt lists."""
    listed = re.findall(r"^Source (r\d+)\b", said, re.MULTILINE)
    line = re.search(r"^Ids that may be cited: (.+)$", said, re.MULTILINE)
    return listed + (re.findall(r"r\d+", line.group(1)) if line else [])


def _sentence(rng: random.Random, mark: str, words: int = _SENTENCE_WORDS, cites: Sequence[str] = ()) -> str:
    """A sentence of so many words, at least two, that no other answer contains, thanks to the mark. Its things bear the
    mark too, so that the text does not count as repetitive."""

    def thing(names: Sequence[str]) -> str:
        return f"{rng.choice(names)}-{mark}"

    said = f"Note {mark} records how one {thing(_SUBJECTS)} {rng.choice(_VERBS)} the "
    said += f"{thing(_OBJECTS)} beside another {thing(_SUBJECTS)}"
    while len(said.split()) < words:
        said += f" and later how the {thing(_OBJECTS)} {rng.choice(_VERBS)} a {thing(_SUBJECTS)}"
    citation = f" [{', '.join(f'@{id_}' for id_ in cites)}]" if cites else ""
    return f"{' '.join(said.split()[:words])}{citation}."


def _section(rng: random.Random, mark: str, words: int, sources: Sequence[str]) -> str:
    """Paragraphs of exactly so many words, or one less. Each source is cited, and then every third sentence cites."""
    lengths = [_SENTENCE_WORDS] * (words // _SENTENCE_WORDS)
    if not lengths or words % _SENTENCE_WORDS > 1:
        lengths.append(max(2, words % _SENTENCE_WORDS))
    sentences = []
    for at, length in enumerate(lengths):
        # The last sentence cites what would not find its place otherwise.
        cites = list(sources[at : at + 1] if at < len(lengths) - 1 else sources[at:])
        if sources and not cites and at % 3 == 0:
            cites = [sources[at % len(sources)]]
        sentences.append(_sentence(rng, f"{mark}-{at + 1}", length, cites))
    return "\n\n".join(" ".join(sentences[i : i + 5]) for i in range(0, len(sentences), 5))


def _outline(rng: random.Random, mark: str, count: int, words: int, sources: Sequence[str]) -> Mapping[str, Any]:
    """Sections of even length. Each source is one section's, and each section has one."""
    rounds = range(max(count, len(sources)) if sources else 0)
    homes = [sorted({sources[n % len(sources)] for n in rounds if n % count == at}) for at in range(count)]
    return {
        "title": f"The {rng.choice(_SUBJECTS)} of {mark}",
        "thesis": _sentence(rng, f"{mark}-thesis"),
        "sections": [
            {
                "title": f"The {rng.choice(_SUBJECTS)} and its {rng.choice(_OBJECTS)}, part {number}",
                "purpose": _sentence(rng, f"{mark}-{number}"),
                "key_points": [_sentence(rng, f"{mark}-{number}-{letter}") for letter in "abc"],
                "words": words * number // count - words * (number - 1) // count,
                "sources": homes[number - 1],
            }
            for number in range(1, count + 1)
        ],
    }


def _judgement(numbers: Sequence[int]) -> Mapping[str, Any]:
    """A judge who is content with everything."""
    scores = {"coherence": 10, "coverage": 10, "style": 10, "support": 10}
    return {
        **{name: {"reason": f"The {name} is good.", "score": score} for name, score in scores.items()},
        "sections": [
            {"number": n, "reason": f"Section {n} does its part.", "advice": f"Sharpen section {n}.", "score": 8}
            for n in numbers
        ],
    }
