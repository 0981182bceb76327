"""Scoping sessions and charters as the answers show them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from api.views import View, job_view, output_view
from core.contracts.jobs import JobStatus
from core.contracts.scoping import QuestionId
from core.contracts.scoping_charter import Charter
from core.contracts.scoping_entries import Entry, Said, said
from core.contracts.scoping_moves import Plan, current_stage, new_state, next_work
from core.contracts.scoping_questions import QUESTIONNAIRE, Question, Questionnaire
from core.contracts.scoping_state import (
    ContradictionState,
    QuestionState,
    QuestionStatus,
    SessionState,
    StageState,
    Wait,
)
from core.db.repositories.charters import CharterRecord
from core.db.repositories.owned_sessions import CheckpointRecord, SessionRecord, SessionSummary

_DONE = (QuestionStatus.SETTLED, QuestionStatus.SKIPPED)
_ASKED = (QuestionStatus.OPEN, QuestionStatus.FOLLOW_UP)
_ANSWERABLE = (JobStatus.RUNNING, JobStatus.WAITING_FOR_INPUT)
_MOVING = (JobStatus.PENDING, *_ANSWERABLE)


class Shown:
    """A session, with its questions' words and what was said to them."""

    def __init__(self, record: SessionRecord, entries: Iterable[Entry] = ()) -> None:
        self.record = record
        # One that no worker has opened yet will have the questions of its submission: these, unless we changed since.
        self.questionnaire: Questionnaire = record.questionnaire or QUESTIONNAIRE
        brief = record.brief
        self.state: SessionState = record.state or new_state(brief.questions, brief.findings)
        self.plan = Plan(brief.questions, brief.findings)
        self.stage_of = {question.id: question.stage for question in brief.questions}
        self._entries = entries
        self._said: Mapping[QuestionId, Said] | None = None

    @property
    def waits(self) -> Wait | None:
        """What it wants of a person; None when it is not their turn, whoever's it is."""
        job = self.record.job
        if self.record.state is None or job.status not in _ANSWERABLE or job.cancel_requested:
            return None
        work = next_work(self.state, self.plan)
        return work if isinstance(work, Wait) else None

    def said(self, question: QuestionId) -> Said:
        """What was said to a question."""
        if self._said is None:
            self._said = said(self._entries, self.questionnaire)
        return self._said.get(question) or Said(asked="")

    def questions(self, stage: int) -> list[tuple[Question, QuestionState]]:
        """The questions of a stage, as far as the session has them."""
        states = self.state.questions
        return [
            (question, states[question.id])
            for question in self.questionnaire.stage(stage).questions
            if question.id in states
        ]


def session_view(shown: Shown, charter: CharterRecord | None = None) -> View:
    """A session, as `session_schemas.SessionView`."""
    record, state, waits = shown.record, shown.state, shown.waits
    job, base, path = job_view(record.job), record.brief.base, f"/v1/sessions/{record.job.id}"
    return {
        **_common(record.summary),
        "language": record.brief.language,
        "phase": state.phase.value,
        "stage": current_stage(state),
        "stages": [_stage_summary(shown, number, stage) for number, stage in enumerate(state.stages, start=1)],
        "asked": None if waits is None or waits.stage is None else _asked(shown, waits.stage),
        "contradictions": [
            {name: getattr(one, name) for name in ("id", "first", "second", "why", "question")}
            for one in state.contradictions
            if waits is not None and _status_of(one) == "open"
        ],
        "trouble": None if state.trouble is None else state.trouble.model_dump(mode="json"),
        "charter": None if charter is None else _charter(charter),
        "reopened_from": None
        if base is None
        else {"session_id": base.job_id, "version": base.version, "stage": base.stage},
        **{name: job[name] for name in ("error", "cost", "models", "tags", "webhook_url")},
        "links": {
            "job": f"/v1/jobs/{record.job.id}",
            "events": f"/v1/jobs/{record.job.id}/events",
            "transcript": f"{path}/transcript",
            "charter": f"{path}/charter",
        },
    }


def summary_view(summary: SessionSummary) -> View:
    """A session in a list, as `session_schemas.SessionListItem`."""
    return {
        **_common(summary),
        "phase": summary.phase,
        "stage": summary.stage if summary.opened else 1,
        "version": summary.version,
        "decision": summary.decision,
        "usd": float(summary.job.cost.usd),
    }


def stage_view(shown: Shown, number: int, checkpoint: CheckpointRecord | None) -> View:
    """A stage, as `session_schemas.StageView`."""
    stage, state = shown.questionnaire.stage(number), shown.state.stages[number - 1]
    titles = {finding.id: finding.title for finding in stage.findings}
    found = () if checkpoint is None else checkpoint.findings
    return {
        "session_id": shown.record.job.id,
        "number": number,
        "title": stage.title,
        "purpose": stage.purpose,
        "status": state.status.value,
        "closed": state.closed,
        "questions": [_question(shown, *question) for question in shown.questions(number)],
        "findings": [
            {**finding.model_dump(mode="json"), "title": titles.get(finding.id, finding.id)} for finding in found
        ],
        "checkpoint": None if checkpoint is None else _checkpoint_ref(checkpoint),
    }


