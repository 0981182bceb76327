"""A charter as JSON, Markdown and PDF, and what differs between two."""

import io
import re
from typing import Any

import pypdf
import pytest
import yaml
from markdown_it import MarkdownIt

from core.contracts.errors import AtelierError, ErrorType
from core.contracts.scoping import CharterFormat, Resolution
from core.contracts.scoping_charter import CHARTER, Charter, Decision, OpenRisk, SectionId, Statement
from core.documents import charter_pdf as pdf_module
from core.documents.charter import charter_file_name, charter_json, charter_markdown, fingerprint
from core.documents.charter_diff import diff_charters
from core.documents.charter_labels import charter_labels
from core.documents.charter_pdf import charter_pdf
from core.documents.diff import Op, SectionStatus
from core.documents.labels import labels
from tests.support.charters import ANSWERS, RISKS, SECTIONS, charter, said, section, statement
from tests.support.pdf_pages import left_edges

HOSTILE = (
    '# $x^2$ * _ @ref <label> #panic("x") `a` ~~b~~ | c \\ // /* e */ = f',
    "<script>alert(1)</script> <!-- x &amp; [a](javascript:b) ![c](d) *e* **f** __g__",
    "- no list", "1. no list", "> no quote", "# no heading", "===", "---", "```", "    no code", "| a |", "~~~", "+ x",
    "a\x00b\x07c\ufeffd", "😀👩‍👩‍👧 中文 ✓ שלום مرحبا", "e" + "\u0301" * 2_000, "x" * 800, "W" * 41,
    "https://example.org/" + "path/" * 100, "[2.3]", "[@r1]", "\\", "{{ x }} {% y %}",
)  # fmt: skip


def pages(data: bytes) -> list[str]:
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages]


def letters(text: str) -> str:
    """Text without spaces and marks: hyphens, places to break at and line ends fall away."""
    return "".join(char for char in text if char.isalnum())


def rendered(markdown: str) -> str:
    """The HTML of a Markdown file without its front matter."""
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown.split("\n---\n", 1)[1]))


def read(html: str) -> str:
    """What a reader sees of HTML that holds no text with tags."""
    text = re.sub(r"<[^>]*>", "", html)
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(entity, char)
    return text


def all_words(made: Charter) -> list[str]:
    """Every text of others, in the order of the documents."""
    statements = [
        text
        for part in made.sections
        for text in (part.title, *(one.text for one in (*part.statements, *part.conditions)))
    ]
    findings = [
        text
        for stage in made.findings
        for text in (stage.title, *(text for one in stage.findings for text in (one.title, one.statement)))
    ]
    answers = [text for answer in made.answers for text in (answer.asked, *answer.said)]
    return [made.name, made.description, *statements, *(risk.text for risk in made.open_risks), *findings, *answers]


def in_order(texts: list[str], found: str) -> None:
    """Assert that each text follows the one before."""
    at = 0
    for text in texts:
        place = found.find(letters(text), at)
        assert place >= 0, text
        at = place + len(letters(text))


def hostile(text: str) -> Charter:
    """A charter with this text wherever there is any."""
    short = text[:200]
    parts = [
        section(SectionId.SUMMARY, statement(text[:900], "pain"), statement(text[:900], "owner", assumed=("volume",))),
        section(
            SectionId.DECISION,
            statement(text[:900], "pain"),
            decision=Decision.NO_GO,
            conditions=(statement(text[:900], "unknown_question"),),
        ),
    ]
    findings = [
        stage.model_copy(
            update={
                "title": short,
                "findings": tuple(one.model_copy(update={"title": short, "statement": text}) for one in stage.findings),
            }
        )
        for stage in charter().findings
    ]
    return charter(
        name=short,
        description=f"{text}\n{text}",
        sections=tuple(part.model_copy(update={"title": short}) for part in parts),
        findings=tuple(findings),
        open_risks=(OpenRisk(kind="vague", text=text, rests_on=("pain", "an_unknown_question_with_a_long_id")),),
        answers=tuple(said(id, stage, text, (text, f"{text}\n\n{text}")) for id, stage, _, _ in ANSWERS),
    )


def test_json_gives_the_charter_back() -> None:
    made = charter(simulated=True)
    assert Charter.model_validate_json(charter_json(made)) == made
    assert charter_json(made) == charter_json(charter(simulated=True))
    assert fingerprint(made) != fingerprint(charter())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Sorting cargo notes", "sorting-cargo-notes-charter.pdf"),
        ("Über Straße/../etc", "uber-strasse-etc-charter.pdf"),
        ("מיון 中文 😀", "project-charter.pdf"),
        ('a\r\n"b"; c', "a-b-c-charter.pdf"),
        ("x" * 200, f"{'x' * 60}-charter.pdf"),
        ("...", "project-charter.pdf"),
    ],
)
def test_file_names_are_safe(name: str, expected: str) -> None:
    assert charter_file_name(name, CharterFormat.PDF) == expected


