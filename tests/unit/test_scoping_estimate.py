"""What a session is expected to take, held against whole sessions that the simulator answers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from activities.scoping.material import Material
from core.contracts.base import Json
from core.contracts.llm import Usage
from core.contracts.scoping import (
    ActKind,
    AnswerFollowUp,
    AnswerStage,
    Contradiction,
    Finding,
    FindingId,
    QuestionId,
    ResolveContradiction,
    ScopingInput,
)
from core.contracts.scoping_charter import CHARTER, ConsistencyAnswer, FindingsAnswer, JudgeAnswer, SectionAnswer
from core.contracts.scoping_entries import FOLLOW_UPS, Entry, said
from core.contracts.scoping_estimate import estimate
from core.contracts.scoping_moves import Plan, checked, closed, judged, new_state, next_work, take
from core.contracts.scoping_questions import QUESTIONNAIRE, planned
from core.contracts.scoping_state import Check, Close, Judge, QuestionStatus, Wait, Write
from core.ledger.prices import price
from core.llm.prompts.library import PromptLibrary
from core.llm.provider import Call
from core.llm.simulator import SimulatorProvider

PLAN = Plan(*planned(QUESTIONNAIRE))
AT = datetime(2031, 5, 4, tzinfo=UTC)
GIVEN = ScopingInput(name="Late parcels", description="Parcels come late, and nobody knows which ones will. " * 6)


class Session:
    """A session that is answered from its first question to the charter. `calls` are the prompts, in their order."""

    def __init__(self, answer: str) -> None:
        self.state = new_state(*PLAN)
        self.calls: list[str] = []
        self.usage = Usage()
        self._answer = answer
        self._entries: list[Entry] = []
        self._findings: dict[FindingId, Finding] = {}
        self._library, self._simulator = PromptLibrary.load(), SimulatorProvider()

    async def run(self) -> None:
        while not isinstance(work := next_work(self.state, PLAN), Write):
            match work:
                case Wait(stage):
                    self._say(stage)
                case Judge(stage, questions):
                    found = await self._ask(
                        JudgeAnswer, "judge_answers", self._material.judged_inputs(stage, questions)
                    )
                    self.state = judged(self.state, PLAN, found.verdicts)
                    self._note(FOLLOW_UPS, {FOLLOW_UPS: self._follow_ups(questions)}, self.state.seq)
                case Close(stage, findings):
                    inputs = self._material.closing_inputs(stage, findings)
                    for made in (await self._ask(FindingsAnswer, "close_stage", inputs)).findings:
                        finding = Finding(id=made.finding, statement=made.statement, rests_on=made.rests_on)
                        self._findings[finding.id] = finding
                    self.state = closed(self.state, PLAN, stage)
                case Check():
                    answer = await self._ask(ConsistencyAnswer, "check_consistency", self._material.checking_inputs())
                    found = [Contradiction.model_validate(one.model_dump()) for one in answer.contradictions]
                    self.state = checked(self.state, found)
        for id, plan in CHARTER.items():
            inputs = {
                **self._material.project_inputs(),
                "section": {"id": id.value, "title": plan.title},
                "stages": self._material.stage_inputs(plan.stages),
                "open_points": [one.model_dump(mode="json") for one in self._material.open_risks(plan.stages)],
            }
            await self._ask(SectionAnswer, "draft_section", inputs)

    @property
    def _material(self) -> Material:
        return Material(
            name=GIVEN.name,
            description=GIVEN.description,
            language=GIVEN.language,
            questionnaire=QUESTIONNAIRE,
            state=self.state,
            said=said(self._entries, QUESTIONNAIRE),
            findings=self._findings,
        )

    async def _ask(self, output: type[Any], prompt: str, inputs: Json) -> Any:
        rendered = self._library.render(f"scoping/{prompt}", **inputs)
        reply = await self._simulator.ask(Call(model="simulator", prompt=rendered, output=output))
        self.calls.append(f"scoping/{prompt}")
        self.usage = Usage(
            input_tokens=self.usage.input_tokens + reply.usage.input_tokens,
            output_tokens=self.usage.output_tokens + reply.usage.output_tokens,
        )
        return reply.output

    def _say(self, stage: int | None) -> None:
        if stage is None:
            id = next(one.id for one in self.state.contradictions if not one.settled)
            self.state = take(self.state, PLAN, ResolveContradiction(entry_id="e", contradiction=id, holds="first"))
            self._note(ActKind.RESOLVE_CONTRADICTION, {"contradiction": id, "holds": "first"}, self.state.seq)
            return
        ids = {
            status: tuple(q.id for q in PLAN.of_stage(stage) if self.state.questions[q.id].status is status)
            for status in (QuestionStatus.OPEN, QuestionStatus.FOLLOW_UP)
        }
        act: AnswerStage | AnswerFollowUp
        if ids[QuestionStatus.OPEN]:
            kind, questions = ActKind.ANSWER_STAGE, ids[QuestionStatus.OPEN]
            act = AnswerStage(entry_id="e", stage=stage, questions=questions)
        else:
            kind, questions = ActKind.ANSWER_FOLLOW_UP, ids[QuestionStatus.FOLLOW_UP]
            act = AnswerFollowUp(entry_id="e", stage=stage, questions=questions)
        self.state = take(self.state, PLAN, act)
        self._note(kind, {"answers": {id: self._text(id, kind) for id in questions}}, self.state.seq)

    def _text(self, question: QuestionId, kind: ActKind) -> str:
        """One question in three is answered vaguely at first; else as its help suggests."""
        number = [one.id for one in PLAN.questions].index(question)
        if kind is ActKind.ANSWER_STAGE and number % 3 == 0:
            return "It depends."
        return self._answer.format(help=QUESTIONNAIRE.question(question).help, number=number)

    def _follow_ups(self, questions: tuple[QuestionId, ...]) -> dict[QuestionId, str]:
        asked = {id: self.state.questions[id] for id in questions}
        return {id: at.follow_up for id, at in asked.items() if at.status is QuestionStatus.FOLLOW_UP}

    def _note(self, kind: str, body: Json, seq: int) -> None:
        self._entries.append(Entry(id=f"e{len(self._entries)}", seq=seq, kind=kind, body=body, at=AT))


@pytest.mark.parametrize("answer", ["{help}", "{help} It was counted in week {number}, and again in week 1{number}."])
async def test_the_estimate_is_right_within_a_factor_of_two(answer: str) -> None:
    session = Session(answer)
    await session.run()
    calls = estimate(GIVEN)
    asked, answered = sum(call.input_tokens for call in calls), sum(call.output_tokens for call in calls)
    assert 0.5 < asked / session.usage.input_tokens < 2
    assert 0.5 < answered / session.usage.output_tokens < 2
    expected, actual = (
        price("anthropic:claude-haiku-4-5", usage)
        for usage in (Usage(input_tokens=asked, output_tokens=answered), session.usage)
    )
    assert expected is not None
    assert actual is not None
    assert 0.5 < expected / actual < 2
    assert {call.prompt for call in calls} == set(session.calls)
