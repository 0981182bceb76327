"""What a fetch may take, and what it may bring."""

from dataclasses import dataclass, field

from core import VERSION

USER_AGENT = f"Atelier/{VERSION}"
HTML = "text/html"
XHTML = "application/xhtml+xml"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
READABLE = frozenset((HTML, XHTML, "text/plain", "text/markdown", "text/x-markdown", "application/json", PDF, DOCX))
"""The media types that text can be had from."""


@dataclass(frozen=True)
class FetchRules:
    """Bounds of one fetch or post, redirects and robots.txt included. Times in seconds, sizes in bytes."""

    allowed: tuple[str, ...] = ()
    """Besides public addresses: `host:port` or a network, `core.web.addresses.Allowed`."""
    robots: bool = True
    """Whether robots.txt is asked and obeyed."""
    media_types: frozenset[str] = field(default=READABLE)
    max_redirects: int = 5
    max_body_bytes: int = 20_000_000
    """As sent, and once more after decompression."""
    max_header_bytes: int = 64 * 1024
    connect_seconds: float = 10.0
    """For looking up the name, the connection and TLS together."""
    silence_seconds: float = 15.0
    """The longest wait for the next bytes."""
    total_seconds: float = 60.0
    """It also ends an answer that drips."""