def test_markdown_reads_as_the_charter() -> None:
    made = charter(simulated=True)
    text = charter_markdown(made)
    front = yaml.safe_load(text.split("---\n")[1])
    assert front == {
        "project": made.name,
        "language": "en",
        "decision": "go_with_conditions",
        "open_risks": 3,
        "simulated": True,
        "sha256_of_json": fingerprint(made),
    }
    html = rendered(text)
    in_order(all_words(made), letters(read(html)))
    assert "<h2>1. Summary</h2>" in html
    assert "could save 22 hours a week. [2.1, 2.2*]" in html
    assert (
        "<strong>The view: Go, with conditions</strong><br />\nConditions: 2 · Open risks: 3 · Assumptions: 2" in html
    )
    assert html.count("<ol>") == 1, "the conditions"
    assert "<strong>Vague:</strong> How many notes come in winter stayed vague. [1.2]" in html
    assert labels("en").simulator in html
    assert read(html).count(charter_labels("en").skipped) == 2
    assert "<em>Added:</em> About 340 a day" in html
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_markdown_of_nothing() -> None:
    text = charter_markdown(charter(sections=(), findings=(), answers=(), open_risks=(), description="One."))
    assert "None is known." in text
    assert "Appendix" not in text
    assert "The view" not in text
    assert "Simulated" not in text


@pytest.mark.parametrize("text", HOSTILE)
def test_what_others_wrote_is_no_markup(text: str) -> None:
    made = hostile(text)
    html, plain = rendered(charter_markdown(made)), rendered(charter_markdown(hostile("word")))
    assert re.findall(r"</?[a-z0-9]+", html) == re.findall(r"</?[a-z0-9]+", plain)
    in_order(all_words(made), letters(read(html)))


@pytest.mark.parametrize("text", HOSTILE)
def test_what_others_wrote_is_set_as_it_is(text: str) -> None:
    made = hostile(text)
    found = "".join(pages(charter_pdf(made)))
    if text.isascii() and len(text) < 100:
        shown = re.sub(r"\s", "", text.replace("\x00", "").replace("\x07", ""))
        assert re.sub(r"[\s\u200b]", "", found).count(shown) >= 3 * len(ANSWERS), "asked, and said twice"
    elif text.isascii():
        assert letters(found).count(letters(text)) >= len(ANSWERS), "some are broken by the end of a page"


def test_a_pdf_holds_the_charter_in_order() -> None:
    made = charter(simulated=True)
    data = charter_pdf(made)
    assert charter_pdf(charter(simulated=True)) == data
    reader = pypdf.PdfReader(io.BytesIO(data))
    texts = pages(data)
    body = ""
    for number, text in enumerate(texts, 1):
        assert f"{number} / {len(texts)}" in text
        assert text.count(labels("en").note) == 1
        assert fingerprint(made)[:4] in text
        if number > 1:
            head = f"{made.name} Project charter"
            assert text.startswith(head)
            body += text.removeprefix(head)
    in_order(all_words(made)[:2], letters(texts[0]))
    in_order(all_words(made)[2:], letters(body))
    assert "Go, with conditions" in texts[0]
    assert "Conditions: 2" in texts[0]
    assert "[2.1, 2.2*]" in body
    assert letters(fingerprint(made)) in letters(body), "what is signed"
    assert [word for word in ("Sponsor", "Project lead") if body.count(word) == 1] == ["Sponsor", "Project lead"]
    assert body.count("Signature") == 2
    assert reader.metadata is not None
    assert (reader.metadata.title, reader.metadata.keywords) == (made.name, "simulated")
    assert reader.metadata.creation_date is None
    outline = [item.title for item in reader.outline if not isinstance(item, list)]
    assert [re.sub(r"^\d ?", "", str(title)) for title in outline] == [
        *(part.title for part in made.sections),
        "Open risks",
        "Sign-off",
        "Appendix A: Findings",
        "Appendix B: Questions and answers",
    ]


