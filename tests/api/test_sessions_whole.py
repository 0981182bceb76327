"""Scoping sessions by REST with workers and the simulator: whole ones, and several words at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.session_schemas import ContradictionList, SessionView, StageView, TranscriptView, WholeCharter
from core.contracts.base import Json
from core.contracts.names import Queue
from core.contracts.scoping import ScopingInput
from core.contracts.scoping_questions import QUESTIONNAIRE, prepare
from core.db.engine import Database
from core.temporal import connect
from tests.api.conftest import Api, StartApi
from tests.api.test_rubbish import problem
from tests.conftest import Account, Namespace
from tests.support.rows import accept, one, rows
from tests.support.stack import eventually
from tests.support.traces import histories_of, mentions
from worker.deps import build
from worker.registry import WORKFLOWS, activities
from worker.run import build_worker

CLEAR = "The head of the service desk says so of the {0}, and wrote it down for all of us: 40 {0} is the figure."
NEW = {"name": "Ticket triage", "description": "Sort what comes in at the service desk."}
Working = Callable[..., AbstractAsyncContextManager[None]]


def clear(stage: int, *but: str, **other: str) -> dict[str, str]:
    """Clear answers to all questions of a stage; other ones where they are given."""
    ids = [question.id for question in QUESTIONNAIRE.stage(stage).questions if question.id not in but]
    return {**{id: CLEAR.format(id) for id in ids}, **other}


@pytest.fixture
def api(start_api: StartApi, namespace: Namespace) -> Api:
    """An API with its starter, whose jobs the simulator answers for."""
    return start_api(
        temporal_address=namespace.address, temporal_namespace=namespace.name, starter_interval_seconds=0.2
    )


@pytest.fixture
def working(api: Api, namespace: Namespace, database_url: str) -> Working:
    """Workers on some queues, or on all, while a block lasts."""

    @asynccontextmanager
    async def work(queues: Sequence[Queue] = tuple(Queue)) -> AsyncIterator[None]:
        temporal = await connect(namespace.address, namespace.name)
        async with AsyncExitStack() as stack:
            deps = await stack.enter_async_context(build(api.deps.settings, database_url))
            by_queue = activities(deps)
            for queue in queues:
                worker = build_worker(temporal, queue, WORKFLOWS, by_queue[queue], api.deps.settings)
                await stack.enter_async_context(worker)
            yield

    return work


class Talk:
    """A session as its owner sees it."""

    def __init__(self, client: httpx.AsyncClient, id: str) -> None:
        self.client = client
        self.id = id
        self.path = f"/v1/sessions/{id}"

    async def view(self) -> SessionView:
        """Where it stands."""
        return SessionView.model_validate_json((await self.client.get(self.path)).content)

    async def turn(self, seconds: float = 60) -> SessionView:
        """Where it stands, once it is the owner's turn or nobody's."""

        def theirs(view: SessionView) -> bool:
            assert view.status.value not in {"failed", "cancelled"}, view.error
            return view.status.value == "completed" or bool(view.asked or view.contradictions)

        return await eventually(self.view, theirs, seconds)

    async def post(self, act: str, body: Json | None = None, **headers: str) -> httpx.Response:
        """Say something."""
        return await self.client.post(f"{self.path}/{act}", json=body or {}, headers=headers)

    async def say(self, act: str, body: Json | None = None) -> SessionView:
        """Say something that is taken, and wait for what is asked then."""
        said = await self.post(act, body)
        assert said.status_code == 202, said.text
        SessionView.model_validate_json(said.content)
        return await self.turn()

    async def answer(self, stage: int, **other: str) -> SessionView:
        """Answer a stage."""
        return await self.say(f"stages/{stage}/answers", {"answers": clear(stage, **other)})

    async def charter(self) -> WholeCharter:
        """Its charter."""
        return WholeCharter.model_validate_json((await self.client.get(f"{self.path}/charter")).content)


async def begun(client: httpx.AsyncClient, **more: Any) -> Talk:
    """A session that asks its first question."""
    made = await client.post("/v1/sessions", json={**NEW, **more})
    assert made.status_code == 202, made.text
    talk = Talk(client, made.json()["id"])
    await talk.turn()
    return talk


async def test_a_whole_session_and_the_next_version(
    client: httpx.AsyncClient, working: Working, database: Database
) -> None:
    async with working():
        talk = await begun(client)
        # A vague answer is asked about at most twice, a clear one never; a skipped one is an assumption.
        first, skipped = QUESTIONNAIRE.stage(1).questions[0].id, QUESTIONNAIRE.stage(1).questions[-1].id
        view = await talk.say("stages/1/answers", {"answers": clear(1, skipped, **{first: "Maybe."})})
        for _ in range(2):
            assert view.asked is not None
            by_status = {question.id: question.status.value for question in view.asked.questions}
            assert by_status == {first: "follow_up", skipped: "open"}
            view = await talk.say("stages/1/follow-ups", {"answers": {first: "Perhaps."}})
        assert view.asked is not None
        assert [question.id for question in view.asked.questions] == [skipped]
        view = await talk.say("stages/1/skips", {"question": skipped, "because": "Nobody was there."})
        assert view.stage == 2
        stage = StageView.model_validate_json((await client.get(f"{talk.path}/stages/1")).content)
        assert {one.id for one in stage.questions if one.vague} == {first}
        assert {one.id: one.because for one in stage.questions if one.skipped} == {skipped: "Nobody was there."}
        assert any(finding.assumption for finding in stage.findings)
        view = await talk.answer(2)
        view = await talk.answer(3, personal_data="There are no personal data in the tickets at all, as 2 people said.")
        view = await talk.answer(4)
        rules = "Data protection applies, as there are personal data in the tickets, and our 1 lawyer confirmed it."
        view = await talk.answer(5, rules_that_apply=rules)
        if view.contradictions:
            found = ContradictionList.model_validate_json((await client.get(f"{talk.path}/contradictions")).content)
            assert all(one.first.said and one.second.said for one in found.items)
        while view.contradictions:
            view = await talk.say(f"contradictions/{view.contradictions[0].id}", {"holds": "second", "text": "Names."})
        assert (view.status.value, view.working) == ("completed", False)
        assert view.charter is not None
        assert {output.name.rpartition(".")[2] for output in view.charter.outputs} == {"md", "pdf", "json"}
        before = await talk.charter()
        assert before.charter.answers

        made = await talk.post("stages/2/reopen", {"questions": ["resources"], "because": "There is less money."})
        assert made.status_code == 202, made.text
        child = Talk(client, made.json()["id"])
        view = await child.turn()
        assert view.asked is not None
        assert [question.id for question in view.asked.questions] == ["resources"]
        assert view.asked.questions[0].said == [CLEAR.format("resources")]
        less = "We may spend 20,000 EUR until June, which the board has approved in writing."
        assert (await child.say("stages/2/answers", {"answers": {"resources": less}})).status.value == "completed"
        after = await child.charter()
        assert (after.number, after.parent, after.document_id) == (2, 1, talk.id)
        old, new = ({one.id.value: one for one in each.charter.sections} for each in (before, after))
        same = {id for id in old if old[id] == new[id]}
        assert {"problem", "data", "users", "risk"} <= same, "what does not rest on stage 2 is as it was"
        assert "value" not in same
        diff = (await client.get(f"{child.path}/charter/diff?from=1&to=2")).json()
        assert {one["id"] for one in diff["sections"] if one["status"] == "same"} == same
        told = TranscriptView.model_validate_json((await client.get(f"{child.path}/transcript")).content)
        assert [one.seq for one in told.entries if one.kind != "follow_ups"] == list(range(1, len(told.entries) - 1))
    assert (await one(database, "SELECT count(*) AS n FROM charters")) == {"n": 2}
    assert await rows(database, "SELECT 1 FROM scoping_turns") == []


async def test_two_answers_to_one_stage_at_once(
    client: httpx.AsyncClient, start_api: StartApi, account: Account, namespace: Namespace, working: Working
) -> None:
    other_api = start_api(background=False, temporal_address=namespace.address, temporal_namespace=namespace.name)
    async with working(), httpx.AsyncClient(base_url=other_api.url, headers=account.headers, timeout=30) as other:
        talk = await begun(client)
        same = Talk(other, talk.id)
        texts = [{"answers": clear(1, problem_now=f"{CLEAR.format(n)} So much for {n}.")} for n in range(6)]
        said = await asyncio.gather(
            *((talk, same)[n % 2].post("stages/1/answers", body) for n, body in enumerate(texts))
        )
        taken = [n for n, response in enumerate(said) if response.status_code == 202]
        assert len(taken) == 1
        for n, response in enumerate(said):
            if n not in taken:
                problem(response, 409, "invalid_state")
        view = await talk.turn()
        assert view.stage == 2
        told = TranscriptView.model_validate_json((await client.get(f"{talk.path}/transcript")).content)
        assert [entry.body for entry in told.entries] == [texts[taken[0]]]
        # The same word again is the same word, whichever process hears it, and at the same moment.
        body, key = {"answers": clear(2)}, {"Idempotency-Key": "second-stage"}
        repeated = await asyncio.gather(*((talk, same)[n % 2].post("stages/2/answers", body, **key) for n in range(4)))
        assert {response.status_code for response in repeated} == {202}, [response.text for response in repeated]
        assert (await talk.turn()).stage == 3
        problem(
            await same.post("stages/2/answers", {"answers": clear(2, "resources")}, **key), 409, "idempotency_mismatch"
        )
        assert (await same.post("stages/2/answers", body, **key)).status_code == 202
        told = TranscriptView.model_validate_json((await client.get(f"{talk.path}/transcript")).content)
        assert [entry.seq for entry in told.entries] == [1, 2]


async def test_one_stage_of_a_user_runs_at_a_time(
    client: httpx.AsyncClient,
    start_api: StartApi,
    account: Account,
    namespace: Namespace,
    working: Working,
) -> None:
    """Nobody asks models yet, so the first session's stage runs for as long as the test wants."""
    other_api = start_api(background=False, temporal_address=namespace.address, temporal_namespace=namespace.name)
    others = [queue for queue in Queue if queue is not Queue.LLM]
    async with working(others), httpx.AsyncClient(base_url=other_api.url, headers=account.headers, timeout=30) as other:
        first, second = await begun(client), Talk(other, (await begun(client)).id)
        said = await first.post("stages/1/answers", {"answers": clear(1)})
        assert said.status_code == 202, said.text
        busy = await first.view()
        assert (busy.working, busy.asked) == (True, None)
        for act, body in (("stages/1/answers", {"answers": clear(1)}), ("finish", {})):
            problem(await first.post(act, body), 409, "invalid_state")
        before = (await second.view(), await rows_of(other, second))
        refused = await second.post("stages/1/answers", {"answers": clear(1)})
        assert problem(refused, 429, "stage_running").details == {"session_id": first.id}
        assert int(refused.headers["retry-after"]) > 0
        assert (await second.view(), await rows_of(other, second)) == before
        async with working([Queue.LLM]):
            assert (await first.turn()).stage == 2
            assert (await second.say("stages/1/answers", {"answers": clear(1)})).stage == 2


