"""A web server with scripted pages, honest and hostile ones, and names that lead where a test says."""

import asyncio
import datetime
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.web.addresses import Address
from core.web.connection import Resolver


@dataclass(frozen=True)
class WebRequest:
    """What a client asked."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Writes an answer, in whatever way it likes; the connection is closed when it returns."""


def page(
    body: bytes | str = b"<p>Clay</p>", media_type: str | None = "text/html", status: int = 200, **headers: str
) -> bytes:
    """A whole answer with its length; `content_encoding="gzip"` becomes a header."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Said", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    lines += [f"content-type: {media_type}"] if media_type is not None else []
    lines += [f"content-length: {len(data)}"] if "content_length" not in headers else []
    return "\r\n".join([*lines, "", ""]).encode() + data


def redirect(location: str, status: int = 302, **headers: str) -> bytes:
    """An answer that leads on."""
    return page(b"", status=status, location=location, **headers)


def then_silent(first: bytes = b"") -> Script:
    """Writes something and then nothing, for ever."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await asyncio.Event().wait()

    return script


def endless(first: bytes, again: bytes, pause: float = 0.0) -> Script:
    """Writes something, and then something else again and again; with a pause (seconds) it is a drip."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while not writer.is_closing():
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause)

    return script


@dataclass
class WebServer:
    """Serves `pages` by their target, and notes every request. Another target is answered with 404."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    impatient: bool = False
    """Takes the first bytes of whatever comes for a bad request."""
    pages: dict[str, bytes | Script] = field(default_factory=dict)
    requests: list[WebRequest] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def targets(self) -> list[str]:
        """What was asked for, in order."""
        return [request.target for request in self.requests]

    def url(self, target: str = "/", host: str | None = None) -> str:
        """The URL of a page here."""
        scheme = "https" if self.tls is not None else "http"
        return f"{scheme}://{host or self.host}:{self.port}{target}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.impatient:
                await reader.read(1)
                writer.write(page(status=400))
                return
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            method, target, _ = first.split(" ")
            self.requests.append(WebRequest(method, target, headers, body))
            answer = self.pages.get(target, page("Nothing here", status=404))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()


class Names(Resolver):
    """Names with the answers of one look-up after another; the last one stays."""

    def __init__(self, **answers: Sequence[str] | str) -> None:
        self.looked_up: list[str] = []
        self._answers: dict[str, list[list[Address]]] = {}
        for name, said in answers.items():
            self.set(name, said)

    def set(self, name: str, *answers: Sequence[str] | str) -> None:
        """What each look-up of `name.example` answers."""
        self._answers[f"{name}.example"] = [
            [ip_address(address) for address in ([answer] if isinstance(answer, str) else answer)] for answer in answers
        ]

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        self.looked_up.append(host)
        if host not in self._answers:
            raise OSError("no such name")
        answers = self._answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext, list[str | None]]:
    """Contexts of a server with a self-made certificate and of a client that trusts it; the names clients ask for."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(pem + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    asked: list[str | None] = []
    server.sni_callback = lambda connection, wanted, context: asked.append(wanted)
    return server, ssl.create_default_context(cadata=pem.decode()), asked
