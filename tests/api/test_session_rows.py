"""Sessions in Postgres: what is kept of acts and states, whose turn it is, and what one takes over from another."""

import asyncio
from collections.abc import Awaitable

import pytest
from sqlalchemy import text

from core.artifacts.store import ArtifactStore
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.scoping import AnswerStage, Base, Finish, SkipQuestion, Verdict
from core.contracts.scoping_moves import asked_again, judged, take
from core.contracts.scoping_questions import QUESTIONNAIRE
from core.contracts.scoping_state import QuestionStatus, StageStatus, Wait, Write
from core.contracts.scoping_steps import KeepAct, KeepCharter, KeepState
from core.db.engine import Database
from core.db.ids import new_id
from core.db.repositories.artifacts import ArtifactRepository
from core.db.repositories.charters import CharterRepository
from core.db.repositories.job_records import COLUMNS
from core.db.repositories.jobs import JobRepository
from core.db.repositories.owned_sessions import ScopingRepository
from core.db.repositories.scoping import SessionRepository
from core.db.repositories.steps import StepRepository
from tests.api.scoped import CLEAR, Scoped, answers_of
from tests.conftest import Account, make_account
from tests.support.rows import execute, one, rows, step_key


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore.open(str(tmp_path_factory.mktemp("store")))


@pytest.fixture
def scoped(database: Database, store: ArtifactStore, account: Account) -> Scoped:
    return Scoped(database, store, account.owner_id)


async def refused(call: Awaitable[object], type: ErrorType, words: str) -> AtelierError:
    with pytest.raises(AtelierError, match=words) as error:
        await call
    assert error.value.type is type
    return error.value


async def keep_act(scoped: Scoped, entry_id: str, run: int = 1, seq: int | None = None) -> int:
    """Keep an answer to the first question. The number that it has."""
    first = scoped.brief.questions[0].id
    state = take(scoped.state, scoped.plan, AnswerStage(entry_id=entry_id, stage=1, questions=(first,)))
    if seq is not None:
        state = state.model_copy(update={"seq": seq})
    key = step_key(scoped.id, scoped.owner_id, "act", run=run)
    async with scoped.database.transaction() as connection:
        taken = await SessionRepository(connection).keep_act(KeepAct(key=key, entry_id=entry_id, state=state))
    return taken.seq


async def test_an_act_is_taken_once(scoped: Scoped) -> None:
    await scoped.begin()
    first = scoped.brief.questions[0].id
    entry = await scoped.offer("answer_stage", {"answers": {first: CLEAR}}, 1)
    other = await scoped.offer("answer_stage", {"answers": {first: "Something else."}}, 1)
    for run, seq, words in ((2, None, "was retried"), (1, 7, "a moment before")):
        await refused(keep_act(scoped, entry, run, seq), ErrorType.INVALID_STATE, words)
    assert await keep_act(scoped, entry) == 1
    row = await one(scoped.database, "SELECT seq, at_work, stage, phase FROM scoping_sessions")
    assert row == {"seq": 1, "at_work": True, "stage": 1, "phase": "asking"}
    assert await keep_act(scoped, entry) == 1
    await refused(keep_act(scoped, other), ErrorType.INVALID_STATE, "a moment before")
    async with scoped.database.transaction() as connection:
        mine = ScopingRepository(connection, scoped.owner_id)
        assert not await mine.withdraw(scoped.id, entry), "it was taken"
        assert await mine.withdraw(scoped.id, other)
        assert [one.id for one in await mine.entries(scoped.id)] == [entry]
    await refused(keep_act(scoped, other), ErrorType.INVALID_STATE, "taken back")
    await scoped.set_status("failed")
    await refused(keep_act(scoped, entry), ErrorType.INVALID_STATE, "is failed")