async def test_what_is_said_while_a_session_continues_as_new_is_heard(
    api: Api, account: Account, namespace: Namespace, working: Working, database: Database
) -> None:
    """After each act it goes on in a new history, and the next is said at once."""
    waiting = await accept(
        database,
        account.owner_id,
        pipeline="scoping",
        input=await brief_of(api, account, acts_a_run=1),
    )
    temporal = await connect(namespace.address, namespace.name)
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=30) as client:
        talk = Talk(client, waiting)
        await _answer_all(talk, working)
        told = TranscriptView.model_validate_json((await client.get(f"{talk.path}/transcript")).content)
        assert [entry.seq for entry in told.entries] == list(range(1, 11))
        assert (await one(database, "SELECT count(*) AS n FROM charters")) == {"n": 1}
        await eventually(lambda: histories_of(temporal, account.owner_id), lambda found: len(found) == 11)
        # All of them go with the session.
        assert (await client.delete(talk.path)).status_code == 204
        await eventually(lambda: histories_of(temporal, account.owner_id), lambda found: not found)


async def brief_of(api: Api, account: Account, **changes: Any) -> Json:
    """What a session's workflow gets, with its questions in the store."""
    prepared = prepare(ScopingInput.model_validate(NEW), account.owner_id)
    for file in prepared.attachments:
        assert file.data is not None
        await api.deps.store.put(account.owner_id, file.data, file.ref.media_type)
    return prepared.input.model_copy(update=changes).model_dump(mode="json")


