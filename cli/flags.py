"""The flags that say what is to be done, for the commands that submit a job or ask what it would take."""

from dataclasses import dataclass
from typing import Annotated

import typer

from cli.client import Json
from cli.submission import build_input, read_input, read_source, read_style

Pipeline = Annotated[str, typer.Argument(help="longform, ...")]
Topic = Annotated[str | None, typer.Option(help="The topic in a line, or a brief of some paragraphs.")]
Words = Annotated[int | None, typer.Option(help="Length in words.")]
Pages = Annotated[float | None, typer.Option(help="Length in pages of 500 words.")]
Minutes = Annotated[float | None, typer.Option(help="Length in minutes when read aloud.")]
Audience = Annotated[str | None, typer.Option(help="Who will read it.")]
Tone = Annotated[str | None, typer.Option(help="How it sounds.")]
Language = Annotated[str | None, typer.Option(help="A language tag: en, de, pt-BR.")]
Style = Annotated[str | None, typer.Option(metavar="FILE|TEXT", help="A style guide.")]
Source = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[PRIORITY:]FILE|URL",
        help="Text, Markdown, PDF, DOCX or a web page to write from and to cite; may be given again. high: or low: "
        "before it says how much it matters; optional: that the job can do without it.",
    ),
]
Review = Annotated[bool, typer.Option("--review", help="Wait for your word on the outline.")]
Threshold = Annotated[float | None, typer.Option(help="Revise what scores less, of 0 to 1.")]
MaxRevisions = Annotated[int | None, typer.Option(help="Rounds of revision at most.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Write it anew, even if it was asked before.")]
Formats = Annotated[str | None, typer.Option(help="Files, separated by commas: md,html,pdf,docx.")]
Title = Annotated[str | None, typer.Option(help="A name for the list of jobs.")]
Tag = Annotated[list[str] | None, typer.Option(help="A tag to find it by; may be given again.")]
Model = Annotated[list[str] | None, typer.Option(help="provider:model; more are tried in this order.")]
Budget = Annotated[float | None, typer.Option(metavar="USD", help="The most it may cost; it waits for more.")]
Webhook = Annotated[str | None, typer.Option(metavar="URL", help="Told when it ends or waits.")]
Input = Annotated[
    str | None, typer.Option(metavar="FILE|-", help="The pipeline's input as JSON; the flags go over it.")
]
Key = Annotated[str | None, typer.Option(help="The same key and job again is one job.")]


@dataclass(frozen=True)
class LongformFlags:
    """What was given of the flags of `longform`."""

    topic: str | None
    words: int | None
    pages: float | None
    minutes: float | None
    audience: str | None
    tone: str | None
    language: str | None
    style: str | None
    source: list[str] | None
    review: bool
    threshold: float | None
    max_revisions: int | None
    no_cache: bool
    format: str | None

    def input(self) -> Json:
        """As fields of the pipeline's input; None where nothing was given. Raises CliError for a file."""
        return {
            "topic": self.topic,
            "target_words": self.words,
            "target_pages": self.pages,
            "target_duration": self.minutes,
            "audience": self.audience,
            "tone": self.tone,
            "language": self.language,
            "style_guide": None if self.style is None else read_style(self.style),
            "sources": [read_source(one) for one in self.source] if self.source else None,
            "review_outline": self.review or None,
            "quality_threshold": self.threshold,
            "max_revisions": self.max_revisions,
            "cache": "bypass" if self.no_cache else None,
            "formats": self.format,
        }


def submission(pipeline: str, flags: LongformFlags, file: str | None, **more: object) -> Json:
    """What is sent. `file` holds the input that the flags go over; `more` is what was given beside it."""
    body: Json = {"pipeline": pipeline, "input": build_input(pipeline, read_input(file), flags.input())}
    return body | {name: value for name, value in more.items() if value not in (None, [], "")}
