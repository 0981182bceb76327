"""People with everything the API knows, every kind of credentials, and what of it all is stored."""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from argon2 import PasswordHasher
from sqlalchemy import text

from api.tokens import ALGORITHM, TokenSigner
from core.artifacts.store import ArtifactStore
from core.contracts.documents import Reason
from core.contracts.jobs import FinishJob, JobResult, JobStatus
from core.contracts.scoping import Base
from core.db.engine import Database
from core.db.ids import artifact_id, new_id
from core.db.repositories.runs import RunRepository
from core.db.schema import metadata
from core.db.tokens import hash_token
from tests.api.ledger_rows import attempt
from tests.api.scoped import Scoped
from tests.api.written import Shelf, an_article
from tests.support.rows import accept, begin

SECRET = "plainly invented for tests, and long enough for the longest of the hashes"
PASSWORD = "a mill turns by the moon"
# As cheap as Argon2 can be: its parameters stand in the hash.
_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)

_STATUSES = {
    "plain": "pending",
    "patched": "completed",
    "deleted": "completed",
    "cancelled": "pending",
    "paused": "running",
    "resumed": "paused",
    "retried": "failed",
    "raised": "running",
}
"""The jobs of a person, by what is done to them, and the status they begin with."""
_NOBODYS = {"account", "addressed_upload", "contradiction", "erasure", "number", "provider", "section"}
"""Of the things of a person those that are no secret of theirs, or that a problem repeats from the URL."""
_DOCUMENTS = ("regenerated", "edited", "restored")
"""The documents of a person that are changed: only one change of each can be under way."""
_SESSIONS = ("session", "reopened_session", "deleted_session")
"""The scoping sessions of a person that have ended in a charter."""


@dataclass(frozen=True)
class Person:
    """An owner, what it has, and how it can be spoken for."""

    id: str
    name: str
    email: str
    tokens: dict[str, str]
    """API keys: `full`, `read`, `write`, `revoked`, `expired`; and `refresh`, of a login of its own."""
    login_id: str
    things: dict[str, str]
    """Ids of what it has, by the names that the table of expectations uses."""

    @property
    def content(self) -> str:
        """What stands in everything it wrote, and nowhere else."""
        return f"mills of {self.name}"

    @property
    def traces(self) -> set[str]:
        """What nobody else may be shown."""
        ids = {value for thing, value in self.things.items() if thing not in _NOBODYS}
        return {self.id, self.email, self.login_id, self.content, *ids}

    @property
    def named(self) -> dict[str, list[str]]:
        """Ids of what it has, by the path parameters that name them."""
        jobs = [self.things[thing] for thing in (*_STATUSES, "ended")]
        documents = [self.things[thing] for thing in ("document", *_DOCUMENTS)]
        return {
            "job_id": jobs,
            "document_id": documents,
            "session_id": [self.things[thing] for thing in (*_SESSIONS, "asking")],
            "contradiction_id": [self.things["contradiction"]],
            "artifact_id": [self.things["artifact"]],
            "upload_id": [self.things["upload"]],
            "hook_id": [self.things["hook"]],
            "delivery_id": [self.things["delivery"]],
            "number": ["1", "2"],
            "section_id": ["s1"],
            "key_id": [self.things["key"]],
            "login_id": [self.things["login"]],
            "account_id": [self.things["account"]],
            "name": [self.things["provider"]],
            "erasure_id": [self.things["erasure"]],
        }

    def access(self, signer: TokenSigner) -> str:
        """A good access token."""
        return signer.sign(self.id, self.login_id).token