async def _answer_all(talk: Talk, working: Working) -> None:
    """Answer every stage, in two parts each."""
    async with working():
        await talk.turn()
        for stage in range(1, 6):
            answers = list(clear(stage).items())
            for some in (dict(answers[:3]), dict(answers[3:])):
                said = await talk.post(f"stages/{stage}/answers", {"answers": some})
                assert said.status_code == 202, said.text
                view = await talk.turn()
        assert view.status.value == "completed"


async def rows_of(client: httpx.AsyncClient, talk: Talk) -> Json:
    """What was said in a session."""
    found: Json = (await client.get(f"{talk.path}/transcript")).json()
    return found


async def test_deleting_a_session_takes_its_history_along(
    client: httpx.AsyncClient, account: Account, namespace: Namespace, working: Working, database: Database
) -> None:
    temporal = await connect(namespace.address, namespace.name)
    secret = "the blue herring of the harbour"
    async with working():
        talk = await begun(client, description=f"About {secret}.")
        await talk.answer(1, problem_now=f"{CLEAR.format('tickets')} It is about {secret}.")
        alive = problem(await client.delete(talk.path), 409, "invalid_state")
        assert "cancel its job first" in alive.detail
        assert (await talk.view()).stage == 2
        assert (await client.post(f"/v1/jobs/{talk.id}/cancel")).status_code == 202

        async def status() -> str:
            return (await talk.view()).status.value

        await eventually(status, lambda now: now == "cancelled")
        assert await histories_of(temporal, account.owner_id)
        assert (await client.delete(talk.path)).status_code == 204
        problem(await client.get(talk.path), 404, "not_found")

        async def histories() -> list[str]:
            return await histories_of(temporal, account.owner_id)

        await eventually(histories, lambda found: not found)
    assert await mentions(database, secret) == {}


@pytest_asyncio.fixture
async def client(api: Api, account: Account) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key."""
    async with httpx.AsyncClient(base_url=api.url, headers=account.headers, timeout=30) as client:
        yield client
