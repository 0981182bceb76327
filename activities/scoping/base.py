"""What all steps of `scoping` work with."""

from activities.scoping.material import Material
from activities.stored import Stored
from core.artifacts.store import ArtifactStore
from core.contracts.jobs import StepKey
from core.contracts.scoping_entries import said
from core.contracts.scoping_steps import ScopingActivities
from core.db.engine import Database
from core.db.repositories.scoping import SessionRepository
from core.ledger.free import FreeSteps
from core.llm.gateway import Gateway


class ScopingBase(Stored, ScopingActivities):
    """The dependencies, and what a session has gathered."""

    def __init__(self, gateway: Gateway, steps: FreeSteps, store: ArtifactStore, database: Database) -> None:
        self._gateway = gateway
        self._steps = steps
        self._store = store
        self._database = database

    async def _material(self, key: StepKey, seq: int) -> Material:
        """The session as it stands at the act `seq`, in one look. Raises `INVALID_STATE` when it is gone."""
        async with self._database.transaction() as connection:
            sessions = SessionRepository(connection)
            session = await sessions.session(key.job_id)
            entries = await sessions.entries(key.job_id, seq)
            findings = await sessions.findings(key.job_id)
        return Material(
            name=session.name,
            description=session.description,
            language=session.language,
            questionnaire=session.questionnaire,
            state=session.state,
            said=said(entries, session.questionnaire),
            findings=findings,
        )