def contradictions_view(shown: Shown) -> View:
    """The contradictions of a session, as `session_schemas.ContradictionList`."""
    return {
        "items": [
            {
                "id": one.id,
                "status": _status_of(one),
                "first": _answer_of(shown, one.first),
                "second": _answer_of(shown, one.second),
                "why": one.why,
                "question": one.question,
            }
            for one in shown.state.contradictions
        ]
    }


def transcript_view(record: SessionRecord, entries: Sequence[Entry], checkpoints: Sequence[CheckpointRecord]) -> View:
    """All that was said and found, as `session_schemas.TranscriptView`."""
    return {
        "session_id": record.job.id,
        "name": record.job.title,
        "description": record.summary.description,
        "entries": [
            {"seq": one.seq, "kind": one.kind, "stage": one.stage, "body": one.body, "at": one.at} for one in entries
        ],
        "checkpoints": [
            {
                **_checkpoint_ref(one),
                "stage": one.stage,
                "findings": [finding.model_dump(mode="json") for finding in one.findings],
                "assumptions": one.assumptions,
                "transcript": one.transcript,
            }
            for one in checkpoints
        ],
    }


def version_view(record: CharterRecord) -> View:
    """A version of a charter, as `session_schemas.CharterVersion`."""
    return {
        "document_id": record.document_id,
        "number": record.number,
        "parent": record.parent,
        "reopened": record.reopened,
        "session_id": record.session_id,
        "title": record.title,
        "decision": record.decision,
        "simulated": record.simulated,
        "sha256": record.charter.sha256,
        "outputs": [output_view(output) for output in record.outputs],
        "created_at": record.created_at,
    }


def whole_charter_view(record: CharterRecord, charter: Charter) -> View:
    """A version with its text, as `session_schemas.WholeCharter`."""
    return {**version_view(record), "charter": charter.model_dump(mode="json")}


def _common(summary: SessionSummary) -> View:
    job = summary.job
    until = (job.waiting_for or {}).get("expires_at") if job.status is JobStatus.WAITING_FOR_INPUT else None
    return {
        "id": job.id,
        "name": job.title,
        "description": summary.description,
        "status": job.status.value,
        # A session that nobody has opened yet is about to be; one that is paused or short of money stands still.
        "working": job.status in _MOVING and (summary.at_work or not summary.opened),
        "expires_at": datetime.fromisoformat(until) if until else None,
        "document_id": summary.document_id,
        "simulated": job.simulated,
        "created_at": job.created_at,
        "updated_at": summary.updated_at,
    }


def _stage_summary(shown: Shown, number: int, state: StageState) -> View:
    questions = shown.questions(number)
    return {
        "number": number,
        "title": shown.questionnaire.stage(number).title,
        "status": state.status.value,
        "closed": state.closed,
        "questions": len(questions),
        "settled": sum(one.status in _DONE for _, one in questions),
    }


def _asked(shown: Shown, number: int) -> View:
    stage = shown.questionnaire.stage(number)
    return {
        "stage": number,
        "title": stage.title,
        "purpose": stage.purpose,
        "questions": [
            _asked_question(shown, question, state)
            for question, state in shown.questions(number)
            if state.status in _ASKED
        ],
    }


def _asked_question(shown: Shown, question: Question, state: QuestionState) -> View:
    return {
        "id": question.id,
        "text": question.text,
        "help": question.help,
        "status": state.status.value,
        "follow_up": state.follow_up if state.status is QuestionStatus.FOLLOW_UP else "",
        "stale": state.stale,
        "said": [turn.said for turn in shown.said(question.id).turns],
    }


def _question(shown: Shown, question: Question, state: QuestionState) -> View:
    told = shown.said(question.id)
    return {
        **_asked_question(shown, question, state),
        "finding": question.finding,
        "follow_ups": state.follow_ups,
        "vague": state.vague,
        "skipped": state.status is QuestionStatus.SKIPPED,
        "because": told.because,
        "resolutions": [word.model_dump(mode="json") for word in told.resolutions],
    }


def _answer_of(shown: Shown, question: QuestionId) -> View:
    told = shown.said(question)
    return {
        "question": question,
        "stage": shown.stage_of[question],
        "asked": told.asked,
        "said": [turn.said for turn in told.turns],
    }


def _status_of(contradiction: ContradictionState) -> str:
    if contradiction.accepted:
        return "accepted"
    return "settled" if contradiction.settled else "open"


def _charter(charter: CharterRecord) -> View:
    return {
        "version": charter.number,
        "decision": charter.decision,
        "outputs": [output_view(output) for output in charter.outputs],
    }


def _checkpoint_ref(checkpoint: CheckpointRecord) -> View:
    return {
        "number": checkpoint.number,
        "through_seq": checkpoint.through_seq,
        "simulated": checkpoint.simulated,
        "at": checkpoint.at,
    }
