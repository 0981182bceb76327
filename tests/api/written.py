"""Documents to begin a test with: written by the repository, with small files in the store."""

import hashlib
from typing import Any

from sqlalchemy import text

from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef, Contract
from core.contracts.documents import (
    Article,
    ArticleSection,
    Evaluation,
    Measured,
    Reason,
    Reference,
    Report,
    Version,
    VersionSection,
)
from core.contracts.jobs import JobResult, Output
from core.contracts.longform import Brief, Outline, SectionPlan
from core.db.engine import Database
from core.db.ids import artifact_id
from core.db.repositories.documents import DocumentRepository, NewVersion
from core.db.repositories.steps import StepArtifact, StepRepository
from tests.support.rows import accept, step_key

TEXTS = ("Twice a day the sea filled the pond [@r1].", "Steam asked nobody for the hour.", "Three still grind.")


def an_article(*texts: str, title: str = "Tide mills") -> Article:
    """An article of these sections."""
    texts = texts or TEXTS
    return Article(
        title=title,
        thesis="The clock beat the moon.",
        language="en",
        sections=tuple(
            ArticleSection(id=f"s{n}", title=f"Part {n}", markdown=text, transition="And so." if n > 1 else "")
            for n, text in enumerate(texts, start=1)
        ),
        words=sum(len(text.split()) for text in texts),
        references=(Reference(number=1, source_id="r1", title="A survey"),),
    )


def an_outline(sections: int = 3) -> Outline:
    """An outline of sections of 300 words."""
    return Outline(
        title="Tide mills",
        thesis="The clock beat the moon.",
        sections=tuple(
            SectionPlan(
                id=f"s{n}", title=f"Part {n}", purpose=f"Tells part {n}.", key_points=(f"Point {n}",), words=300
            )
            for n in range(1, sections + 1)
        ),
    )


def a_report(score: float = 0.8) -> Report:
    """A report without a judge."""
    measured = Measured(target_words=900, words=900, length_error=0, repetition=0, heading_coverage=1, score=score)
    return Report(evaluation=Evaluation(score=score, measured=measured), threshold=0.7)


class Shelf:
    """Writes documents of one owner."""

    def __init__(self, database: Database, store: ArtifactStore, owner_id: str) -> None:
        self.database = database
        self.store = store
        self.owner_id = owner_id

    async def put(self, model: Contract) -> ArtifactRef:
        """Bytes of a model in the store."""
        return await self.store.put(self.owner_id, model.model_dump_json().encode(), "application/json")

    async def write(self, article: Article | None = None, **changes: Any) -> Version:
        """A version, and the completed job that wrote it. Without `document_id` it is the first of a new document."""
        job_id = await accept(self.database, self.owner_id)
        new = await self.new_version(job_id, article or an_article(), **changes)
        async with self.database.transaction() as connection:
            version = await DocumentRepository(connection, self.owner_id).keep(new)
            await connection.execute(
                text(
                    "UPDATE jobs SET status = 'completed', finished_at = now(), result = CAST(:result AS jsonb) "
                    "WHERE id = :id"
                ),
                {"id": job_id, "result": JobResult(outputs=version.outputs).model_dump_json()},
            )
        return version

    async def new_version(self, job_id: str, article: Article, **changes: Any) -> NewVersion:
        """What a job would store."""
        content = await self.put(article)
        output = Output(name="article.json", artifact_id=artifact_id(job_id, "export", 1, "article.json"), ref=content)
        fields: dict[str, Any] = {
            "document_id": job_id,
            "job_id": job_id,
            "reason": Reason.WRITTEN,
            "title": article.title,
            "words": article.words,
            "sections": tuple(
                VersionSection(
                    id=section.id,
                    title=section.title,
                    words=len(section.markdown.split()),
                    sha256=hashlib.sha256(section.markdown.encode()).hexdigest(),
                )
                for section in article.sections
            ),
            "article": content,
            "outline": await self.put(an_outline()),
            "report": await self.put(a_report()),
            "brief": Brief(topic="Tide mills", language="en").model_dump(mode="json"),
            "outputs": (output,),
            "score": 0.8,
        }
        return NewVersion(**{**fields, **changes})

    async def outline(self, job_id: str, outline: Outline | None = None, *, revision: int = 1) -> ArtifactRef:
        """The outline of a job, stored as the step that makes it does."""
        ref = await self.put(outline or an_outline())
        key = step_key(job_id, self.owner_id, "decompose", stage="outline", revision=revision)
        async with self.database.transaction() as connection:
            await StepRepository(connection).store(key, "{}", [StepArtifact("outline.json", ref)], simulated=False)
        return ref
