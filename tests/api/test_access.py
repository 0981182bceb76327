"""Every operation of the API, asked with every kind of credentials: nobody sees or changes what is another's."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr

from api.app import create_app
from api.tokens import TokenSigner
from core.db.engine import Database
from core.db.ids import new_id
from tests.api.conftest import LONGFORM, Api, StartApi, make_settings
from tests.support.access import PASSWORD, SECRET, Person, Registry, bad_tokens, code_of, stored

UNKNOWN = "019aa0c2-7f3e-7c41-9d0a-5b8e6f1f2a10"


class Need(StrEnum):
    """What an operation asks of whoever calls it."""

    NOTHING = "no credentials"
    READ = "what may read"
    WRITE = "what may write"
    ACCOUNT_READ = "a login, or a key of somebody without a password, that may read"
    ACCOUNT_WRITE = "the same that may write"
    ADMIN_READ = "an admin's credentials that may read"
    ADMIN_WRITE = "an admin's credentials that may write"

    @property
    def scope(self) -> str:
        """What a key must allow."""
        return "read" if self in (Need.READ, Need.ACCOUNT_READ, Need.ADMIN_READ) else "write"

    @property
    def account(self) -> bool:
        """Whether a key of somebody with a password does not do."""
        return self in (Need.ACCOUNT_READ, Need.ACCOUNT_WRITE)

    @property
    def admin(self) -> bool:
        """Whether only an admin does."""
        return self in (Need.ADMIN_READ, Need.ADMIN_WRITE)


Body = Callable[[Person], object]
EVERYBODY = frozenset({"login", "key"})


@dataclass(frozen=True)
class Rule:
    """Who may call an operation, and what its owner gets."""

    need: Need
    status: int
    """What whoever may gets, with what is theirs."""
    use: dict[str, str] = field(default_factory=dict)
    """Which of the owner's things the path's parameters name (`Person.things`)."""
    body: Body | None = None
    query: str = ""
    by: frozenset[str] = EVERYBODY
    """Who of those that may carry it out does, as it ends the credentials, or needs a password."""


def rule(need: Need, status: int, body: Body | object = None, query: str = "", by: str = "", **use: str) -> Rule:
    """A line of the table. What is in `by` is done last."""
    given: Body | None = body if callable(body) or body is None else lambda _: body
    return Rule(need, status, use, given, query, frozenset({by}) if by else EVERYBODY)


def _newcomer(_: Person) -> object:
    return {"email": f"{new_id()}@example.com", "name": "New Example", "password": PASSWORD}


NOTHING, READ, WRITE = Need.NOTHING, Need.READ, Need.WRITE
ACCOUNT_READ, ACCOUNT_WRITE, ADMIN_READ, ADMIN_WRITE = list(Need)[3:]
TEXT = {"markdown": "My own words."}

EXPECTED: dict[str, Rule] = {
    "GET /v1/health/live": rule(NOTHING, 200),
    "GET /v1/health/ready": rule(NOTHING, 200),
    # Without a body, so that nothing changes; tests/api/test_logins.py has those that do.
    "POST /v1/auth/register": rule(NOTHING, 422, {}),
    "POST /v1/auth/login": rule(NOTHING, 422, {}),
    "POST /v1/auth/refresh": rule(NOTHING, 422, {}),
    "POST /v1/auth/logout": rule(NOTHING, 422, {}),
    "GET /v1/erasures/{erasure_id}": rule(NOTHING, 200, erasure_id="erasure"),
    "GET /v1/me": rule(READ, 200),
    "PATCH /v1/me": rule(ACCOUNT_WRITE, 200, {"name": "Another Example"}),
    "POST /v1/me/password": rule(
        ACCOUNT_WRITE, 200, {"current_password": PASSWORD, "new_password": f"now {PASSWORD}"}, by="login"
    ),
    "DELETE /v1/me": rule(ACCOUNT_WRITE, 202, by="leaver"),
    "GET /v1/me/logins": rule(ACCOUNT_READ, 200),
    "DELETE /v1/me/logins/{login_id}": rule(ACCOUNT_WRITE, 204, login_id="login"),
    "GET /v1/me/audit": rule(READ, 200, query="limit=200"),
    "GET /v1/me/keys": rule(ACCOUNT_READ, 200),
    "POST /v1/me/keys": rule(ACCOUNT_WRITE, 201, {"name": "Another"}),
    "DELETE /v1/me/keys/{key_id}": rule(ACCOUNT_WRITE, 204, key_id="key"),
    "POST /v1/jobs": rule(WRITE, 202, LONGFORM),
    "GET /v1/jobs": rule(READ, 200, query="limit=200"),
    "GET /v1/jobs/{job_id}": rule(READ, 200, job_id="plain"),
    "PATCH /v1/jobs/{job_id}": rule(WRITE, 200, {"tags": ["mine"]}, job_id="patched"),
    "DELETE /v1/jobs/{job_id}": rule(WRITE, 204, job_id="deleted"),
    "POST /v1/jobs/{job_id}/cancel": rule(WRITE, 202, job_id="cancelled"),
    "POST /v1/jobs/{job_id}/pause": rule(WRITE, 202, job_id="paused"),
    "POST /v1/jobs/{job_id}/resume": rule(WRITE, 202, job_id="resumed"),
    "POST /v1/jobs/{job_id}/retry": rule(WRITE, 202, job_id="retried"),
    "POST /v1/jobs/{job_id}/budget": rule(WRITE, 202, {"add_usd": 1}, job_id="raised"),
    "GET /v1/jobs/{job_id}/outline": rule(READ, 200, job_id="plain"),
    # It asks for no word; tests/api/test_outlines.py has those that do.
    "POST /v1/jobs/{job_id}/outline/approve": rule(WRITE, 409, {}, job_id="plain"),
    "POST /v1/jobs/{job_id}/outline/edit": rule(WRITE, 409, {"sections": [{"id": "s1"}]}, job_id="plain"),
    "POST /v1/jobs/{job_id}/outline/revise": rule(WRITE, 409, {"instructions": "Shorter."}, job_id="plain"),
    "GET /v1/jobs/{job_id}/events": rule(READ, 200, job_id="plain"),
    "GET /v1/jobs/{job_id}/calls": rule(READ, 200, job_id="plain"),
    "GET /v1/jobs/{job_id}/artifacts": rule(READ, 200, job_id="plain"),
    "GET /v1/artifacts/{artifact_id}": rule(READ, 200, artifact_id="artifact"),
    "HEAD /v1/artifacts/{artifact_id}": rule(READ, 200, artifact_id="artifact"),
    "GET /v1/documents": rule(READ, 200),
    "GET /v1/documents/{document_id}": rule(READ, 200, document_id="document"),
    "GET /v1/documents/{document_id}/versions": rule(READ, 200, document_id="document"),
    "GET /v1/documents/{document_id}/versions/{number}": rule(READ, 200, document_id="document", number="number"),
    "GET /v1/documents/{document_id}/diff": rule(READ, 200, query="from=1&to=2", document_id="document"),
    "POST /v1/documents/{document_id}/sections/{section_id}/regenerate": rule(
        WRITE, 202, {}, document_id="regenerated", section_id="section"
    ),
    "POST /v1/documents/{document_id}/sections/{section_id}/edit": rule(
        WRITE, 202, TEXT, document_id="edited", section_id="section"
    ),
    "POST /v1/documents/{document_id}/versions/{number}/restore": rule(
        WRITE, 202, document_id="restored", number="number"
    ),
    "POST /v1/sessions": rule(WRITE, 202, {"name": "Mail", "description": "Sort it."}),
    "GET /v1/sessions": rule(READ, 200, query="limit=200"),
    "GET /v1/sessions/{session_id}": rule(READ, 200, session_id="asking"),
    "PATCH /v1/sessions/{session_id}": rule(WRITE, 200, {"name": "Post"}, session_id="reopened_session"),
    "DELETE /v1/sessions/{session_id}": rule(WRITE, 204, session_id="deleted_session"),
    "GET /v1/sessions/{session_id}/stages/{number}": rule(READ, 200, session_id="session", number="number"),
    # It has ended; tests/api/test_sessions.py has those that ask.
    "POST /v1/sessions/{session_id}/stages/{number}/answers": rule(
        WRITE, 409, {"answers": {"problem_now": "It burns."}}, session_id="session", number="number"
    ),
    "POST /v1/sessions/{session_id}/stages/{number}/follow-ups": rule(
        WRITE, 409, {"answers": {"problem_now": "It burns."}}, session_id="session", number="number"
    ),
    "POST /v1/sessions/{session_id}/stages/{number}/skips": rule(
        WRITE, 409, {"question": "problem_now"}, session_id="session", number="number"
    ),
    "POST /v1/sessions/{session_id}/stages/{number}/reopen": rule(
        WRITE, 202, {}, session_id="reopened_session", number="number"
    ),
    "GET /v1/sessions/{session_id}/contradictions": rule(READ, 200, session_id="session"),
    "POST /v1/sessions/{session_id}/contradictions/{contradiction_id}": rule(
        WRITE, 409, {"holds": "first"}, session_id="session", contradiction_id="contradiction"
    ),
    "POST /v1/sessions/{session_id}/finish": rule(WRITE, 409, session_id="session"),
    "GET /v1/sessions/{session_id}/transcript": rule(READ, 200, session_id="session"),
    "GET /v1/sessions/{session_id}/charter": rule(READ, 200, session_id="session"),
    "GET /v1/sessions/{session_id}/charter/versions": rule(READ, 200, session_id="session"),
    "GET /v1/sessions/{session_id}/charter/versions/{number}": rule(READ, 200, session_id="session", number="number"),
    "GET /v1/sessions/{session_id}/charter/diff": rule(READ, 200, query="from=1&to=2", session_id="session"),
    "POST /v1/uploads": rule(WRITE, 201, {"name": "a.txt", "size": 9, "media_type": "text/plain"}),
    "GET /v1/uploads": rule(READ, 200, query="limit=200"),
    "GET /v1/uploads/{upload_id}": rule(READ, 200, upload_id="upload"),
    # The signature in the URL is what allows it; tests/api/test_uploads.py has those that do.
    "PUT /v1/uploads/{upload_id}/content": rule(NOTHING, 403, upload_id="addressed_upload"),
    "POST /v1/uploads/{upload_id}/complete": rule(WRITE, 200, upload_id="upload"),
    "DELETE /v1/uploads/{upload_id}": rule(WRITE, 204, upload_id="deleted_upload"),
    "GET /v1/hooks": rule(READ, 200, query="limit=200"),
    "POST /v1/hooks": rule(WRITE, 201, {"url": "https://mill.example.com", "events": ["job.failed"]}),
    "GET /v1/hooks/{hook_id}": rule(READ, 200, hook_id="hook"),
    "PATCH /v1/hooks/{hook_id}": rule(WRITE, 200, {"active": False}, hook_id="hook"),
    "DELETE /v1/hooks/{hook_id}": rule(WRITE, 204, hook_id="deleted_hook"),
    "POST /v1/hooks/{hook_id}/rotate": rule(WRITE, 200, hook_id="hook"),
    "POST /v1/hooks/{hook_id}/test": rule(WRITE, 202, hook_id="hook"),
    "GET /v1/hooks/{hook_id}/deliveries": rule(READ, 200, hook_id="hook"),
    "GET /v1/jobs/{job_id}/deliveries": rule(READ, 200, job_id="ended"),
    "GET /v1/deliveries/{delivery_id}": rule(READ, 200, delivery_id="delivery"),
    # It is being tried; tests/api/test_hooks.py has one that has ended.
    "POST /v1/deliveries/{delivery_id}/redeliver": rule(WRITE, 409, delivery_id="delivery"),
    # Whoever may only read could sign with it.
    "GET /v1/me/signing-secret": rule(WRITE, 200),
    "POST /v1/me/signing-secret/rotate": rule(WRITE, 200),
    "GET /v1/me/budget": rule(READ, 200),
    "PUT /v1/me/budget": rule(WRITE, 200, {"monthly_usd": 10}),
    "POST /v1/estimates": rule(READ, 200, LONGFORM),
    "GET /v1/usage": rule(READ, 200, query="by=job&from=2026-11-20&to=2026-11-20"),
    "GET /v1/providers": rule(READ, 200),
    "GET /v1/admin/accounts": rule(ADMIN_READ, 200),
    "POST /v1/admin/accounts": rule(ADMIN_WRITE, 201, _newcomer),
    "GET /v1/admin/accounts/{account_id}": rule(ADMIN_READ, 200, account_id="account"),
    "PATCH /v1/admin/accounts/{account_id}": rule(ADMIN_WRITE, 200, {"jobs_at_once": 3}, account_id="account"),
    "GET /v1/admin/usage": rule(ADMIN_READ, 200, query="by=account&from=2026-11-20&to=2026-11-20"),
    "GET /v1/admin/providers": rule(ADMIN_READ, 200),
    "POST /v1/admin/providers/{name}/resume": rule(ADMIN_WRITE, 204, name="provider"),
    "GET /v1/admin/limits": rule(ADMIN_READ, 200),
    "GET /v1/admin/audit": rule(ADMIN_READ, 200, query="limit=200"),
}
OUTSIDE = {"/openapi.json", "/docs", "/swagger/{name}"}
"""Routes that the document does not tell of."""


@dataclass(frozen=True)
class Answer:
    """What came."""

    status: int
    code: str
    text: str
    challenge: str


class Walk:
    """Asks, and notes what is not as it should be."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.wrong: list[str] = []

    async def ask(self, operation: str, token: str | None, owner: Person, *, unknown: bool = False) -> Answer:
        """Call an operation with what is `owner`'s, or nobody's, in its path."""
        expected = EXPECTED[operation]
        method, path = operation.split(" ")
        named = {name: owner.things[thing] for name, thing in expected.use.items()}
        if unknown:
            named = {name: UNKNOWN if len(value) > 30 else value for name, value in named.items()}
        url = path.format(**named) + (f"?{expected.query}" if expected.query else "")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        sent = {} if expected.body is None else {"json": expected.body(owner)}
        async with self._client.stream(method, url, headers=headers, **sent) as response:  # type: ignore[arg-type]
            # Events go on until their job ends.
            endless = response.headers.get("content-type", "").startswith("text/event-stream")
            told = "" if endless else (await response.aread()).decode()
            challenge = response.headers.get("www-authenticate", "")
            return Answer(response.status_code, code_of(told), told, challenge)

    def check(self, holds: bool, operation: str, who: str, answer: Answer, wanted: object) -> None:
        """Note an answer that is not what was wanted."""
        if not holds:
            self.wrong.append(f"{operation} with {who}: {answer.status} {answer.text[:300]!r}, not {wanted}")

    async def refused(self, kind: str, token: str | None, owner: Person) -> None:
        """Every operation with credentials that are none."""
        for operation, expected in EXPECTED.items():
            answer = await self.ask(operation, token, owner)
            if expected.need is NOTHING:
                self.check(answer.status == expected.status, operation, kind, answer, expected.status)
                continue
            told = answer.code == "unauthenticated" or operation.startswith("HEAD ")
            good = answer.status == 401 and told and answer.challenge.startswith("Bearer")
            self.check(good, operation, kind, answer, "401 unauthenticated")

    async def too_little(self, kind: str, token: str, owner: Person, refusal: Callable[[Need], str]) -> None:
        """Every operation that these credentials of the owner do not do for, and those that only read."""
        for operation, expected in EXPECTED.items():
            code = refusal(expected.need)
            if code:
                answer = await self.ask(operation, token, owner)
                told = answer.code == code or operation.startswith("HEAD ")
                self.check(answer.status == 403 and told, operation, kind, answer, f"403 {code}")
            elif expected.need is READ:
                answer = await self.ask(operation, token, owner)
                self.check(answer.status == expected.status, operation, kind, answer, expected.status)

    async def another(self, kind: str, token: str, owner: Person, refusal: Callable[[Need], str]) -> None:
        """Every operation by somebody else, with the owner's things in its path."""
        for operation, expected in EXPECTED.items():
            if expected.by != EVERYBODY:
                continue
            answer = await self.ask(operation, token, owner)
            if code := refusal(expected.need):
                self.check(answer.code == code, operation, kind, answer, f"403 {code}")
            elif expected.use and expected.need is not NOTHING and not expected.need.admin:
                self.check(answer.status == 404, operation, kind, answer, "404")
                nobodys = await self.ask(operation, token, owner, unknown=True)
                same = _without_ids(answer.text, owner) == _without_ids(nobodys.text, owner)
                self.check(same, operation, kind, answer, f"as what nobody has: {nobodys.text!r}")
            else:
                self.check(answer.status == expected.status, operation, kind, answer, expected.status)
                seen = {owner.content} if expected.need.admin else owner.traces
                shown = [trace for trace in seen if trace in answer.text]
                self.check(not shown, operation, kind, answer, f"an answer that shows {shown}")

    async def allowed(self, kind: str, token: str, owner: Person, needs: Iterable[Need], by: str) -> None:
        """Every operation that these credentials do for; what ends them comes last."""
        mine = {name: one for name, one in EXPECTED.items() if one.need in set(needs) and by in one.by}
        for operation in sorted(mine, key=lambda name: len(mine[name].by), reverse=True):
            answer = await self.ask(operation, token, owner)
            expected = mine[operation]
            self.check(answer.status == expected.status, operation, kind, answer, expected.status)