def test_a_reference_leads_to_its_answer() -> None:
    made = charter()
    reader = pypdf.PdfReader(io.BytesIO(charter_pdf(made)))
    answers = next(n for n, page in enumerate(reader.pages) if "What goes wrong today" in page.extract_text())
    places = set()
    for annotation in reader.pages[1]["/Annots"]:  # type: ignore[attr-defined]
        page, _fit, _x, y, _zoom = annotation.get_object()["/Dest"]
        places.add((reader.get_page_number(page.get_object()), float(y)))
    assert {page for page, _ in places} <= {answers, answers + 1}
    cited = {basis.question for part in made.sections for one in part.statements for basis in one.rests_on}
    cited |= {basis.question for part in made.sections for one in part.conditions for basis in one.rests_on}
    assert len(places) == len(cited), "one place a question"


@pytest.mark.parametrize("decision", list(Decision))
def test_every_view_is_told_in_words(decision: Decision) -> None:
    parts = (*SECTIONS[:-1], section(SectionId.DECISION, statement("So.", "pain"), decision=decision))
    cover = pages(charter_pdf(charter(sections=parts)))[0]
    assert charter_labels("en").decision(decision) in cover
    assert "Simulated" not in cover


def test_nothing_runs_off_the_page() -> None:
    made = hostile("W" * 300)
    for page in pypdf.PdfReader(io.BytesIO(charter_pdf(made))).pages:
        assert max(left_edges(page)) < 595 - 80, "no piece of text starts in the right margin"


def test_long_answers_are_set_whole() -> None:
    long = ("word and words. " * 500)[:8_000].strip()
    lines = "\n".join(f"line {n}" for n in range(900))
    few = ANSWERS[:2]
    made = charter(answers=tuple(said(id, stage, asked, (long, "x" * 8_000, lines)) for id, stage, asked, _ in few))
    found = letters("".join(pages(charter_pdf(made))))
    assert found.count(letters("line 899")) == len(few)
    assert found.count("x") >= 8_000 * len(few)
    assert letters(lines[-400:]) in letters(read(rendered(charter_markdown(made))))


@pytest.mark.parametrize("tag", ["de", "fr-CH", "es", "it", "pt-BR", "pl", "he", "ar-EG", "ja", "zh-Hant-TW", "xx"])
def test_every_language_can_be_set(tag: str) -> None:
    made = charter(language=tag, simulated=True)
    cover = pages(charter_pdf(made))[0]
    words = charter_labels(tag)
    assert words.go_with_conditions in cover
    assert f"# {words.charter}: " in charter_markdown(made)
    assert "missing from the fonts" not in cover


def test_words_of_every_language_are_complete() -> None:
    for tag in ("en", "de", "fr", "es", "it", "pt"):
        words = charter_labels(tag)
        assert words.language.code == tag
        assert "{}" in words.signed
        assert "[2.3]" in words.legend
        assert all(words[1:])
        for word in (words.this_holds, words.other_holds, words.neither_holds):
            assert word.count("{}") == 1
        assert len({words.section(id) for id in SectionId}) == len(SectionId)
    assert [charter_labels("ja").section(id) for id in SectionId] == [CHARTER[id].title for id in SectionId]


def test_missing_glyphs_are_admitted() -> None:
    odd = tuple(said(id, stage, asked, ("中文 😀",)) for id, stage, asked, _ in ANSWERS)
    assert "missing from the fonts" in pages(charter_pdf(charter(answers=odd)))[0]


def test_a_failure_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_module, "TEMPLATE", pdf_module.TEMPLATE.with_name("gone.typ"))
    with pytest.raises(AtelierError) as error:
        charter_pdf(charter())
    assert error.value.type is ErrorType.EXPORT_FAILED


def test_a_version_is_the_same_as_itself() -> None:
    found = diff_charters(charter(), charter())
    assert {part.status for part in found.sections} == {SectionStatus.SAME}
    assert found.summary.model_dump(exclude_defaults=True) == {"statements_same": 12}
    assert found.model_dump(exclude={"sections", "summary"}, exclude_defaults=True) == {}


def value(*statements: Statement) -> Charter:
    parts = tuple(section(SectionId.VALUE, *statements) if part.id is SectionId.VALUE else part for part in SECTIONS)
    return charter(sections=parts)


