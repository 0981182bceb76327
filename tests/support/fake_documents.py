"""Outlines, documents and their versions, as the API shows them: for tests of the command line alone."""

from typing import Any

from core.contracts.documents import Article, ArticleSection
from core.documents.diff import diff

Json = dict[str, Any]


def make_outline(job_id: str, **changes: Any) -> Json:
    """The outline of a job that waits for a word on it."""
    outline: Json = {
        "job_id": job_id,
        "round": 1,
        "waiting": True,
        "expires_at": "2026-12-20T10:00:00Z",
        "title": "Mills: what the moon drove",
        "thesis": "Tide mills worked by the moon's hours, and ended when people began to work by the clock.",
        "words": 900,
        "sections": [_planned(1, 400, ["r1"]), _planned(2, 300, []), _planned(3, 200, ["r1", "r2"])],
        "simulated": True,
    }
    return outline | changes


def _planned(number: int, words: int, sources: list[str]) -> Json:
    return {
        "id": f"s{number}",
        "title": f"Part {number}: No",
        "purpose": f"The reader knows what part {number} is for.",
        "key_points": [f"Point {number}a", f"Point {number}b"],
        "words": words,
        "sources": sources,
    }


def waiting(job: Json, outline: Json) -> Json:
    """The job as it is while its outline waits."""
    asked = {
        "what": "outline_review",
        "round": outline["round"],
        "expires_at": outline["expires_at"],
        "title": outline["title"],
        "words": outline["words"],
        "sections": len(outline["sections"]),
        "url": f"/v1/jobs/{job['id']}/outline",
    }
    return job | {"status": "waiting_for_input", "waiting_for": asked}


def refusal(edit: Json) -> Json | None:
    """What is wrong with an edited outline, as the API says it; None if nothing is."""
    for at, section in enumerate(edit.get("sections") or ()):
        if section.get("words", 300) < 40:
            message = "A section has at least 40 words; leave it out to remove it."
            return {"loc": f"sections.{at}.words", "message": message, "type": "value_error"}
    return None


TEXTS = {
    "s1": "A mill pond fills with the tide [@r1]. The gate closes by itself.\n\nThen the miller waits.",
    "s2": "Steam did not wait.",
}


def make_version(document_id: str, number: int = 1, texts: dict[str, str] | None = None, **changes: Any) -> Json:
    """A version with its text."""
    sections = [
        {
            "id": section_id,
            "title": "Water behind a gate" if section_id == "s1" else f"What came after {section_id}",
            "words": len(text.split()),
            "sha256": "0" * 64,
            "markdown": text,
            "transition": "" if section_id == "s1" else "It could not last.",
        }
        for section_id, text in (texts or TEXTS).items()
    ]
    version: Json = {
        "document_id": document_id,
        "number": number,
        "parent": number - 1 or None,
        "reason": "written" if number == 1 else "section_regenerated",
        "section_id": None if number == 1 else "s2",
        "restored_from": None,
        "instructions": "" if number == 1 else "Say more\nof steam.",
        "job_id": document_id[:-8] + f"{number:08x}",
        "title": "Mills of the moon",
        "language": "en",
        "words": sum(section["words"] for section in sections),
        "score": 0.5 + number / 10,
        "simulated": number == 1,
        "sha256": "0" * 64,
        "outputs": [],
        "created_at": "2026-11-20T10:00:00Z",
        "thesis": "They ended with the clock.",
        "sections": sections,
        "references": [{"number": 1, "source_id": "r1", "title": "A miller's book"}],
        "report": {},
    }
    return version | changes


def document_view(versions: list[Json]) -> Json:
    """A document as its newest version has it."""
    newest = versions[-1]
    same = {name: newest[name] for name in ("title", "words", "score", "simulated", "language", "created_at")}
    counts = {"latest": newest["number"], "versions": len(versions), "updated_at": newest["created_at"]}
    return {"id": newest["document_id"], **same, **counts}


def diff_view(old: Json, new: Json) -> Json:
    """What the API answers of two versions: the real comparison."""
    return diff(_article(old), _article(new)).model_dump(mode="json")


def _article(version: Json) -> Article:
    fields = {name: version[name] for name in ("title", "thesis", "language", "words")}
    sections = (ArticleSection.model_validate(section) for section in version["sections"])
    return Article(**fields, sections=tuple(sections))
