"""What models say of answers: which are vague, what a stage found, what does not fit. A stored step asks none."""

from collections.abc import Iterable

from temporalio import activity

from activities.scoping.base import ScopingBase
from activities.scoping.checking import wrong_contradictions, wrong_findings, wrong_verdicts
from activities.scoping.material import Material, feeding
from core.contracts.base import implements
from core.contracts.scoping import Contradiction, Finding, QuestionId, StageNumber, Verdict
from core.contracts.scoping_charter import (
    ConsistencyAnswer,
    FindingsAnswer,
    FoundContradiction,
    FoundStatement,
    JudgeAnswer,
)
from core.contracts.scoping_steps import (
    CheckConsistency,
    CloseStage,
    Consistency,
    JudgeAnswers,
    Judged,
    ScopingActivities,
    StageClosed,
)
from core.db.repositories.steps import Kept
from core.documents.text import one_line
from core.llm.provider import Reply

OUTPUT_TOKENS = 4_096
"""Room for an answer: twelve findings, twenty verdicts or eight contradictions of the usual length."""


class Asking(ScopingBase):
    """The paid steps of the five stages."""

    @implements(ScopingActivities.judge_answers)
    async def judge_answers(self, request: JudgeAnswers) -> Judged:
        """Idempotent by the step's key: stored verdicts are returned and no model is asked."""
        material = await self._material(request.key, request.seq)
        questions = [material.questionnaire.question(id) for id in request.questions]
        left = {question.id: material.follow_ups_left(question) for question in questions}

        async def keep(reply: Reply[JudgeAnswer]) -> Kept[Judged]:
            said = {verdict.question: verdict for verdict in reply.output.verdicts}
            verdicts = tuple(_verdict(said[id], may_ask=left[id] > 0) for id in request.questions)
            return Kept(Judged(verdicts=verdicts), (), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt="scoping/judge_answers",
            inputs=material.judged_inputs(request.stage, request.questions),
            output=JudgeAnswer,
            result=Judged,
            keep=keep,
            check=lambda answer: wrong_verdicts(answer, left, material.asked_before(request.questions)),
            max_output_tokens=OUTPUT_TOKENS,
        )

    @implements(ScopingActivities.close_stage)
    async def close_stage(self, request: CloseStage) -> StageClosed:
        """Idempotent by the step's key: stored findings are returned and no model is asked."""
        material = await self._material(request.key, request.seq)
        stage = material.questionnaire.stage(request.stage)
        wanted = {finding: feeding(stage, finding) for finding in request.findings}

        async def keep(reply: Reply[FindingsAnswer]) -> Kept[StageClosed]:
            said = {found.finding: found for found in reply.output.findings}
            findings = tuple(_finding(said[id], material) for id in request.findings)
            return Kept(StageClosed(findings=findings, simulated=reply.simulated), (), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt="scoping/close_stage",
            inputs=material.closing_inputs(request.stage, request.findings),
            output=FindingsAnswer,
            result=StageClosed,
            keep=keep,
            check=lambda answer: wrong_findings(answer, wanted),
            max_output_tokens=OUTPUT_TOKENS,
        )

    @implements(ScopingActivities.check_consistency)
    async def check_consistency(self, request: CheckConsistency) -> Consistency:
        """Idempotent by the step's key: stored contradictions are returned and no model is asked."""
        material = await self._material(request.key, request.seq)
        answered = material.answered()

        async def keep(reply: Reply[ConsistencyAnswer]) -> Kept[Consistency]:
            found = Consistency(contradictions=tuple(_contradictions(reply.output.contradictions, answered)))
            return Kept(found, (), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt="scoping/check_consistency",
            inputs=material.checking_inputs(),
            output=ConsistencyAnswer,
            result=Consistency,
            keep=keep,
            check=lambda answer: wrong_contradictions(answer, answered),
            max_output_tokens=OUTPUT_TOKENS,
        )


def _verdict(verdict: Verdict, *, may_ask: bool) -> Verdict:
    """As it is kept: nothing is asked about a clear answer, nor once more than the question's rule allows."""
    follow_up = one_line(verdict.follow_up) if verdict.vague and may_ask else ""
    return verdict.model_copy(update={"reason": one_line(verdict.reason), "follow_up": follow_up})


def _finding(found: FoundStatement, material: Material) -> Finding:
    """A finding as it is kept. Whether it is an assumption is not the model's to say."""
    rests_on = tuple(dict.fromkeys(found.rests_on))
    return Finding(
        id=found.finding,
        statement=one_line(found.statement),
        rests_on=rests_on,
        assumption=material.assumed(rests_on),
    )


def _contradictions(
    found: Iterable[FoundContradiction], stages: dict[QuestionId, StageNumber]
) -> Iterable[Contradiction]:
    """Each pair once, the question of the earlier stage first: by its order a person says which one holds."""
    told: set[frozenset[QuestionId]] = set()
    for one in found:
        first, second = sorted((one.first, one.second), key=stages.__getitem__)
        if frozenset((first, second)) not in told:
            told.add(frozenset((first, second)))
            yield Contradiction(first=first, second=second, why=one_line(one.why), question=one_line(one.question))
