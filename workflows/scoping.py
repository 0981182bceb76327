"""`scoping`: ask stage by stage, compare the stages, write the charter. In between it waits for a person, for weeks."""

from collections.abc import Mapping

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from core.contracts.base import ArtifactRef, Json
from core.contracts.jobs import JobRequest, JobResult, Output
from core.contracts.options import DB, LLM, RENDER
from core.contracts.scoping import (
    STAGES,
    ActKind,
    CharterFormat,
    ScopingBrief,
    StageNumber,
)
from core.contracts.scoping_charter import CHARTER, SectionId
from core.contracts.scoping_moves import Plan, checked, closed, judged, next_work, tried, written
from core.contracts.scoping_state import Check, Close, Judge, QuestionStatus, SessionState, Wait, Write
from core.contracts.scoping_steps import (
    AssembleCharter,
    CharterAssembled,
    CharterKept,
    CheckConsistency,
    Checkpoint,
    CloseStage,
    DraftCharterSection,
    ExportCharter,
    JudgeAnswers,
    KeepCharter,
    ScopingActivities,
    SectionDrafted,
    StageClosed,
)
from workflows._chain import attempted, together
from workflows._session import SessionWorkflow


@workflow.defn(name="Scoping")
class ScopingWorkflow(SessionWorkflow):
    """A session with a project's sponsor. What comes next follows from where it stands, which Postgres has after every
    change: so it goes on from any point, in another run too."""

    def __init__(self) -> None:
        super().__init__()
        self._sections: dict[SectionId, ArtifactRef] = {}

    @workflow.run
    async def run(self, request: JobRequest) -> JobResult:
        """Every step is stored once; so is every act, before it is acknowledged."""
        async with self.job(request):
            brief = ScopingBrief.model_validate(request.input)
            self.plan(_total(brief))
            before = (await self.open(brief)).sections
            while True:
                if self.acts >= brief.acts_a_run or workflow.info().is_continue_as_new_suggested():
                    await self.go_on_as_new({"kept": self.kept})
                match next_work(self.state, self.questions):
                    case Judge() as answers:
                        await self._judge(answers)
                    case Close() as stage:
                        await self._close(stage)
                    case Check():
                        await self._check_stages()
                    case Wait(stage=number):
                        await self._ask(number)
                    case Write():
                        if await self._draft(before):
                            break
            charter = await self._assemble()
            outputs = await self._export(charter, brief.formats)
            version = await self._keep_charter(brief, charter, outputs)
            self.result = _result(brief, charter, outputs, version)
        return self.result

    async def _ask(self, stage: StageNumber | None) -> None:
        """Wait until a person has said something: to a stage, or (None) to contradictions."""
        label = "contradictions" if stage is None else f"stage {stage}"
        await self.wait_for_act(label, lambda: _question(self.state, self.questions, stage))

    async def _judge(self, work: Judge) -> None:
        """Have the answers judged; what is vague is asked about."""
        step = f"judge stage {work.stage}"
        request = JudgeAnswers(
            key=self.session_key(f"stage {work.stage}", step),
            stage=work.stage,
            questions=work.questions,
            seq=self.state.seq,
        )
        found = await self.ask_model(ScopingActivities.judge_answers, request)
        if found is None:
            return
        state = judged(tried(self.state, step), self.questions, found.verdicts)
        asked = {id for id in work.questions if state.questions[id].status is QuestionStatus.FOLLOW_UP}
        await self.keep(state, verdicts=tuple(verdict for verdict in found.verdicts if verdict.question in asked))

    async def _close(self, work: Close) -> None:
        """Have the findings of a stage made; they are its checkpoint."""
        step, state, found = f"close stage {work.stage}", self.state, StageClosed(findings=())
        if work.findings:
            request = CloseStage(
                key=self.session_key(f"stage {work.stage}", step),
                stage=work.stage,
                findings=work.findings,
                seq=state.seq,
            )
            made = await self.ask_model(ScopingActivities.close_stage, request)
            if made is None:
                return
            state, found = tried(self.state, step), made
        state = closed(state, self.questions, work.stage)
        checkpoint = Checkpoint(
            stage=work.stage,
            number=state.stages[work.stage - 1].closed,
            findings=found.findings,
            simulated=found.simulated,
        )
        await self.keep(state, checkpoint=checkpoint)

    async def _check_stages(self) -> None:
        """Have the stages compared; what does not fit is asked."""
        request = CheckConsistency(key=self.session_key("check", "check"), seq=self.state.seq)
        found = await self.ask_model(ScopingActivities.check_consistency, request)
        if found is not None:
            await self.keep(checked(tried(self.state, "check"), found.contradictions))

    async def _draft(self, before: Mapping[SectionId, ArtifactRef]) -> bool:
        """Have the sections written side by side; one that rests on nothing new stays as it was `before`. False when
        every model failed at one of them, after a rest."""
        stage_of = {finding.id: finding.stage for finding in self.questions.findings}
        changed = {stage_of[id] for id in self.state.changed}
        stay = {id: ref for id, ref in before.items() if changed.isdisjoint(CHARTER[id].stages)}
        self._sections = {**stay, **self._sections}
        failures = dict[str, ApplicationError]()

        async def write(id: SectionId) -> None:
            found = await attempted(self._section(id))
            if isinstance(found, ApplicationError):
                failures[_step(id)] = found
            else:
                self._sections[id] = found.ref

        # What was wrong before is told no more: when the sections are written, nothing follows that would say so.
        trouble, self._state = self.state.trouble, self.state.model_copy(update={"trouble": None})
        await self.say_at_work()
        await together(write(id) for id in CHARTER if id not in self._sections)
        if failures:
            self._state = self.state.model_copy(update={"trouble": trouble})
            await self.rest(failures)
        return not failures

    async def _section(self, id: SectionId) -> SectionDrafted:
        request = DraftCharterSection(
            key=self.session_key("charter", _step(id)),
            section=id,
            seq=self.state.seq,
        )
        return await self.paid_step(ScopingActivities.draft_section, request, LLM)

    async def _assemble(self) -> CharterAssembled:
        sections = {id: self._sections[id] for id in CHARTER}
        request = AssembleCharter(key=self.key("charter", "assemble"), sections=sections, seq=self.state.seq)
        return await self.step(ScopingActivities.assemble_charter, request, RENDER)

    async def _export(self, charter: CharterAssembled, formats: tuple[CharterFormat, ...]) -> tuple[Output, ...]:
        """The files, side by side."""

        async def export(format: CharterFormat) -> Output:
            key = self.key("export", f"export {format.value}")
            request = ExportCharter(key=key, charter=charter.charter, format=format)
            return await self.step(ScopingActivities.export_charter, request, RENDER)

        return tuple(await together(export(format) for format in formats))

    async def _keep_charter(
        self, brief: ScopingBrief, charter: CharterAssembled, outputs: tuple[Output, ...]
    ) -> CharterKept:
        """Store the version: the session has said all it can, and nothing works for it any more."""
        key, base = self.key("charter", "charter"), brief.base
        request = KeepCharter(
            key=key,
            document_id=key.job_id if base is None else base.document_id,
            parent=None if base is None else base.version,
            reopened=None if base is None else base.stage,
            charter=charter.charter,
            sections=self._sections,
            outputs=outputs,
            decision=charter.decision,
            simulated=charter.simulated,
        )
        version = await self.step(ScopingActivities.keep_charter, request, DB)
        await self.keep(written(self.state), at_work=False)
        return version