def test_statements_are_compared_word_by_word() -> None:
    kept = statement("Both versions say this.", "saving")
    old = value(statement("Success is 22 hours a week by March.", "saving"), kept, statement("Gone now.", "baseline"))
    new = value(kept, statement("Success is 30 hours a week by March.", "saving"), statement("Quite new.", "saving"))
    (found,) = [part for part in diff_charters(old, new).sections if part.status is not SectionStatus.SAME]
    assert found.id is SectionId.VALUE
    assert [(one.status.value, (one.before or one.after).text) for one in found.statements] == [  # type: ignore[union-attr]
        ("removed", "Success is 22 hours a week by March."),
        ("same", "Both versions say this."),
        ("added", "Success is 30 hours a week by March."),
        ("added", "Quite new."),
        ("removed", "Gone now."),
    ]
    reworded = value(statement("Success is 30 hours a week by March.", "saving"), kept)
    found = next(part for part in diff_charters(old, reworded).sections if part.id is SectionId.VALUE)
    changed, same, removed = found.statements
    assert [one.status.value for one in (changed, same, removed)] == ["changed", "same", "removed"]
    assert [(run.op, run.text) for run in changed.runs] == [
        (Op.EQUAL, "Success is "),
        (Op.DELETE, "22"),
        (Op.INSERT, "30"),
        (Op.EQUAL, " hours a week by March."),
    ]
    assert diff_charters(old, reworded).summary.model_dump(exclude_defaults=True) == {
        "sections_changed": 1,
        "statements_same": 12,
        "statements_changed": 1,
        "statements_removed": 1,
    }


def test_what_a_statement_rests_on_is_part_of_it() -> None:
    old = value(statement("Success is 22 hours.", "saving"))
    new = value(statement("Success is 22 hours.", assumed=("saving",)))
    (one,) = next(part for part in diff_charters(old, new).sections if part.id is SectionId.VALUE).statements
    assert one.status is SectionStatus.CHANGED
    assert [run.op for run in one.runs] == [Op.EQUAL]


def test_view_risks_and_answers_are_compared() -> None:
    decided = section(SectionId.DECISION, *SECTIONS[-1].statements, decision=Decision.GO)
    new_risk = OpenRisk(kind="vague", text="Another.", rests_on=("people",))
    new = charter(
        name="Another",
        sections=(*SECTIONS[1:-1], decided),
        open_risks=(*RISKS[1:], new_risk),
        answers=tuple(
            said(id, stage, asked, ("Now known.",) if id == "owner" else words) for id, stage, asked, words in ANSWERS
        ),
    )
    found = diff_charters(charter(), new)
    assert (found.name_changed, found.description_changed) == (True, False)
    assert (found.risks_added, found.risks_removed) == ((new_risk,), RISKS[:1])
    assert found.answers_changed == ("owner",)
    last, gone = found.sections[-2:]
    assert (last.decision_before, last.decision_after) == (Decision.GO_WITH_CONDITIONS, Decision.GO)
    assert [one.status for one in last.conditions] == [SectionStatus.REMOVED] * 2
    assert (gone.id, gone.status, gone.title_after) == (SectionId.SUMMARY, SectionStatus.REMOVED, None)


@pytest.mark.parametrize("lines", range(1, 8))
def test_a_note_stays_with_what_it_is_about(lines: int) -> None:
    first = said("pain", 1, "What hurts?", ("\n".join(["Much."] * lines), "More."))
    many = (first, *(said(f"q{n}", 1, f"Question {n}?", ("Hm.", "It was said later.")) for n in range(40)))
    for page in pages(charter_pdf(charter(answers=many, sections=SECTIONS[:1], findings=(), open_risks=()))):
        body = page.partition("Fingerprint")[0].split()
        assert body[-1:] != ["Added"]


@pytest.mark.parametrize(
    ("holds", "told"),
    [
        ("this", "Settled: this answer holds, and not [2.1]."),
        ("other", "Settled: this answer does not hold; [2.1] does."),
        ("neither", "Settled: neither this answer nor [2.1] holds as it stands."),
    ],
)
def test_a_settled_contradiction_stands_with_its_answer(holds: Any, told: str) -> None:
    assert ANSWERS[2][0] == "saving"
    word = Resolution(other="saving", holds=holds, text="Counted again.\nTwice.")
    first = said(*ANSWERS[0]).model_copy(update={"settled": (word,)})
    new = charter(answers=(first, *(said(*answer) for answer in ANSWERS[1:])))
    markdown = read(rendered(charter_markdown(new)))
    assert told in markdown
    assert markdown.index(told) < markdown.index("Counted again.")
    assert letters(f"{told}Counted again.Twice.") in letters("".join(pages(charter_pdf(new))))
    assert diff_charters(charter(), new).answers_changed == (ANSWERS[0][0],)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_statements_are_compared(text: str) -> None:
    found = diff_charters(charter(), hostile(text))
    for part in found.sections:
        for one in (*part.statements, *part.conditions):
            if one.before and one.after:
                assert "".join(run.text for run in one.runs if run.op is not Op.INSERT) == one.before.text
                assert "".join(run.text for run in one.runs if run.op is not Op.DELETE) == one.after.text