def _without_ids(answer: str, owner: Person) -> str:
    for trace in (*owner.traces, UNKNOWN):
        answer = answer.replace(trace, "…")
    # The request's own id is the last member of a problem document.
    return answer.partition('"request_id"')[0]


def of_key(*scopes: str, password: bool = True, admin: bool = False) -> Callable[[Need], str]:
    """The code with which a key of these scopes is refused; empty where it does."""

    def refusal(need: Need) -> str:
        if need is NOTHING:
            return ""
        if need.scope not in scopes:
            return "insufficient_scope"
        if need.account and password:
            return "login_needed"
        return "admin_needed" if need.admin and not admin else ""

    return refusal


def of_login(*, admin: bool = False) -> Callable[[Need], str]:
    """The same of a login."""
    return of_key("read", "write", password=False, admin=admin)


@pytest.fixture
def api(start_api: StartApi) -> Api:
    """An API whose secret the test knows."""
    return start_api(background=False, jwt_secret=SecretStr(SECRET))


@pytest.fixture
def registry(api: Api, database: Database) -> Registry:
    """Makes people."""
    return Registry(database, api.deps.store)


@pytest.fixture
def signer(api: Api) -> TokenSigner:
    """Signs access tokens."""
    return api.deps.tokens


def test_every_operation_has_an_expectation(tmp_path_factory: pytest.TempPathFactory) -> None:
    app = create_app(make_settings("postgresql://nobody@localhost/none", tmp_path_factory.mktemp("home")))
    document = app.openapi()
    told = {f"{method.upper()} {path}": one for path, many in document["paths"].items() for method, one in many.items()}
    for operation in told:
        assert operation in EXPECTED, (
            f"{operation} has no line in EXPECTED of {__file__}: add one that says who may call it, which of the "
            "owner's things its path names, and what the owner gets"
        )
    assert set(told) == set(EXPECTED), "EXPECTED has lines of operations that are gone"
    for operation, expected in EXPECTED.items():
        assert (told[operation].get("security") == []) == (expected.need is NOTHING), operation
        assert set(_names(operation)) == set(expected.use), f"{operation}: say what {_names(operation)} name"
    untold = {getattr(route, "path", "") for route in app.routes if not isinstance(route, APIRoute)}
    untold |= {route.path for route in app.routes if isinstance(route, APIRoute) and not route.include_in_schema}
    assert untold == OUTSIDE


