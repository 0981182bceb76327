"""The report on how good a document is and how that was found, as Markdown for people."""

from collections.abc import Iterable, Mapping, Sequence

from core.contracts.documents import JUDGE_WEIGHT, Article, Evaluation, Measured, Report, SectionVerdict
from core.contracts.longform import LeftOut, Source
from core.documents.markdown import literal

SIMULATED_TEXT = "> **Simulated text.** The document was made by Atelier’s simulator, not by a language model."
SIMULATED_JUDGE = (
    "> **Simulated judgement.** The scores of the rubric were made by Atelier’s simulator from the figures."
)
NOBODY_JUDGED = "No model judged this version, as a person edited it. The score is that of the measured figures."


def report_to_markdown(
    report: Report, article: Article, sources: Sequence[Source] = (), left_out: Sequence[LeftOut] = ()
) -> str:
    """What a reader of a document's quality report sees, in English. Ends with one newline.

    `sources` are all sources of the document, whether they are cited or not, and `left_out` those that could not be
    read. What a model or a user wrote is text here, whatever markup it looks like.
    """
    evaluation = report.evaluation
    titles = {section.id: section.title for section in article.sections}
    names = {source.id: source.title for source in sources}
    names |= {reference.source_id: reference.title for reference in article.references}
    parts = [
        f"# Quality report: {literal(article.title)}",
        SIMULATED_TEXT if article.simulated else "",
        SIMULATED_JUDGE if evaluation.simulated and evaluation.rubric is not None else "",
        *_verdict(report),
        *_rubric(evaluation),
        *_figures(evaluation.measured),
        *_sections(evaluation, titles),
        *_sources(sources, left_out),
        *_citations(evaluation.measured, titles, names, bool(article.references)),
        *_rounds(report, titles),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _signed(share: float) -> str:
    return f"{share:+.1%}"


def _verdict(report: Report) -> list[str]:
    score, threshold = report.evaluation.score, report.threshold
    line = f"**Score: {score:.2f}** of 1.00"
    if threshold is None:
        return [f"{line}."]
    if score >= threshold:
        return [f"{line}. The threshold of {threshold:.2f} is reached."]
    return [f"{line}. The threshold of {threshold:.2f} is missed by {threshold - score:.4f}."]


def _rubric(evaluation: Evaluation) -> list[str]:
    heading, rubric = "## Judgement", evaluation.rubric
    if rubric is None:
        return [heading, NOBODY_JUDGED]
    criteria = {
        "Coherence": rubric.coherence,
        "Coverage": rubric.coverage,
        "Style": rubric.style,
        "Support by sources": rubric.support,
    }
    judge = f"Judged by {literal(evaluation.model)}. " if evaluation.model else ""
    weight = (
        f"{judge}The judge’s mean ({rubric.score:.2f}) is {JUDGE_WEIGHT:.0%} of the score, "
        f"the measured figures ({evaluation.measured.score:.2f}) are {1 - JUDGE_WEIGHT:.0%}."
    )
    rows = [(name, f"{criterion.score:.2f}", literal(criterion.reason)) for name, criterion in criteria.items()]
    return [heading, weight, _table(("Criterion", "Score", "Reason"), rows)]


def _figures(measured: Measured) -> list[str]:
    lix = "—" if measured.readability is None else f"{measured.readability:.0f}"
    rows = [
        ("Words", f"{measured.words:,}", f"{measured.target_words:,} were planned."),
        ("Length error", _signed(measured.length_error), "How far the length is off; within 10% is as asked."),
        (
            "Repetition",
            _percent(measured.repetition),
            "Share of sequences of four words that stood in the text before.",
        ),
        ("Readability (LIX)", lix, "About 30 is easy, 60 is hard; no figure for scripts without spaces between words."),
        ("Claims", f"{measured.claims:,}", "Sentences with a number, a percentage or a quotation."),
        (
            "Uncited claims",
            f"{measured.uncited_claims:,}",
            "Of these, those whose paragraph, item or table cites nothing.",
        ),
        ("Coverage", _percent(measured.heading_coverage), "Planned headings and key points that the text takes up."),
        (
            "Unknown citations",
            f"{len(measured.unknown_citations):,}",
            "Of what is no source; the exports leave them out.",
        ),
        ("Uncited sources", f"{len(measured.uncited_sources):,}", "Sources that were given and that nothing cites."),
        (
            "Score of the figures",
            f"{measured.score:.2f}",
            "All of these but readability as one: 1.00 is without a fault.",
        ),
    ]
    return ["## Measured figures", _table(("Figure", "Value", "What it means"), rows)]


def _sections(evaluation: Evaluation, titles: Mapping[str, str]) -> list[str]:
    verdicts = {verdict.section_id: verdict for verdict in evaluation.sections}
    lengths = evaluation.measured.section_lengths
    rows = [
        (literal(title), _signed(lengths[id_]) if id_ in lengths else "—", *_said(verdicts.get(id_)))
        for id_, title in titles.items()
    ]
    parts = ["## Sections", _table(("Section", "Length error", "Score", "Reason", "Advice"), rows)]
    missing = [literal(id_) for id_ in lengths if id_ not in titles]
    return [*parts, f"Planned, and not in the document: {', '.join(missing)}."] if missing else parts


def _said(verdict: SectionVerdict | None) -> tuple[str, str, str]:
    if verdict is None:
        return "—", "—", "—"
    return f"{verdict.score:.2f}", literal(verdict.reason), literal(verdict.advice)


def _sources(sources: Sequence[Source], left_out: Sequence[LeftOut]) -> list[str]:
    if not sources and not left_out:
        return []
    lines = [f"- {source.id}: “{literal(source.title)}”, {_read(source)}." for source in sources]
    lines += [f"- {left.id}: “{literal(left.title)}” was left out. {literal(left.reason)}" for left in left_out]
    return ["## Sources", "\n".join(lines)]


def _read(source: Source) -> str:
    """How much of a source was read, and what not."""
    said = [f"{source.characters:,} characters"]
    if source.pages is not None:
        said.append("1 page" if source.pages == 1 else f"{source.pages:,} pages")
    if source.pages_without_text:
        said.append(f"{source.pages_without_text:,} of them without text that can be read")
    if source.cut_from:
        said.append(f"cut: the text has {source.cut_from:,}, and what is behind these was not used")
    if source.url:
        said.append(f"from {literal(source.url)}" + (f" on {source.read_on.isoformat()}" if source.read_on else ""))
    return ", ".join(said)


def _citations(
    measured: Measured, titles: Mapping[str, str], names: Mapping[str, str], some_are_known: bool
) -> list[str]:
    cited = [(found.cited, titles.get(found.section_id, found.section_id)) for found in measured.unknown_citations]
    unknown = [f"- No source is called {literal(id_)}, which is cited in “{literal(title)}”." for id_, title in cited]
    uncited = [f"- Nothing cites {_named(source, names)}." for source in measured.uncited_sources]
    if unknown or uncited:
        return ["## Citations", "\n".join([*unknown, *uncited])]
    if some_are_known:
        return ["## Citations", "Every citation is of a source, and every source is cited."]
    return ["## Citations", "The document has no sources."]


def _named(source: str, names: Mapping[str, str]) -> str:
    return f"“{literal(names[source])}” ({source})" if source in names else source


def _rounds(report: Report, titles: Mapping[str, str]) -> list[str]:
    heading = "## Revision"
    if not report.rounds:
        return [heading, "No section was revised."]
    rows = [
        (
            str(number),
            ", ".join(literal(titles.get(id_, id_)) for id_ in tried.revised),
            f"{tried.score_before:.2f}",
            f"{tried.score_after:.2f}",
            "yes" if tried.taken else "no, the text from before stands",
        )
        for number, tried in enumerate(report.rounds, start=1)
    ]
    return [heading, _table(("Round", "Revised", "Score before", "Score after", "Taken"), rows)]
