"""What is kept of documents: identical requests are answered with them, versions are stored and opened again."""

import hashlib
import json

from temporalio import activity

from activities.longform.base import LongformBase
from core.contracts.base import implements
from core.contracts.documents import Article, Version, VersionSection
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import JobResult, Output, StepKey
from core.contracts.llm import ModelChain
from core.contracts.longform import Brief
from core.contracts.longform_steps import (
    CacheChecked,
    CheckCache,
    KeepVersion,
    KeptVersion,
    LongformActivities,
    OpenedVersion,
    OpenVersion,
)
from core.contracts.outlines import planned
from core.db.ids import artifact_id
from core.db.repositories.documents import DocumentRepository, NewVersion
from core.db.repositories.steps import Kept, StepArtifact
from core.documents.text import count_words

_KEYED_OTHERWISE = {
    "cache", "target_words", "target_pages", "target_duration", "formats", "sources", "unread", "left_out",
}  # fmt: skip


class Keeping(LongformBase):
    """The steps that read and write documents in the database."""

    @implements(LongformActivities.check_cache)
    async def check_cache(self, request: CheckCache) -> CacheChecked:
        """Idempotent by the step's key: what was found once is found again."""
        key, brief = request.key, request.brief

        async def work() -> Kept[CacheChecked]:
            cache_key = cache_key_of(key.owner_id, brief, request.models, self._gateway.prompt_versions("longform/"))
            found = None
            if brief.cache == "use":
                async with self._database.transaction() as connection:
                    found = await DocumentRepository(connection, key.owner_id).cached(cache_key)
            if found is None:
                return Kept(CacheChecked(cache_key=cache_key))
            version, result = found
            hit = _as_own(key, result, version)
            files = tuple(StepArtifact(output.name, output.ref, output=True) for output in hit.outputs)
            return Kept(CacheChecked(cache_key=cache_key, hit=hit), files, hit.simulated)

        return await self._steps.once(key, CacheChecked, work, attempt=activity.info().attempt)

    @implements(LongformActivities.keep_version)
    async def keep_version(self, request: KeepVersion) -> KeptVersion:
        """Idempotent by the job: it has one version, whose number is the same each time."""
        key = request.key

        async def work() -> Kept[KeptVersion]:
            article = await self._article(request.article)
            new = NewVersion(
                document_id=request.document_id,
                parent=request.parent,
                reason=request.reason,
                section_id=request.section_id,
                restored_from=request.restored_from,
                instructions=request.instructions,
                job_id=key.job_id,
                title=article.title,
                words=article.words,
                score=request.score,
                sections=_sections(article),
                article=request.article,
                outline=request.outline,
                report=request.report,
                outputs=request.outputs,
                simulated=request.simulated,
                brief=request.brief.model_dump(mode="json"),
                cache_key=request.cache_key,
            )
            async with self._database.transaction() as connection:
                version = await DocumentRepository(connection, key.owner_id).keep(new)
            kept = KeptVersion(document_id=version.document_id, number=version.number)
            return Kept(kept, (), request.simulated)

        return await self._steps.once(key, KeptVersion, work, attempt=activity.info().attempt)

    @implements(LongformActivities.open_version)
    async def open_version(self, request: OpenVersion) -> OpenedVersion:
        """Idempotent by the step's key. A version that is gone is `not_found`."""
        key = request.key

        async def work() -> Kept[OpenedVersion]:
            async with self._database.transaction() as connection:
                documents = DocumentRepository(connection, key.owner_id)
                found = await documents.opened(request.document_id, request.number)
            if found is None:
                raise AtelierError(
                    ErrorType.NOT_FOUND,
                    f"Version {request.number} of the document {request.document_id} is gone: its job was deleted.",
                )
            version, brief = found[0], Brief.model_validate(found[1])
            plan = planned(await self._outline(version.outline), version.outline)
            opened = OpenedVersion(
                brief=brief,
                outline=version.outline,
                article=version.article,
                title=version.title,
                words=version.words,
                sections=plan.sections,
                simulated=version.simulated,
            )
            files = (
                StepArtifact("outline.json", version.outline),
                StepArtifact("article.json", version.article),
                *(StepArtifact(f"source-{source.id}.txt", source.text) for source in brief.sources),
            )
            return Kept(opened, files, version.simulated)

        return await self._steps.once(key, OpenedVersion, work, attempt=activity.info().attempt)


def cache_key_of(owner_id: str, brief: Brief, models: ModelChain, prompts: dict[str, int]) -> str:
    """What two requests share that must have the same document: owner, brief, prompts with their versions, models.

    The length counts however it was given, a format wherever it stood, and a source by its content: of a URL, by what
    was read there now. A document that does without a source answers only requests that do without it, too.
    """
    asked = brief.model_dump(mode="json", exclude=_KEYED_OTHERWISE)
    asked["topic"] = " ".join(brief.topic.split())
    asked["words"] = brief.words
    asked["formats"] = sorted(brief.formats)
    asked["sources"] = [
        [source.text.sha256, source.title, source.priority, *([source.url] if source.url else [])]
        for source in brief.sources
    ]
    if brief.left_out:
        asked["left_out"] = [[left.title, left.code] for left in brief.left_out]
    identity = {"owner": owner_id, "brief": asked, "models": list(models), "prompts": prompts}
    return hashlib.sha256(json.dumps(identity, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _as_own(key: StepKey, result: JobResult, version: Version) -> JobResult:
    """Another job's result as this one's: the same files under ids of its own, so that each job can be deleted."""
    outputs = tuple(
        Output(
            name=output.name,
            artifact_id=artifact_id(key.job_id, key.step, key.revision, output.name),
            ref=output.ref,
        )
        for output in result.outputs
    )
    summary = {**result.summary, "cached": True, "cached_from": version.job_id}
    return JobResult(outputs=outputs, summary=summary, simulated=result.simulated)


def _sections(article: Article) -> tuple[VersionSection, ...]:
    return tuple(
        VersionSection(
            id=section.id,
            title=section.title,
            words=count_words(section.markdown) + count_words(section.transition),
            sha256=hashlib.sha256(section.markdown.encode()).hexdigest(),
        )
        for section in article.sections
    )
