"""What the auditor reads of scoping sessions: what was said, where each stands, what its stages found, its charters."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from core.contracts.jobs import JobStatus
from core.contracts.scoping import PIPELINE
from core.contracts.scoping_entries import FOLLOW_UPS, Entry, said
from core.contracts.scoping_questions import Questionnaire
from core.contracts.scoping_state import Phase, QuestionStatus, SessionState, StageStatus

SCOPING_TABLES = ("scoping_sessions", "scoping_entries", "scoping_checkpoints", "scoping_turns", "charters")

Rows = Sequence[Row[Any]]
Expect = Callable[[bool, str], None]


def check_scoping(jobs: Mapping[Any, Row[Any]], tables: Mapping[str, Rows], expect: Expect) -> None:
    """Prove that nothing that was said is lost or counted twice, and that who ended well has one charter."""
    entries, checkpoints = _by_job(tables["scoping_entries"]), _by_job(tables["scoping_checkpoints"])
    charters = _by_job(tables["charters"])
    for row in tables["scoping_sessions"]:
        state = SessionState.model_validate(_json(row.state))
        expect(row.job_id in jobs and jobs[row.job_id].pipeline == PIPELINE, f"session {row.job_id} is no job")
        _check_entries(row, state, entries.pop(row.job_id, []), expect)
        _check_checkpoints(row, state, checkpoints.pop(row.job_id, []), expect)
    expect(not entries and not checkpoints, f"words or findings of no session: {[*entries, *checkpoints]}")
    _check_turns(jobs, tables, expect)
    for id, job in jobs.items():
        made = len(charters.pop(id, []))
        if job.pipeline == PIPELINE and job.status == JobStatus.COMPLETED:
            expect(made == 1, f"session {id} is completed and has {made} charters")
        else:
            expect(made <= (job.pipeline == PIPELINE), f"job {id} has {made} charters")
    expect(not charters, f"charters of no job: {list(charters)}")
    _check_versions(tables["charters"], expect)


def _check_entries(row: Row[Any], state: SessionState, entries: Rows, expect: Expect) -> None:
    """Acts are counted without a gap, and what they say is what the state says."""
    acts = sorted(one.seq for one in entries if one.seq is not None and one.kind != FOLLOW_UPS)
    expect(acts == list(range(1, state.seq + 1)), f"session {row.job_id}: acts {acts}, state {state.seq}")
    expect(row.seq == state.seq, f"session {row.job_id}: row {row.seq}, state {state.seq}")
    asked = [one.seq for one in entries if one.kind == FOLLOW_UPS]
    expect(set(asked) <= set(acts), f"session {row.job_id}: follow-ups {asked} to no act")
    taken = Counter(one.update_id for one in entries if one.update_id is not None and one.seq is not None)
    expect(max(taken.values(), default=1) == 1, f"session {row.job_id}: said twice: {taken}")
    told = said(
        [
            Entry(id=str(one.id), seq=one.seq, kind=one.kind, stage=one.stage, body=_json(one.body), at=one.at)
            for one in entries
        ],
        Questionnaire.model_validate(_json(row.questionnaire)),
    )
    for id, question in state.questions.items():
        if question.status in (QuestionStatus.SETTLED, QuestionStatus.GIVEN):
            expect(bool(told[id].turns) and not told[id].skipped, f"session {row.job_id}: no answer stands to {id}")
        if question.status is QuestionStatus.SKIPPED:
            expect(told[id].skipped, f"session {row.job_id}: nobody skipped {id}")
        if question.status is QuestionStatus.FOLLOW_UP:
            expect(bool(question.follow_up and told[id].turns), f"session {row.job_id}: {id} is asked about nothing")


def _check_checkpoints(row: Row[Any], state: SessionState, checkpoints: Rows, expect: Expect) -> None:
    """One for each time that a stage closed, with all that the stage is to find."""
    questionnaire = Questionnaire.model_validate(_json(row.questionnaire))
    for number, stage in enumerate(state.stages, start=1):
        own = sorted((one for one in checkpoints if one.stage == number), key=lambda one: one.number)
        numbers = [one.number for one in own]
        expect(
            numbers == list(range(1, stage.closed + 1)),
            f"session {row.job_id}: stage {number} closed {stage.closed} times, checkpoints {numbers}",
        )
        expect(
            stage.status is not StageStatus.CLOSED or stage.closed > 0,
            f"session {row.job_id}: stage {number} is closed and has no checkpoint",
        )
        wanted = {finding.id for finding in questionnaire.stage(number).findings}
        for one in own:
            found = [finding["id"] for finding in _json(one.findings)]
            expect(
                Counter(found) == Counter(wanted),
                f"session {row.job_id}: checkpoint {number}/{one.number} has {found}, not {sorted(wanted)}",
            )
            expect(one.through_seq <= state.seq, f"session {row.job_id}: checkpoint {number} knows of later acts")


def _check_turns(jobs: Mapping[Any, Row[Any]], tables: Mapping[str, Rows], expect: Expect) -> None:
    """No session that ended well is at work, or holds its owner's turn. Of one that failed or was cancelled nobody
    asks: its turn is anybody's."""
    for session in tables["scoping_sessions"]:
        if jobs[session.job_id].status == JobStatus.COMPLETED:
            phase = SessionState.model_validate(_json(session.state)).phase
            expect(phase is Phase.DONE, f"session {session.job_id} is completed and {phase}")
            expect(not session.at_work, f"session {session.job_id} is completed and at work")
    for turn in tables["scoping_turns"]:
        job = jobs.get(turn.job_id)
        expect(
            job is not None and job.status != JobStatus.COMPLETED,
            f"session {turn.job_id} holds the turn although it ended",
        )


def _check_versions(charters: Rows, expect: Expect) -> None:
    """Each version is made from an earlier one of the same document, but for the first."""
    numbers = defaultdict(set)
    for charter in charters:
        numbers[charter.document_id].add(charter.number)
        expect(
            (charter.parent is None) == (charter.document_id == charter.job_id),
            f"charter {charter.document_id}/{charter.number} is made from {charter.parent}",
        )
        expect((charter.parent or 0) < charter.number, f"charter {charter.document_id}/{charter.number} is too early")
    expect(sum(map(len, numbers.values())) == len(charters), f"versions with one number: {dict(numbers)}")


def _by_job(rows: Rows) -> dict[Any, list[Row[Any]]]:
    found = defaultdict(list)
    for row in rows:
        found[row.job_id].append(row)
    return found


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
