"""What models write of the charter: one section a step, from the findings and answers of its stages."""

from collections.abc import Iterable

from temporalio import activity

from activities.scoping.base import ScopingBase
from activities.scoping.checking import wrong_section
from activities.scoping.material import Material
from core.contracts.base import implements
from core.contracts.scoping_charter import (
    CHARTER,
    Basis,
    CharterSection,
    DraftedStatement,
    SectionAnswer,
    SectionId,
    Statement,
)
from core.contracts.scoping_steps import DraftCharterSection, ScopingActivities, SectionDrafted
from core.db.repositories.steps import Kept, StepArtifact
from core.documents.charter_labels import charter_labels
from core.documents.text import one_line
from core.llm.provider import Reply


class Drafting(ScopingBase):
    """The paid step of the charter."""

    @implements(ScopingActivities.draft_section)
    async def draft_section(self, request: DraftCharterSection) -> SectionDrafted:
        """Idempotent by the step's key: a stored section is returned and no model is asked."""
        material = await self._material(request.key, request.seq)
        plan, title = CHARTER[request.section], charter_labels(material.language).section(request.section)
        known = [question.id for stage in material.stages(plan.stages) for question in stage.questions]

        async def keep(reply: Reply[SectionAnswer]) -> Kept[SectionDrafted]:
            section = _section(request.section, reply, material)
            ref = await self._put(request.key.owner_id, section)
            drafted = SectionDrafted(section=request.section, ref=ref, simulated=reply.simulated)
            return Kept(drafted, (StepArtifact(f"section-{request.section}.json", ref),), reply.simulated)

        return await self._gateway.step(
            request,
            attempt=activity.info().attempt,
            prompt="scoping/draft_section",
            inputs={
                **material.project_inputs(),
                "section": {"id": request.section.value, "title": title},
                "stages": material.stage_inputs(plan.stages),
                "open_points": [risk.model_dump(mode="json") for risk in material.open_risks(plan.stages)],
            },
            output=SectionAnswer,
            result=SectionDrafted,
            keep=keep,
            check=lambda answer: wrong_section(answer, request.section, known),
        )


def _section(id: SectionId, reply: Reply[SectionAnswer], material: Material) -> CharterSection:
    """A section as it is kept. Only one decides; what a model says of a decision elsewhere is left out."""
    answer, decides = reply.output, id is SectionId.DECISION
    return CharterSection(
        id=id,
        title=charter_labels(material.language).section(id),
        statements=_statements(answer.statements, material),
        decision=answer.decision if decides else None,
        conditions=_statements(answer.conditions, material) if decides else (),
        simulated=reply.simulated,
    )


def _statements(drafted: Iterable[DraftedStatement], material: Material) -> tuple[Statement, ...]:
    return tuple(
        Statement(
            text=one_line(one.text),
            rests_on=tuple(
                Basis(question=question, assumption=material.assumed((question,)))
                for question in dict.fromkeys(one.rests_on)
            ),
        )
        for one in drafted
    )