async def test_a_state_is_kept_once_and_never_over_a_later_act(scoped: Scoped) -> None:
    await scoped.begin()
    question = scoped.brief.questions[0].id
    await scoped.answer(1, answers_of(1, "Well."))
    vague = tuple(Verdict(question=id, vague=True, follow_up=f"Which {id}?") for id in answers_of(1))
    state = judged(scoped.state, scoped.plan, vague)
    await scoped.keep(state, verdicts=vague)
    async with scoped.database.transaction() as connection:
        entries = await SessionRepository(connection).entries(scoped.id, 1)
    assert [(entry.seq, entry.kind, entry.stage) for entry in entries] == [
        (1, "answer_stage", 1),
        (1, "follow_ups", 1),
    ]
    assert entries[1].body == {"follow_ups": {id: f"Which {id}?" for id in answers_of(1)}}
    assert (await one(scoped.database, "SELECT at_work FROM scoping_sessions"))["at_work"] is False

    # Somebody says something while an older state is on its way: that is noted as kept, and changes nothing.
    later = scoped.state.model_copy(update={"seq": 2})
    entry = await scoped.offer("skip_question", {"question": question, "because": ""}, 1)
    async with scoped.database.transaction() as connection:
        await SessionRepository(connection).keep_act(KeepAct(key=scoped.key("act"), entry_id=entry, state=later))
        late = KeepState(key=scoped.key("keep"), number=2, state=state, at_work=True)
        await SessionRepository(connection).keep_state(late)
        await SessionRepository(connection).keep_state(late.model_copy(update={"number": 1, "state": later}))
        kept = await SessionRepository(connection).session(scoped.id)
    assert kept.state == later
    row = await one(scoped.database, "SELECT at_work, kept_run, kept_number FROM scoping_sessions")
    assert row == {"at_work": False, "kept_run": 1, "kept_number": 2}


async def test_a_checkpoint_can_be_read_by_itself(scoped: Scoped) -> None:
    await scoped.begin()
    answers = answers_of(1)
    skipped = list(answers)[-1]
    await scoped.answer(1, {id: text for id, text in answers.items() if id != skipped})
    assert await scoped.go_on() == Wait(1)
    await scoped.do(Finish(entry_id=""), "finish", {})
    assert isinstance(await scoped.go_on(), Write)
    async with scoped.database.transaction() as connection:
        first, *others = await ScopingRepository(connection, scoped.owner_id).checkpoints(scoped.id)
        findings = await SessionRepository(connection).findings(scoped.id)
    assert (first.stage, first.number, first.through_seq, len(others)) == (1, 1, 2, 4)
    assert {finding.id for finding in first.findings} == {plan.id for plan in QUESTIONNAIRE.stage(1).findings}
    assert [one["question"] for one in first.assumptions] == [skipped]
    assert {one["question"]: [turn["said"] for turn in one["turns"]] for one in first.transcript} == {
        id: [] if id == skipped else [text] for id, text in answers.items()
    }
    assert set(findings) == {plan.id for plan in scoped.brief.findings}
    stranger = await make_account(scoped.database, "Bob Example")
    async with scoped.database.transaction() as connection:
        theirs = ScopingRepository(connection, stranger.owner_id)
        assert await theirs.checkpoints(scoped.id) == []
        assert await theirs.entries(scoped.id) == []
        await refused(theirs.get(scoped.id), ErrorType.NOT_FOUND, "no session")


