"""Scoping sessions as their workflows carry them: where one stands, what was said in it, what its stages found.

No owner asks for these: the key of each step names them. Each method needs a transaction of its caller's.
"""

import json
from typing import Any, NamedTuple

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.base import ArtifactRef, Json
from core.contracts.errors import AtelierError, ErrorType
from core.contracts.jobs import StepKey
from core.contracts.scoping import ActKind, ActTaken, Base, Finding, FindingId, ScopingBrief
from core.contracts.scoping_charter import SectionId
from core.contracts.scoping_entries import FOLLOW_UPS, Entry, said
from core.contracts.scoping_moves import Plan, current_stage, new_state, next_work, reopened
from core.contracts.scoping_questions import Questionnaire
from core.contracts.scoping_state import Phase, QuestionStatus, SessionState, Wait
from core.contracts.scoping_steps import CharterKept, Checkpoint, KeepAct, KeepCharter, KeepState
from core.db.ids import new_id
from core.db.repositories.events import prepared
from core.db.repositories.held import hold_job
from core.db.repositories.outbox import NEW_ID
from core.db.repositories.steps import StepArtifact
from core.db.repositories.turns import give_back_turn, take_turn


class SessionRow(NamedTuple):
    """A session as its activities need it. `name` is the one that its owner gave it last."""

    name: str
    description: str
    language: str
    document_id: str
    state: SessionState
    questionnaire: Questionnaire
    brief: ScopingBrief


ENTRY_COLUMNS = "e.id, e.seq, e.kind, e.stage, e.body::text AS body, e.at"
# What was said before what was asked back about it.
ENTRY_ORDER = f"e.seq, e.kind = '{FOLLOW_UPS}'"

_MAKE = """
    INSERT INTO scoping_sessions (job_id, owner_id, document_id, seq, state, brief, questionnaire, sections, at_work,
                                  stage, phase)
    VALUES (:job_id, :owner_id, :document_id, :seq, CAST(:state AS jsonb), CAST(:brief AS jsonb),
            CAST(:questionnaire AS jsonb), CAST(:sections AS jsonb), :at_work, :stage, :phase)
"""
_COPY_ENTRIES = f"""
    INSERT INTO scoping_entries (id, job_id, owner_id, seq, kind, stage, body, body_sha256, at)
    SELECT {NEW_ID}, :job_id, :owner_id, e.seq, e.kind, e.stage, e.body, e.body_sha256, e.at
    FROM scoping_entries e WHERE e.job_id = :base AND e.seq IS NOT NULL ORDER BY {ENTRY_ORDER}
"""
_COPY_CHECKPOINTS = """
    INSERT INTO scoping_checkpoints (job_id, stage, number, through_seq, findings, assumptions, transcript, simulated,
                                     at)
    SELECT :job_id, stage, number, through_seq, findings, assumptions, transcript, simulated, at
    FROM scoping_checkpoints WHERE job_id = :base
"""
_ADD_ENTRY = """
    INSERT INTO scoping_entries (id, job_id, owner_id, seq, kind, stage, body, body_sha256)
    VALUES (:id, :job_id, :owner_id, :seq, :kind, :stage, CAST(:body AS jsonb), '')
    ON CONFLICT DO NOTHING
"""
_ADD_ARTIFACTS = """
    INSERT INTO artifacts (id, owner_id, job_id, step, revision, name, role, sha256, size, media_type, simulated)
    SELECT a.id, :owner_id, :job_id, :step, :revision, a.name, a.role, a.sha256, a.size, a.media_type, :simulated
    FROM jsonb_to_recordset(CAST(:artifacts AS jsonb))
        AS a(id uuid, name text, role text, sha256 text, size bigint, media_type text)
    ON CONFLICT DO NOTHING
"""
_BASE = """
    SELECT s.state::text AS state, c.sections::text AS sections, c.simulated
    FROM jobs j JOIN scoping_sessions s ON s.job_id = j.id JOIN charters c ON c.job_id = j.id
    WHERE j.id = :base AND j.owner_id = :owner_id FOR KEY SHARE OF j
"""
_KEEP = """
    UPDATE scoping_sessions SET state = CAST(:state AS jsonb), seq = :seq, stage = :stage, phase = :phase,
        at_work = :at_work, updated_at = now()
    WHERE job_id = :job_id
"""
# Whoever comes at the same moment for another session of the same document waits, and takes the number after it.
_KEEP_CHARTER = """
    INSERT INTO charters (document_id, number, owner_id, job_id, parent, reopened, title, charter, sections, outputs,
                          decision, simulated)
    SELECT :document_id, GREATEST(max(number), CAST(:parent AS integer), 0) + 1, :owner_id, :job_id, :parent, :reopened,
           :title, CAST(:charter AS jsonb), CAST(:sections AS jsonb), CAST(:outputs AS jsonb), :decision, :simulated
    FROM charters WHERE document_id = :document_id AND owner_id = :owner_id
    ON CONFLICT (document_id, number) DO NOTHING
    RETURNING number
"""