def _step(section: SectionId) -> str:
    return f"section {section.value}"


def _total(brief: ScopingBrief) -> int:
    """Steps: each stage that is asked judged and closed, the check, each section, assemble, each format, charter."""
    stages = STAGES if brief.base is None else STAGES + 1 - brief.base.stage
    return 2 * stages + 1 + len(CHARTER) + 1 + len(brief.formats) + 1


def _question(state: SessionState, plan: Plan, stage: StageNumber | None) -> Json:
    """What a job that waits for a person says of it."""
    if stage is None:
        return {
            "what": "scoping_contradictions",
            "question": "Some answers do not fit together. Say of each pair which one holds.",
            "acts": [ActKind.RESOLVE_CONTRADICTION.value, ActKind.REOPEN_STAGE.value, ActKind.FINISH.value],
            "contradictions": [one.id for one in state.contradictions if not (one.settled or one.accepted)],
        }
    of_stage = {question.id: state.questions[question.id].status for question in plan.of_stage(stage)}
    return {
        "what": "scoping_stage",
        "question": f"Answer the questions of stage {stage}, or skip those that nobody can answer.",
        "acts": [kind.value for kind in ActKind if kind is not ActKind.RESOLVE_CONTRADICTION],
        "stage": stage,
        "questions": [id for id, status in of_stage.items() if status is QuestionStatus.OPEN],
        "follow_ups": [id for id, status in of_stage.items() if status is QuestionStatus.FOLLOW_UP],
    }


def _result(
    brief: ScopingBrief, charter: CharterAssembled, outputs: tuple[Output, ...], version: CharterKept
) -> JobResult:
    return JobResult(
        outputs=outputs,
        summary={
            "title": brief.name,
            "document_id": version.document_id,
            "version": version.number,
            "decision": charter.decision,
            "statements": charter.statements,
            "open_risks": charter.open_risks,
        },
        simulated=charter.simulated,
    )