async def test_a_session_goes_on_from_another_and_outlives_it(scoped: Scoped) -> None:
    base = await (await scoped.begin("Mail")).complete()
    named = Base(job_id=base.id, document_id=base.id, version=1, stage=2, questions=("yearly_value",), because="Dear.")
    child = await Scoped(scoped.database, scoped.store, scoped.owner_id).begin("Mail", base=named)
    assert child.state.stages[0].status is StageStatus.CLOSED
    assert child.state.stages[1].status is StageStatus.REOPENED
    asked = {id for id, question in child.state.questions.items() if question.status is QuestionStatus.OPEN}
    stale = {id for id, question in child.state.questions.items() if question.stale}
    assert (asked - stale, stale) == tuple(map(set, asked_again(child.plan, 2, ("yearly_value",))))
    assert stale, "something rests on the value"
    async with scoped.database.transaction() as connection:
        sessions = SessionRepository(connection)
        again, sections = await sessions.open(child.key("open session"), child.brief, {})
        assert again == child.state
        assert [entry.kind for entry in await sessions.entries(child.id, 99)] == ["finish", "reopen_stage"]
        assert len(sections) == 8
        await JobRepository(connection, scoped.owner_id).delete(base.id)
    async with scoped.database.transaction() as connection:
        kept = {file.ref.sha256 for file in await ArtifactRepository(connection, scoped.owner_id).of_job(child.id)}
        assert {ref.sha256 for ref in sections.values()} <= kept, "their bytes are still referred to"
    await child.complete()
    async with scoped.database.transaction() as connection:
        (version,) = await CharterRepository(connection, scoped.owner_id).versions(base.id, before=None, limit=9)
        assert (version.number, version.parent, version.reopened, version.session_id) == (2, 1, 2, child.id)
    orphan = Scoped(scoped.database, scoped.store, scoped.owner_id)
    await refused(orphan.begin("Mail", base=named), ErrorType.INVALID_STATE, "was deleted")


async def test_versions_that_come_at_once_have_numbers_of_their_own(scoped: Scoped) -> None:
    first = await (await scoped.begin("Mail")).complete()
    base = Base(job_id=first.id, document_id=first.id, version=1, stage=1)
    children = [await Scoped(scoped.database, scoped.store, scoped.owner_id).begin(base=base) for _ in range(4)]
    await asyncio.gather(*(child.complete() for child in children))
    kept = await rows(scoped.database, "SELECT number, job_id FROM charters ORDER BY number")
    assert [row["number"] for row in kept] == [1, 2, 3, 4, 5]
    async with scoped.database.transaction() as connection:
        version = await CharterRepository(connection, scoped.owner_id).version(first.id, 1)
        late = KeepCharter(
            key=first.key("keep charter"),
            document_id=first.id,
            charter=version.charter,
            sections={},
            outputs=(),
            decision="go",
        )
        kept_late = SessionRepository(connection).keep_charter(late, "Mail")
        await refused(kept_late, ErrorType.INVALID_STATE, "is completed")


async def take_turn(scoped: Scoped) -> None:
    async with scoped.database.transaction() as connection:
        await ScopingRepository(connection, scoped.owner_id).take_turn(scoped.id)


async def test_one_session_of_an_owner_has_the_turn(scoped: Scoped, database: Database) -> None:
    await scoped.begin("First")
    other = await Scoped(database, scoped.store, scoped.owner_id).begin("Second")
    stranger = await make_account(database, "Bob Example")
    theirs = await Scoped(database, scoped.store, stranger.owner_id).begin("Third")
    results = await asyncio.gather(*(take_turn(each) for each in (scoped, other) * 5), return_exceptions=True)
    lost = [error for error in results if error is not None]
    assert len(lost) == 5
    holder = str((await one(database, "SELECT job_id FROM scoping_turns"))["job_id"])
    for error in lost:
        assert isinstance(error, AtelierError)
        assert (error.type, error.details) == (ErrorType.STAGE_RUNNING, {"session_id": holder})
        assert error.retry_after is not None
    await take_turn(theirs)

    first, second = (scoped, other) if holder == scoped.id else (other, scoped)
    # Long after: the turn is free unless a model works.
    await execute(database, "UPDATE scoping_turns SET taken_at = now() - interval '1 minute'")
    await first.answer(1, answers_of(1))
    await refused(take_turn(second), ErrorType.STAGE_RUNNING, "another session")
    for status in ("paused", "waiting_for_budget", "failed", "cancelled"):
        await first.set_status(status)
        await take_turn(second)
        await execute(database, "DELETE FROM scoping_turns")
    await first.set_status("running")
    await refused(take_turn(second), ErrorType.STAGE_RUNNING, "another session")
    await first.go_on()
    await take_turn(second)
    await refused(take_turn(first), ErrorType.STAGE_RUNNING, "another session")
    async with database.transaction() as connection:
        mine = ScopingRepository(connection, scoped.owner_id)
        assert await mine.withdraw(second.id, first.id), "what nobody has taken can be withdrawn, and the turn goes"
    await take_turn(first)


