"""What is made of the sections: the charter and its files. No model is asked."""

import asyncio
from collections.abc import Callable

from temporalio import activity

from activities.scoping.base import ScopingBase
from activities.scoping.material import Material
from core.contracts.base import implements
from core.contracts.jobs import Output
from core.contracts.scoping import STAGES, CharterFormat
from core.contracts.scoping_charter import (
    CHARTER,
    Charter,
    CharterFinding,
    CharterSection,
    SaidAnswer,
    SectionId,
    StageFindings,
)
from core.contracts.scoping_questions import Question, Stage
from core.contracts.scoping_steps import AssembleCharter, CharterAssembled, ExportCharter, ScopingActivities
from core.db.repositories.steps import Kept, StepArtifact
from core.documents.charter import charter_file_name, charter_json, charter_markdown
from core.documents.charter_pdf import charter_pdf

CHARTER_FILE = "charter.json"
"""The charter as every export is made from it."""


class Assembling(ScopingBase):
    """The free steps. Done again, each makes the same bytes."""

    @implements(ScopingActivities.assemble_charter)
    async def assemble_charter(self, request: AssembleCharter) -> CharterAssembled:
        """Idempotent by the step's key; done again it makes the same bytes."""
        key = request.key

        async def work() -> Kept[CharterAssembled]:
            material = await self._material(key, request.seq)
            refs = [request.sections[id] for id in CHARTER]
            sections = await asyncio.gather(*(self._read(CharterSection, ref) for ref in refs))
            charter = charter_of(material, sections)
            ref = await self._put(key.owner_id, charter)
            decision = charter.section(SectionId.DECISION).decision
            assembled = CharterAssembled(
                charter=ref,
                statements=sum(len(section.statements) + len(section.conditions) for section in sections),
                decision=decision.value if decision else "",
                open_risks=len(charter.open_risks),
                simulated=charter.simulated,
            )
            return Kept(assembled, (StepArtifact(CHARTER_FILE, ref),), charter.simulated)

        return await self._steps.once(key, CharterAssembled, work, attempt=activity.info().attempt)

    @implements(ScopingActivities.export_charter)
    async def export_charter(self, request: ExportCharter) -> Output:
        """Idempotent by the step's key; done again it makes the same bytes."""
        key = request.key

        async def work() -> Kept[Output]:
            charter = await self._read(Charter, request.charter)
            media_type, make = EXPORTS[request.format]
            # Typesetting holds a core for a while: beside the event loop, so that heartbeats go on.
            data = await asyncio.to_thread(make, charter)
            output = await self._output(key, charter_file_name(charter.name, request.format), data, media_type)
            return Kept(output, (StepArtifact(output.name, output.ref, output=True),), charter.simulated)

        return await self._steps.once(key, Output, work, attempt=activity.info().attempt)


EXPORTS: dict[CharterFormat, tuple[str, Callable[[Charter], bytes]]] = {
    CharterFormat.MARKDOWN: ("text/markdown; charset=utf-8", lambda charter: charter_markdown(charter).encode()),
    CharterFormat.PDF: ("application/pdf", charter_pdf),
    CharterFormat.JSON: ("application/json", charter_json),
}
"""The media type of each format, and how it is made; that blocks."""


def charter_of(material: Material, sections: list[CharterSection]) -> Charter:
    """The charter: the sections, and all that their statements rest on."""
    stages = material.stages(range(1, STAGES + 1))
    return Charter(
        name=material.name,
        description=material.description,
        language=material.language,
        sections=tuple(sections),
        findings=tuple(_findings(material, stage) for stage in stages),
        open_risks=tuple(material.open_risks(range(1, STAGES + 1))),
        answers=tuple(_answer(material, stage, question) for stage in stages for question in stage.questions),
        simulated=any(section.simulated for section in sections),
    )


def _findings(material: Material, stage: Stage) -> StageFindings:
    found = [(plan, material.findings[plan.id]) for plan in stage.findings if plan.id in material.findings]
    return StageFindings(
        stage=stage.number,
        title=stage.title,
        findings=tuple(
            CharterFinding(
                id=plan.id,
                title=plan.title,
                statement=finding.statement,
                rests_on=finding.rests_on,
                assumption=finding.assumption,
            )
            for plan, finding in found
        ),
    )


def _answer(material: Material, stage: Stage, question: Question) -> SaidAnswer:
    skipped = material.standing(question.id) == "skipped"
    said = material.said.get(question.id)
    words = () if said is None else tuple(turn.said for turn in said.turns)
    if said is not None and skipped and said.because:
        words = (*words, said.because)
    return SaidAnswer(
        question=question.id,
        stage=stage.number,
        asked=question.text,
        said=words,
        settled=said.resolutions if said else (),
        skipped=skipped,
    )