class Registry:
    """Makes people."""

    def __init__(self, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._store = store

    async def person(self, name: str, *, role: str = "user", password: bool = True, things: bool = True) -> Person:
        """Somebody with keys and logins, and with jobs, documents and figures if wanted.

        Without a password their keys do as a login does.
        """
        email = f"{name.lower()}@example.com"
        owner_id = await self._owner(
            name=name,
            email=email if password else None,
            email_key=email if password else None,
            password_hash=_HASH if password else None,
            role=role,
        )
        logins = {kind: await self._login(owner_id) for kind in ("own", "spare", "other")}
        keys = {
            "full": await self._key(owner_id),
            "read": await self._key(owner_id, scopes=["read"]),
            "write": await self._key(owner_id, scopes=["write"]),
            "revoked": await self._key(owner_id, revoked_at=datetime.now(UTC)),
            "expired": await self._key(owner_id, expires_at=datetime.now(UTC) - timedelta(seconds=1)),
            "spare": await self._key(owner_id),
        }
        tokens = {kind: token for kind, (_, token) in keys.items()}
        tokens["refresh"] = await self._refresh(logins["other"])
        person = Person(owner_id, name, email, tokens, logins["own"], {})
        if things:
            person.things.update(
                key=keys["spare"][0],
                login=logins["spare"],
                # What admins change: another's, so that nothing of the person's own has to change.
                account=await self._owner(name=f"A neighbour of {name}"),
                erasure=await self._erasure(),
                provider="anthropic",
                **await self._hooks(person),
                number="1",
                section="s1",
                **await self._jobs(person),
                **await self._documents(person),
                contradiction="one",
                **await self._sessions(person),
                **{thing: await self._upload(person) for thing in ("upload", "deleted_upload", "addressed_upload")},
            )
        return person

    async def erase(self, person: Person) -> None:
        """Have their account be erased: nobody speaks for it any more."""
        await self._run("UPDATE owners SET erasing_at = now() WHERE id = :id", id=person.id)

    async def end_login(self, login_id: str) -> None:
        """End a login."""
        await self._run("UPDATE sessions SET ended_at = now() WHERE id = :id", id=login_id)

    async def login(self, person: Person) -> str:
        """Another login of a person."""
        return await self._login(person.id)

    async def _owner(self, **fields: Any) -> str:
        owner_id = new_id()
        await self._insert("owners", id=owner_id, **fields)
        return owner_id

    async def _erasure(self) -> str:
        """What is left of an account that was erased: its id is all one needs to read it."""
        erasure_id = new_id()
        await self._insert("erasures", id=erasure_id, finished_at=datetime.now(UTC))
        return erasure_id

    async def _login(self, owner_id: str) -> str:
        login_id = new_id()
        await self._insert("sessions", id=login_id, owner_id=owner_id)
        return login_id

    async def _refresh(self, login_id: str) -> str:
        token = secrets.token_urlsafe(32)
        until = datetime.now(UTC) + timedelta(days=1)
        await self._insert("refresh_tokens", token_sha256=hash_token(token), session_id=login_id, expires_at=until)
        return token

    async def _key(self, owner_id: str, **fields: Any) -> tuple[str, str]:
        key_id, token = new_id(), f"atl_{secrets.token_urlsafe(32)}"
        await self._insert(
            "api_keys", id=key_id, owner_id=owner_id, name="test", token_sha256=hash_token(token), **fields
        )
        return key_id, token

    async def _jobs(self, person: Person) -> dict[str, str]:
        found = {}
        for thing, status in _STATUSES.items():
            found[thing] = await accept(
                self._database, person.id, title=f"Tidal {person.content}", input={"topic": person.content}
            )
            await self._run(
                "UPDATE jobs SET status = :status, budget_usd = 1, claimed_at = now(), paused = :paused WHERE id = :id",
                status=status,
                paused=status == "paused",
                id=found[thing],
            )
        found["ended"] = await begin(self._database, person.id, title=f"Tidal {person.content}")
        async with self._database.transaction() as connection:
            await RunRepository(connection).finish(
                FinishJob(job_id=found["ended"], run=1, status=JobStatus.COMPLETED, result=JobResult())
            )
        await attempt(self._database, found["plain"])
        shelf = Shelf(self._database, self._store, person.id)
        await shelf.outline(found["plain"])
        found["artifact"] = artifact_id(found["plain"], "decompose", 1, "outline.json")
        return found

    async def _upload(self, person: Person) -> str:
        """A file that is ready."""
        upload_id, data = new_id(), person.content.encode()
        ref = await self._store.put(person.id, data, "text/plain")
        await self._insert(
            "uploads",
            id=upload_id,
            owner_id=person.id,
            name=f"{person.content}.txt",
            size=len(data),
            media_type="text/plain",
            status="ready",
            kind="text",
            sha256=ref.sha256,
            url_expires_at=datetime.now(UTC),
            expires_at=datetime.now(UTC),
        )
        return upload_id

    async def _hooks(self, person: Person) -> dict[str, str]:
        """Two webhooks, and a delivery of one."""
        found = {thing: new_id() for thing in ("hook", "deleted_hook", "delivery")}
        url = "https://mill.example.com/" + person.name
        for thing in ("hook", "deleted_hook"):
            await self._insert(
                "webhooks",
                id=found[thing],
                owner_id=person.id,
                url=url,
                events=["job.failed"],
                secret="plainly invented",
                description=person.content,
            )
        await self._insert(
            "deliveries",
            id=found["delivery"],
            owner_id=person.id,
            hook_id=found["hook"],
            type="webhook.test",
            url=url,
            payload="{}",
        )
        return found

    async def _documents(self, person: Person) -> dict[str, str]:
        """Of each two versions."""
        shelf, found = Shelf(self._database, self._store, person.id), {}
        for thing in ("document", *_DOCUMENTS):
            article = an_article(f"Twice a day the {person.content} turned.", title=f"The {person.content}")
            first = await shelf.write(article)
            await shelf.write(article, document_id=first.document_id, parent=1, reason=Reason.EDITED)
            found[thing] = first.document_id
        return found

    async def _sessions(self, person: Person) -> dict[str, str]:
        """One that asks its first question, and some that have a charter; the first of them of two versions."""
        name = f"The {person.content}"

        def scoped() -> Scoped:
            return Scoped(self._database, self._store, person.id)

        found = {thing: (await (await scoped().begin(name)).complete()).id for thing in _SESSIONS}
        first = found["session"]
        base = Base(job_id=first, document_id=first, version=1, stage=2)
        await (await scoped().begin(name, base=base)).complete()
        return {**found, "asking": (await scoped().begin(name)).id}

    async def _insert(self, table: str, **row: Any) -> None:
        await self._run(f"INSERT INTO {table} ({', '.join(row)}) VALUES (:{', :'.join(row)})", **row)

    async def _run(self, statement: str, **values: Any) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(text(statement), values)


async def bad_tokens(registry: Registry, signer: TokenSigner, person: Person, stranger: Person) -> dict[str, str]:
    """Everything that looks like credentials of a person and is none, by its kind."""
    good = person.access(signer)
    header, claims = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
    ended = await registry.login(person)
    await registry.end_login(ended)

    def forged(key: str | None = SECRET, algorithm: str = ALGORITHM, headers: Any = header, **changes: Any) -> str:
        given = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode(given, key, algorithm, headers={"kid": headers["kid"]})  # type: ignore[arg-type]

    assert signer.read(forged()) == signer.read(good), "a forgery without a change must be good, or it proves nothing"
    signature = good.rpartition(".")[2]
    gone = await registry.person("Gus", things=False)
    await registry.erase(gone)
    return {
        "rubbish": "rubbish",
        "a key nobody made": f"atl_{secrets.token_urlsafe(32)}",
        "revoked key": person.tokens["revoked"],
        "expired key": person.tokens["expired"],
        "refresh token": person.tokens["refresh"],
        "expired access token": forged(exp=claims["iat"] - 1),
        "wrong signature": forged("another-" + SECRET),
        "no signature": good.removesuffix(signature),
        "alg: none": forged(None, "none"),
        "another algorithm": forged(algorithm="HS512"),
        "unknown key id": forged(headers={"kid": "0" * 16}),
        "wrong audience": forged(aud="another-api"),
        "wrong issuer": forged(iss="another"),
        "no expiry": forged(exp=None),
        "no login": forged(sid=None),
        "login that ended": forged(sid=ended),
        "another's login": forged(sid=stranger.login_id),
        "a login that is no id": forged(sid="1"),
        "a key of an account that is being erased": gone.tokens["full"],
        "a login of an account that is being erased": gone.access(signer),
    }


async def stored(database: Database, *, of: Person | None = None) -> dict[str, list[int]]:
    """How many rows each table has, and a sum over them: of everybody, or what is one person's.

    Without when a key or a login was used last, which every request may note.
    """
    parts = []
    for table in metadata.sorted_tables:
        if table.name in ("limits", *(("erasures", "cooldowns") if of else ())):
            continue
        row = f"to_jsonb({table.name}) - '{{last_used_at,used_at}}'::text[]"
        parts.append(
            f"SELECT '{table.name}', count(*), coalesce(sum(hashtext(({row})::text)::bigint), 0)::bigint "
            f"FROM {table.name} WHERE {'true' if of is None else _belongs(table.columns.keys(), table.name)}"
        )
    async with database.transaction() as connection:
        found = await connection.execute(text(" UNION ALL ".join(parts)), {"owner": of.id} if of else {})
        return {name: list(figures) for name, *figures in found}


def _belongs(columns: Iterable[str], table: str) -> str:
    if table == "owners":
        return "id = :owner"
    if "owner_id" in columns:
        return "owner_id = :owner"
    if "session_id" in columns:
        return "session_id IN (SELECT id FROM sessions WHERE owner_id = :owner)"
    assert "job_id" in columns, f"tests/support/access.py must be told whose the rows of `{table}` are"
    return "job_id IN (SELECT id FROM jobs WHERE owner_id = :owner)"


def code_of(answer: str) -> str:
    """The code of a problem document; empty for anything else."""
    try:
        found = json.loads(answer)
    except ValueError:
        return ""
    return str(found.get("code", "")) if isinstance(found, dict) else ""