async def test_one_that_has_rested_waits_for_its_turn(scoped: Scoped, database: Database) -> None:
    await scoped.begin("First")
    other = await Scoped(database, scoped.store, scoped.owner_id).begin("Second")
    await scoped.answer(1, answers_of(1))

    async def keep(number: int, *, at_work: bool) -> bool:
        state = KeepState(key=scoped.key("keep"), number=number, state=scoped.state, at_work=at_work)
        async with database.transaction() as connection:
            return await SessionRepository(connection).keep_state(state)

    assert await keep(1, at_work=True), "it is at work"
    assert await keep(2, at_work=False), "models are away"
    await take_turn(other)
    await other.answer(1, answers_of(1))
    assert not await keep(3, at_work=True)
    assert not await keep(3, at_work=True), "the same again tells the same"
    assert (await one(database, "SELECT count(*) AS n FROM scoping_sessions WHERE at_work")) == {"n": 1}
    await other.go_on()
    assert await keep(4, at_work=True)
    assert await keep(4, at_work=True)
    await refused(take_turn(other), ErrorType.STAGE_RUNNING, "another session")


async def test_a_step_counts_once_whichever_of_its_tries_came_to_something(scoped: Scoped, database: Database) -> None:
    await scoped.begin()
    for revision in (2, 3):
        async with database.transaction() as connection:
            key = step_key(scoped.id, scoped.owner_id, "check").model_copy(update={"revision": revision})
            await StepRepository(connection).store(key, "{}", (), simulated=False)
        assert await one(database, "SELECT steps_done FROM jobs") == {"steps_done": 1}


async def test_the_turn_stays_while_something_else_is_on_its_way(scoped: Scoped, database: Database) -> None:
    await scoped.begin("First")
    other = await Scoped(database, scoped.store, scoped.owner_id).begin("Second")
    question, another, *_ = (planned.id for planned in scoped.brief.questions)

    async def say(id: str) -> str:
        await take_turn(scoped)
        return await scoped.offer("skip_question", {"question": id, "because": ""}, 1)

    first, second, third = await say(question), await say(another), await say(another)
    async with database.transaction() as connection:
        assert await ScopingRepository(connection, scoped.owner_id).withdraw(scoped.id, first), "it was refused"
    await refused(take_turn(other), ErrorType.STAGE_RUNNING, "another session")
    state = take(scoped.state, scoped.plan, SkipQuestion(entry_id=second, stage=1, question=another))
    async with database.transaction() as connection:
        await SessionRepository(connection).keep_act(KeepAct(key=scoped.key("act"), entry_id=second, state=state))
    await refused(take_turn(other), ErrorType.STAGE_RUNNING, "another session")
    async with database.transaction() as connection:
        assert await ScopingRepository(connection, scoped.owner_id).withdraw(scoped.id, third)
    await take_turn(other)


async def test_a_page_of_many_is_one_statement_by_the_index(scoped: Scoped) -> None:
    statement = (
        f"EXPLAIN SELECT {COLUMNS} FROM jobs j WHERE j.owner_id = '{new_id()}' AND j.pipeline = 'scoping' "
        "ORDER BY j.id DESC LIMIT 51"
    )
    async with scoped.database.transaction() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(row[0] for row in await connection.execute(text(statement)))
    assert "ix_jobs_scoping" in plan
    assert "Sort" not in plan
