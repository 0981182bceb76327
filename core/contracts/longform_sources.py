"""What travels between the steps that fetch and read the sources of `longform`."""

from datetime import date

from core.contracts.base import ArtifactRef, Contract
from core.contracts.errors import ErrorType
from core.contracts.jobs import StepRequest
from core.contracts.longform import LeftOut, Source, UnreadSource

UNREADABLE = frozenset(
    {
        ErrorType.URL_REFUSED,
        ErrorType.URL_UNREACHABLE,
        ErrorType.URL_TIMEOUT,
        ErrorType.URL_STATUS,
        ErrorType.URL_CUT,
        ErrorType.URL_TOO_LARGE,
        ErrorType.URL_UNSUPPORTED,
        ErrorType.ROBOTS_DISALLOWED,
        ErrorType.ROBOTS_UNREACHABLE,
        ErrorType.FILE_REFUSED,
        ErrorType.ARTIFACT_MISSING,
    }
)
"""What is the fault of a source. A job can do without one that is not `required`."""


class FetchSource(StepRequest):
    """Fetch what a source's URL leads to."""

    source: UnreadSource


class FetchedFile(Contract):
    """The bytes that a URL led to, as they came; `ref` has the media type that the server said."""

    ref: ArtifactRef
    url: str
    """In the end, after redirects."""
    charset: str | None = None
    read_on: date


class SourceFetched(Contract):
    """What a URL led to, or why nothing."""

    file: FetchedFile | None = None
    left_out: LeftOut | None = None


class ReadSource(StepRequest):
    """Read the text of a source's file: of the upload, or of what was fetched."""

    source: UnreadSource
    fetched: FetchedFile | None = None


class SourceRead(Contract):
    """A source with its text, or why it has none."""

    source: Source | None = None
    left_out: LeftOut | None = None