def _names(operation: str) -> list[str]:
    return [part[1:-1] for part in operation.split("/") if part.startswith("{")]


async def test_credentials_that_are_none_or_too_little(
    api: Api, registry: Registry, signer: TokenSigner, database: Database
) -> None:
    ada, bob = await registry.person("Ada"), await registry.person("Bob")
    bad: dict[str, str | None] = {"no token": None, **await bad_tokens(registry, signer, ada, bob)}
    before = await stored(database)
    async with httpx.AsyncClient(base_url=api.url, timeout=20) as client:
        walk = Walk(client)
        for kind, token in bad.items():
            await walk.refused(kind, token, ada)
        await walk.too_little("a read-only key", ada.tokens["read"], ada, of_key("read"))
        await walk.too_little("a write-only key", ada.tokens["write"], ada, of_key("write"))
        await walk.too_little("a key", ada.tokens["full"], ada, of_key("read", "write"))
        await walk.too_little("a login", ada.access(signer), ada, of_login())
    assert walk.wrong == []
    assert await stored(database) == before


async def test_others_see_and_change_nothing(
    api: Api, registry: Registry, signer: TokenSigner, database: Database
) -> None:
    ada = await registry.person("Ada")
    bob = await registry.person("Bob", password=False)
    eve = await registry.person("Eve", role="admin")
    before = await stored(database, of=ada)
    async with httpx.AsyncClient(base_url=api.url, timeout=20) as client:
        walk = Walk(client)
        every = ("read", "write")
        await walk.another("another's key", bob.tokens["full"], ada, of_key(*every, password=False))
        await walk.another("another's login", bob.access(signer), ada, of_login())
        await walk.another("an admin's key", eve.tokens["full"], ada, of_key(*every, admin=True))
        await walk.another("an admin's login", eve.access(signer), ada, of_login(admin=True))
    assert walk.wrong == []
    assert await stored(database, of=ada) == before


async def test_owners_get_what_is_theirs(api: Api, registry: Registry, signer: TokenSigner) -> None:
    ada, cyd = await registry.person("Ada"), await registry.person("Cyd")
    bob = await registry.person("Bob", password=False)
    dan = await registry.person("Dan", password=False, things=False)
    async with httpx.AsyncClient(base_url=api.url, timeout=20) as client:
        walk = Walk(client)
        mine = [need for need in Need if not need.admin]
        await walk.allowed("a login", ada.access(signer), ada, mine, "login")
        await walk.allowed("a key of somebody without a password", bob.tokens["full"], bob, mine, "key")
        await walk.allowed("a write-only key", cyd.tokens["write"], cyd, [WRITE], "key")
        await walk.allowed("a key of somebody who leaves", dan.tokens["full"], dan, mine, "leaver")
    assert walk.wrong == []
