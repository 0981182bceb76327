"""Outlines, documents and versions as the answers show them."""

from api.reviews import asked_round
from api.views import View, output_view
from core.contracts.documents import Article, Report
from core.contracts.longform import Outline
from core.db.repositories.artifacts import ArtifactRecord
from core.db.repositories.documents import DocumentRecord, VersionRecord
from core.db.repositories.job_records import JobRecord


def outline_view(job: JobRecord, file: ArtifactRecord, outline: Outline) -> View:
    """The outline of a job, as `document_schemas.OutlineView`."""
    asked = asked_round(job)
    waiting_for = job.waiting_for or {}
    return {
        "job_id": job.id,
        "round": asked or file.revision,
        "waiting": asked is not None,
        "expires_at": waiting_for.get("expires_at") if asked else None,
        "title": outline.title,
        "thesis": outline.thesis,
        "words": outline.words,
        "sections": [section.model_dump(mode="json") for section in outline.sections],
        "simulated": outline.simulated,
    }


def document_view(document: DocumentRecord) -> View:
    """A document, as `document_schemas.DocumentView`."""
    return document._asdict()


def version_view(record: VersionRecord) -> View:
    """A version, as `document_schemas.VersionView`."""
    version = record.version
    return {
        "document_id": version.document_id,
        "number": version.number,
        "parent": version.parent,
        "reason": version.reason.value,
        "section_id": version.section_id,
        "restored_from": version.restored_from,
        "instructions": version.instructions,
        "job_id": version.job_id,
        "title": version.title,
        "language": record.language,
        "words": version.words,
        "score": version.score,
        "simulated": version.simulated,
        "sha256": version.article.sha256,
        "sections": [section.model_dump(mode="json") for section in version.sections],
        "outputs": [output_view(output) for output in version.outputs],
        "created_at": record.created_at,
    }


def whole_version_view(record: VersionRecord, article: Article, report: Report) -> View:
    """A version with its content, as `document_schemas.WholeVersionView`."""
    view = version_view(record)
    texts = {section.id: section for section in article.sections}
    return {
        **view,
        "thesis": article.thesis,
        "sections": [
            {
                **section,
                "markdown": texts[section["id"]].markdown,
                "transition": texts[section["id"]].transition,
            }
            for section in view["sections"]
        ],
        "references": [reference.model_dump(mode="json") for reference in article.references],
        "report": report.model_dump(mode="json"),
    }