class SessionRepository:
    """Keeps sessions, whoever they belong to: for activities."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def open(
        self, key: StepKey, brief: ScopingBrief, questionnaire: Json
    ) -> tuple[SessionState, dict[SectionId, ArtifactRef]]:
        """Where a session stands, and the sections of the charter that it goes on from. It is made if it is not there:
        one with a base has what that one had, and keeps it when the base is deleted.

        Raises `INVALID_STATE` when the job ended or is in another run, or the base is gone.
        """
        await hold_job(self._connection, key, "its session")
        if await self._row(key.job_id) is None:
            await self._make(key, brief, questionnaire)
        known = await self._known(key.job_id)
        state = SessionState.model_validate_json(known.state)
        sections = {SectionId(id): ArtifactRef.model_validate(ref) for id, ref in json.loads(known.sections).items()}
        await self._keep(key, state, at_work=_is_at_work(state, ScopingBrief.model_validate_json(known.brief)))
        return state, sections

    async def keep_act(self, request: KeepAct) -> ActTaken:
        """Mark an entry as taken, and store the state that it makes. Of an entry that was taken nothing changes.

        Raises `INVALID_STATE` when the job ended or is in another run, the entry was withdrawn, or another act has
        this number.
        """
        key, state = request.key, request.state
        await hold_job(self._connection, key, "what was said")
        entry = (
            await self._run(
                "SELECT seq FROM scoping_entries WHERE id = :id AND job_id = :job_id FOR NO KEY UPDATE",
                id=request.entry_id,
                job_id=key.job_id,
            )
        ).first()
        if entry is None:
            raise AtelierError(ErrorType.INVALID_STATE, "What was said was taken back. Read the session again.")
        if entry.seq is not None:
            return ActTaken(entry_id=request.entry_id, seq=entry.seq)
        row = await self._known(key.job_id, lock=True)
        if row.seq + 1 != state.seq:
            raise AtelierError(
                ErrorType.INVALID_STATE,
                "Something else was said a moment before. Read the session again.",
                details={"seq": row.seq},
            )
        await self._run("UPDATE scoping_entries SET seq = :seq WHERE id = :id", id=request.entry_id, seq=state.seq)
        await self._keep(key, state, at_work=_is_at_work(state, ScopingBrief.model_validate_json(row.brief)))
        return ActTaken(entry_id=request.entry_id, seq=state.seq)

    async def keep_state(self, request: KeepState) -> bool:
        """Store a state that no person made, the follow-ups that it asks, and the checkpoint. Once by (run, number).

        False: a model was to work, and another session of the owner has the turn. Raises `INVALID_STATE` as above.
        """
        key, state = request.key, request.state
        await hold_job(self._connection, key, "its state")
        row = await self._known(key.job_id, lock=True)
        if (row.kept_run, row.kept_number) >= (key.run, request.number):
            return bool(row.at_work) or not request.at_work
        # One that has rested since a model worked for it has no turn any more.
        at_work = request.at_work and (row.at_work or await take_turn(self._connection, key.owner_id, key.job_id))
        brief = ScopingBrief.model_validate_json(row.brief)
        asked = {
            verdict.question: state.questions[verdict.question].follow_up
            for verdict in request.verdicts
            if state.questions[verdict.question].status is QuestionStatus.FOLLOW_UP
        }
        if asked:
            stage = next(question.stage for question in brief.questions if question.id in asked)
            await self._add(key, state.seq, FOLLOW_UPS, stage, {FOLLOW_UPS: asked})
        if request.checkpoint is not None:
            questionnaire = Questionnaire.model_validate_json(row.questionnaire)
            await self._add_checkpoint(key, state, request.checkpoint, questionnaire)
        if state.seq >= row.seq:  # else somebody said something since
            await self._keep(key, state, at_work=at_work)
        await self._run(
            "UPDATE scoping_sessions SET kept_run = :run, kept_number = :number WHERE job_id = :job_id",
            job_id=key.job_id,
            run=key.run,
            number=request.number,
        )
        return at_work or not request.at_work

    async def session(self, job_id: str) -> SessionRow:
        """A session. Raises `INVALID_STATE` when it is not open, or gone."""
        row = await self._known(job_id)
        brief = ScopingBrief.model_validate_json(row.brief)
        return SessionRow(
            name=row.title,
            description=brief.description,
            language=brief.language,
            document_id=str(row.document_id),
            state=SessionState.model_validate_json(row.state),
            questionnaire=Questionnaire.model_validate_json(row.questionnaire),
            brief=brief,
        )

    async def entries(self, job_id: str, through: int) -> list[Entry]:
        """What was said and asked back, in order, as far as the act number `through`."""
        rows = await self._run(
            f"SELECT {ENTRY_COLUMNS} FROM scoping_entries e WHERE e.job_id = :job_id AND e.seq <= :through "
            f"ORDER BY {ENTRY_ORDER}",
            job_id=job_id,
            through=through,
        )
        return [entry(row) for row in rows]

    async def findings(self, job_id: str) -> dict[FindingId, Finding]:
        """What the stages found, by their newest checkpoints."""
        rows = await self._run(
            "SELECT DISTINCT ON (stage) findings::text AS findings FROM scoping_checkpoints WHERE job_id = :job_id "
            "ORDER BY stage, number DESC",
            job_id=job_id,
        )
        found = [Finding.model_validate(one) for row in rows for one in json.loads(row.findings)]
        return {finding.id: finding for finding in found}

    async def keep_charter(self, request: KeepCharter, title: str) -> CharterKept:
        """Store a session's charter under the document's next number. A second call returns the first one's.

        Raises `INVALID_STATE` when the job ended or is in another run.
        """
        key = request.key
        await hold_job(self._connection, key, "its charter")
        kept = (
            await self._run("SELECT document_id, number FROM charters WHERE job_id = :job_id", job_id=key.job_id)
        ).first()
        if kept is not None:
            return CharterKept(document_id=str(kept.document_id), number=kept.number)
        number: int | None = None
        while number is None:
            number = (
                await self._run(
                    _KEEP_CHARTER,
                    document_id=request.document_id,
                    owner_id=key.owner_id,
                    job_id=key.job_id,
                    parent=request.parent,
                    reopened=request.reopened,
                    title=title,
                    charter=request.charter.model_dump_json(),
                    sections=_dump(request.sections),
                    outputs=json.dumps([output.model_dump(mode="json") for output in request.outputs]),
                    decision=request.decision,
                    simulated=request.simulated,
                )
            ).scalar()
        return CharterKept(document_id=request.document_id, number=number)

    async def _make(self, key: StepKey, brief: ScopingBrief, questionnaire: Json) -> None:
        document_id, sections = key.job_id, "{}"
        if brief.base is None:
            state = new_state(brief.questions, brief.findings)
        else:
            document_id = brief.base.document_id
            state, sections = await self._copy(key, brief, brief.base)
        await self._run(
            _MAKE,
            **_shown(state),
            job_id=key.job_id,
            owner_id=key.owner_id,
            document_id=document_id,
            brief=brief.model_dump_json(),
            questionnaire=json.dumps(questionnaire),
            sections=sections,
            at_work=False,
        )

    async def _copy(self, key: StepKey, brief: ScopingBrief, base: Base) -> tuple[SessionState, str]:
        """Take over what a session had that is done. The state in which its stage is reopened, and its sections."""
        values = {"job_id": key.job_id, "owner_id": key.owner_id, "base": base.job_id}
        row = (await self._connection.execute(prepared(_BASE), values)).first()
        if row is None:
            raise AtelierError(
                ErrorType.INVALID_STATE,
                "The session that this one goes on from was deleted.",
                details={"session_id": base.job_id},
            )
        for statement in (_COPY_ENTRIES, _COPY_CHECKPOINTS):
            await self._connection.execute(prepared(statement), values)
        before = SessionState.model_validate_json(row.state)
        state = reopened(before, Plan(brief.questions, brief.findings), base.stage, base.questions)
        state = state.model_copy(update={"seq": before.seq + 1})
        body = {"questions": list(base.questions), "because": base.because}
        await self._add(key, state.seq, ActKind.REOPEN_STAGE.value, base.stage, body)
        files = [
            StepArtifact(f"{id}.json", ArtifactRef.model_validate(ref)).row(key)
            for id, ref in json.loads(row.sections).items()
        ]
        await self._run(
            _ADD_ARTIFACTS,
            job_id=key.job_id,
            owner_id=key.owner_id,
            step=key.step,
            revision=key.revision,
            artifacts=json.dumps(files),
            simulated=row.simulated,
        )
        return state, str(row.sections)

    async def _add_checkpoint(
        self, key: StepKey, state: SessionState, new: Checkpoint, questionnaire: Questionnaire
    ) -> None:
        """A checkpoint that can be read by itself: what was found before and stands is in it too."""
        stage = questionnaire.stage(new.stage)
        found = {**await self.findings(key.job_id), **{finding.id: finding for finding in new.findings}}
        told = said(await self.entries(key.job_id, state.seq), questionnaire)
        transcript = [
            {"question": question.id, **told[question.id].model_dump(mode="json")}
            for question in stage.questions
            if question.id in told
        ]
        assumptions = [
            {
                "question": question.id,
                "asked": question.text,
                "kind": "skipped" if state.questions[question.id].status is QuestionStatus.SKIPPED else "vague",
            }
            for question in stage.questions
            if state.questions[question.id].status is QuestionStatus.SKIPPED or state.questions[question.id].vague
        ]
        await self._run(
            "INSERT INTO scoping_checkpoints (job_id, stage, number, through_seq, findings, assumptions, transcript, "
            "simulated) VALUES (:job_id, :stage, :number, :seq, CAST(:findings AS jsonb), CAST(:assumptions AS jsonb), "
            "CAST(:transcript AS jsonb), :simulated) ON CONFLICT DO NOTHING",
            job_id=key.job_id,
            stage=new.stage,
            number=new.number,
            seq=state.seq,
            findings=json.dumps(
                [found[plan.id].model_dump(mode="json") for plan in stage.findings if plan.id in found]
            ),
            assumptions=json.dumps(assumptions),
            transcript=json.dumps(transcript),
            simulated=new.simulated,
        )

    async def _add(self, key: StepKey, seq: int, kind: str, stage: int, body: Json) -> None:
        await self._run(
            _ADD_ENTRY,
            id=new_id(),
            job_id=key.job_id,
            owner_id=key.owner_id,
            seq=seq,
            kind=kind,
            stage=stage,
            body=json.dumps(body),
        )

    async def _keep(self, key: StepKey, state: SessionState, *, at_work: bool) -> None:
        await self._run(_KEEP, **_shown(state), job_id=key.job_id, at_work=at_work)
        if not at_work:
            await give_back_turn(self._connection, key.owner_id, key.job_id)

    async def _known(self, job_id: str, *, lock: bool = False) -> Row[Any]:
        row = await self._row(job_id, lock=lock)
        if row is None:
            raise AtelierError(ErrorType.INVALID_STATE, "The session is not open.", details={"session_id": job_id})
        return row

    async def _row(self, job_id: str, *, lock: bool = False) -> Row[Any] | None:
        found: Row[Any] | None = (
            await self._run(
                "SELECT j.title, s.document_id, s.seq, s.at_work, s.kept_run, s.kept_number, s.state::text AS state, "
                "s.brief::text AS brief, s.questionnaire::text AS questionnaire, s.sections::text AS sections "
                "FROM scoping_sessions s JOIN jobs j ON j.id = s.job_id "
                f"WHERE s.job_id = :job_id {'FOR NO KEY UPDATE OF s' if lock else ''}",
                job_id=job_id,
            )
        ).first()
        return found

    async def _run(self, statement: str, **values: Any) -> Any:
        return await self._connection.execute(prepared(statement), values)


def entry(row: Row[Any]) -> Entry:
    """A row that begins with `ENTRY_COLUMNS`."""
    return Entry(id=str(row.id), seq=row.seq, kind=row.kind, stage=row.stage, body=json.loads(row.body), at=row.at)


def _is_at_work(state: SessionState, brief: ScopingBrief) -> bool:
    """Whether it is a model's turn, or a step's, and no person's."""
    return state.phase is not Phase.DONE and not isinstance(
        next_work(state, Plan(brief.questions, brief.findings)), Wait
    )


def _shown(state: SessionState) -> Json:
    """The columns of a state."""
    return {
        "state": state.model_dump_json(),
        "seq": state.seq,
        "stage": current_stage(state),
        "phase": state.phase.value,
    }


def _dump(refs: dict[SectionId, ArtifactRef]) -> str:
    return json.dumps({id.value: ref.model_dump(mode="json") for id, ref in refs.items()})
