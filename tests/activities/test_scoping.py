"""The steps of a session as they are really done: Postgres, the store, the simulator, and a model on the wire."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from core.artifacts.store import ArtifactStore
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.scoping import ActKind, CharterFormat
from core.contracts.scoping_charter import Charter, CharterSection, Decision, SectionId
from core.contracts.scoping_questions import QUESTIONNAIRE
from core.contracts.scoping_state import QuestionStatus, Wait, Write
from core.contracts.scoping_steps import (
    ExportCharter,
    JudgeAnswers,
    KeepCharter,
    OpenSession,
)
from core.db.engine import Database
from core.documents.charter_labels import charter_labels
from core.ledger.cooldowns import Cooldowns
from core.ledger.ledger import Ledger
from core.llm.gateway import Gateway
from core.llm.prompts.library import PromptLibrary
from core.llm.provider import Provider
from core.llm.providers import build_providers
from core.llm.simulator import SimulatorProvider
from core.settings import Settings
from tests.conftest import Account
from tests.support import wire_messages as far
from tests.support.rows import rows
from tests.support.session_room import GIVEN, Room, open_room
from tests.support.wire import WireProvider
from tests.support.wire_scoping import scoping_composer

CLEAR = "The head of the service desk says so of the {0}, and wrote it down for all of us: 40 {0} is the figure."
HAIKU = "anthropic:claude-haiku-4-5"


def gateway(database: Database, providers: Mapping[str, Provider]) -> Gateway:
    return Gateway(providers, Ledger(database), PromptLibrary.load(), Cooldowns(database, failures=100, seconds=60))


@pytest_asyncio.fixture
async def room(database: Database, account: Account, tmp_path: Path) -> Room:
    """A session that the simulator answers for."""
    store = ArtifactStore.open(str(tmp_path))
    return await open_room(database, store, gateway(database, {"simulator": SimulatorProvider()}), account.owner_id)


def answers(stage: int, **other: str) -> dict[str, str]:
    """Clear answers to all questions of a stage; other ones where they are given."""
    clear = {question.id: CLEAR.format(question.id) for question in QUESTIONNAIRE.stage(stage).questions}
    return {**clear, **other}


async def through(room: Room, *stages: int, **other: str) -> Wait | Write:
    work: Wait | Write = Wait(None)
    for stage in stages:
        known = answers(stage)
        await room.answer(stage, {**known, **{id: text for id, text in other.items() if id in known}})
        work = await room.go_on()
    return work


async def test_a_whole_session_leaves_a_charter_in_every_format(room: Room) -> None:
    assert await through(room, 1, 2, 3, 4) == Wait(5)
    assert isinstance(await through(room, 5), Write)
    assembled = await room.write()
    assert (assembled.decision, assembled.open_risks, assembled.simulated) == ("go", 0, True)
    charter = await room.charter(assembled)
    assert (charter.name, charter.language, charter.simulated) == ("Ticket triage", "en", True)
    assert [section.id for section in charter.sections] == list(SectionId)
    assert len(charter.answers) == sum(len(stage.questions) for stage in QUESTIONNAIRE.stages)
    assert [len(found.findings) for found in charter.findings] == [len(s.findings) for s in QUESTIONNAIRE.stages]
    assert not any(finding.assumption for found in charter.findings for finding in found.findings)
    known = {answer.question for answer in charter.answers}
    for section in charter.sections:
        texts = [statement.text for statement in section.statements]
        assert len(set(texts)) == len(texts)
        assert all(basis.question in known and not basis.assumption for s in section.statements for basis in s.rests_on)
    outputs = []
    for format in CharterFormat:
        request = ExportCharter(key=room.key(f"export {format}"), charter=assembled.charter, format=format)
        outputs.append(await room.run(room.scoping.export_charter, request))
    assert [output.name for output in outputs] == [f"ticket-triage-charter.{format}" for format in CharterFormat]
    markdown, pdf, exported = [await room.store.get(output.ref) for output in outputs]
    assert b"Ticket triage" in markdown
    assert pdf.startswith(b"%PDF")
    assert Charter.model_validate_json(exported) == charter
    keep = KeepCharter(
        key=room.key("charter"),
        document_id=room.job_id,
        charter=assembled.charter,
        sections=room.sections,
        outputs=tuple(outputs),
        decision=assembled.decision,
        simulated=True,
    )
    kept = await room.run(room.scoping.keep_charter, keep)
    assert kept == await room.run(room.scoping.keep_charter, keep)
    assert (kept.document_id, kept.number) == (room.job_id, 1)
    found = await rows(room.database, "SELECT name, role, simulated FROM artifacts ORDER BY name")
    assert {row["name"] for row in found if row["role"] == "output"} == {output.name for output in outputs}
    assert {"charter.json", *(f"section-{id}.json" for id in SectionId)} <= {row["name"] for row in found}
    assert all(row["simulated"] for row in found)


async def test_a_vague_answer_is_asked_about_twice_and_then_is_an_assumption(room: Room) -> None:
    await room.answer(1, answers(1, problem_size="Quite many, I think."))
    assert await room.go_on() == Wait(1)
    first = room.state.questions["problem_size"]
    assert (first.status, first.follow_ups) == (QuestionStatus.FOLLOW_UP, 1)
    assert "Quite many, I think" in first.follow_up
    assert [q for q, at in room.state.questions.items() if at.status is QuestionStatus.FOLLOW_UP] == ["problem_size"]
    await room.follow_up(1, {"problem_size": "Really many, every week."})
    await room.go_on()
    second = room.state.questions["problem_size"]
    assert (second.follow_ups, second.follow_up != first.follow_up) == (2, True)
    await room.follow_up(1, {"problem_size": "I cannot say more."})
    assert await room.go_on() == Wait(2)
    assert room.state.questions["problem_size"].vague
    await through(room, 2, 3, 4, 5)
    charter = await room.charter(await room.write())
    scale = next(finding for finding in charter.findings[0].findings if finding.id == "scale")
    assert scale.assumption
    assert [(risk.kind, risk.rests_on) for risk in charter.open_risks] == [("assumption", ("problem_size",))]
    problem = charter.section(SectionId.PROBLEM)
    assert {
        basis.assumption for s in problem.statements for basis in s.rests_on if basis.question == "problem_size"
    } == {True}
    assert charter.section(SectionId.DECISION).decision is Decision.GO_WITH_CONDITIONS
    said = next(answer.said for answer in charter.answers if answer.question == "problem_size")
    assert said == ("Quite many, I think.", "Really many, every week.", "I cannot say more.")


async def test_an_answer_to_a_follow_up_settles_the_question(room: Room) -> None:
    await room.answer(1, answers(1, problem_size="Quite many, I think."))
    await room.go_on()
    await room.follow_up(1, {"problem_size": "About 400 a week."})
    assert await room.go_on() == Wait(2)
    assert not room.state.questions["problem_size"].vague


async def test_what_is_skipped_is_an_assumption_and_an_open_risk(room: Room) -> None:
    rest = answers(1)
    del rest["problem_size"]
    await room.skip(1, "problem_size", "Nobody has ever counted.")
    await room.answer(1, rest)
    assert await room.go_on() == Wait(2)
    await through(room, 2, 3, 4, 5)
    charter = await room.charter(await room.write())
    (risk,) = charter.open_risks
    assert (risk.kind, risk.rests_on) == ("assumption", ("problem_size",))
    assert "Nobody has ever counted." in risk.text
    told = next(answer for answer in charter.answers if answer.question == "problem_size")
    assert (told.skipped, told.said) == (True, ("Nobody has ever counted.",))
    conditions = charter.section(SectionId.DECISION).conditions
    assert [basis.question for condition in conditions for basis in condition.rests_on] == ["problem_size"]


async def test_a_contradiction_is_asked_once_and_its_word_holds(room: Room) -> None:
    work = await through(
        room,
        *range(1, 6),
        problem_size="The desk sorts 400 tickets a week, by its own count.",
        data_amount="The archive has 900 tickets a week since March 2021.",
    )
    assert work == Wait(None)
    (found,) = room.state.contradictions
    assert (found.first, found.second) == ("problem_size", "data_amount")
    assert "400 tickets" in found.question
    await room.resolve(found.id, "The archive counts spam, too.")
    assert isinstance(await room.go_on(), Write)
    charter = await room.charter(await room.write())
    scale = next(finding for finding in charter.findings[0].findings if finding.id == "scale")
    assert "The archive counts spam, too." in scale.statement
    (other,) = (answer.settled for answer in charter.answers if answer.question == "data_amount")
    assert [(word.other, word.text) for word in other] == [("problem_size", "The archive counts spam, too.")]
    sources = next(finding for finding in charter.findings[2].findings if finding.id == "data_sources")
    assert "900 tickets" not in sources.statement
    assert "400 tickets a week" in sources.statement
    assert charter.open_risks == ()


async def test_a_session_that_is_finished_early_says_what_nobody_knows(room: Room) -> None:
    await through(room, 1)
    await room.say(ActKind.FINISH, {})
    assert isinstance(await room.go_on(), Write)
    charter = await room.charter(await room.write())
    assert charter.section(SectionId.DECISION).decision is Decision.NO_GO
    later = [finding for found in charter.findings[1:] for finding in found.findings]
    assert all(finding.assumption for finding in later)
    assert all(answer.skipped == (answer.stage > 1) for answer in charter.answers)
    assert len(charter.open_risks) == len(later)


async def test_the_sections_of_a_german_charter_have_german_titles(
    database: Database, account: Account, tmp_path: Path
) -> None:
    asked = gateway(database, {"simulator": SimulatorProvider()})
    german = GIVEN.model_copy(update={"language": "de-AT"})
    room = await open_room(database, ArtifactStore.open(str(tmp_path)), asked, account.owner_id, german)
    await through(room, *range(1, 6))
    charter = await room.charter(await room.write())
    assert [section.title for section in charter.sections] == [charter_labels("de").section(id) for id in SectionId]


async def test_a_section_that_was_written_is_not_written_again(room: Room) -> None:
    await through(room, 1, 2, 3, 4, 5)
    first = await room.write()
    asked = await rows(room.database, "SELECT id FROM attempts")
    before = dict(room.sections)
    room.sections.clear()
    assert await room.write() == first
    assert room.sections == before
    assert await rows(room.database, "SELECT id FROM attempts") == asked


async def test_sections_rest_on_their_stages_only(room: Room) -> None:
    await through(room, 1, 2, 3, 4, 5)
    await room.write()
    stage_of = {question.id: stage.number for stage in QUESTIONNAIRE.stages for question in stage.questions}
    for id, stages in {SectionId.DATA: {3}, SectionId.PLAN: {2, 3, 4}}.items():
        section = CharterSection.model_validate_json(await room.store.get(room.sections[id]))
        assert {stage_of[basis.question] for s in section.statements for basis in s.rests_on} == stages


async def test_a_session_is_opened_as_it_stands(room: Room) -> None:
    await room.answer(1, answers(1))
    await room.go_on()
    request = OpenSession(key=room.key("open"), brief=room.brief)
    opened = await room.run(room.scoping.open_session, request)
    assert opened.state == room.state
    assert opened.sections == {}


# A model that answers wrongly.


@pytest.fixture
def wire() -> Iterator[WireProvider]:
    """All providers. A request that nobody scripted fails the test."""
    with WireProvider() as started:
        yield started
    started.assert_clean()
    assert started.pending == 0


@pytest_asyncio.fixture
async def asked(room: Room, wire: WireProvider) -> AsyncIterator[Room]:
    """A session whose first stage was answered, with a model on the wire."""
    settings: dict[str, Any] = {name.lower(): value for name, value in wire.environment("anthropic").items()}
    providers = build_providers(Settings(_env_file=None, **settings))
    room.scoping._gateway = gateway(room.database, providers)
    room.model = HAIKU
    await room.answer(1, {"problem_size": "Quite many.", "why_now": "The contract ends in June."})
    yield room
    for provider in providers.values():
        await provider.aclose()


def verdicts(**vague: str) -> dict[str, Any]:
    """Verdicts on the two answers; a follow-up makes one vague."""
    return {
        "verdicts": [
            {"question": id, "vague": id in vague, "reason": "So.", "follow_up": vague.get(id, "")}
            for id in ("problem_size", "why_now")
        ]
    }


async def test_a_wrong_verdict_is_shown_to_its_model_and_mended(asked: Room, wire: WireProvider) -> None:
    wire.script(far.ok(verdicts(problem_size=" ")))
    wire.script(far.ok(verdicts(problem_size="How many\nare  there?")))
    questions = ("problem_size", "why_now")
    request = JudgeAnswers(
        key=asked.key("judge stage 1"), model=HAIKU, stage=1, questions=questions, seq=asked.state.seq
    )
    with pytest.raises(AtelierError) as refused:
        await asked.run(asked.scoping.judge_answers, request)
    assert refused.value.type is ErrorType.OUTPUT_INVALID
    assert "problem_size is called vague, and no follow-up" in refused.value.message
    found = await asked.run(asked.scoping.judge_answers, request)
    assert [(one.question, one.vague, one.follow_up) for one in found.verdicts] == [
        ("problem_size", True, "How many are there?"),
        ("why_now", False, ""),
    ]
    assert await asked.run(asked.scoping.judge_answers, request) == found
    repair = wire.requests[1]
    assert repair.repairs
    assert "no follow-up asks about it" in repair.prompt


async def test_the_prompt_holds_what_was_said_and_what_is_wanted(asked: Room, wire: WireProvider) -> None:
    wire.script(far.ok(verdicts()))
    await asked.go_on()
    (request,) = wire.requests
    assert "Question problem_size, follow-ups left: 2" in request.prompt
    assert "<answer>\nQuite many.\n</answer>" in request.prompt
    assert "- a figure with a unit" in request.prompt
    assert json.dumps(request.body).count("Ticket triage") == 1


async def test_a_whole_session_with_a_model(room: Room) -> None:
    """It asks about a vague answer twice and about a clear one never, and settles what contradicts."""
    with WireProvider(composer=scoping_composer) as model:
        settings: dict[str, Any] = {name.lower(): value for name, value in model.environment("anthropic").items()}
        providers = build_providers(Settings(_env_file=None, **settings))
        room.scoping._gateway, room.model = gateway(room.database, providers), HAIKU
        await room.answer(1, answers(1, why_now="We will see somehow.", problem_size="It is disputed."))
        await room.go_on()
        # The question about the time may be asked about once, as its rule has it.
        await room.follow_up(1, {"why_now": "Still somehow."})
        assert await room.go_on() == Wait(2)
        assert await through(room, 2, 3, 4, 5, data_amount="This is disputed, too.") == Wait(None)
        (found,) = room.state.contradictions
        await room.resolve(found.id, "The first one was counted.")
        assert isinstance(await room.go_on(), Write)
        assembled = await room.write()
        model.assert_clean()
        prompts = [request.output for request in model.requests]
        for provider in providers.values():
            await provider.aclose()
    charter = await room.charter(assembled)
    assert (assembled.simulated, assembled.decision) == (False, "go_with_conditions")
    assert [(risk.kind, risk.rests_on) for risk in charter.open_risks] == [("vague", ("why_now",))]
    # Two calls to judge stage 1, and the findings of both stages and the check again after the word that settled it.
    assert len(prompts) == 6 + 7 + 2 + len(SectionId)
