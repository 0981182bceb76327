"""What is kept of sessions: their state, what people did, checkpoints, and versions of charters."""

from temporalio import activity

from activities.scoping.base import ScopingBase
from core.contracts.base import implements
from core.contracts.scoping import ActTaken
from core.contracts.scoping_questions import Questionnaire
from core.contracts.scoping_steps import (
    CharterKept,
    KeepAct,
    KeepCharter,
    KeepState,
    OpenSession,
    ScopingActivities,
    SessionOpened,
    StateKept,
)
from core.db.repositories.scoping import SessionRepository
from core.db.repositories.steps import Kept


class Keeping(ScopingBase):
    """The steps that read and write sessions in the database: each is one transaction."""

    @implements(ScopingActivities.open_session)
    async def open_session(self, request: OpenSession) -> SessionOpened:
        """Idempotent by the job: a session that is there is given as it stands."""
        questionnaire = await self._read(Questionnaire, request.brief.questionnaire)
        async with self._database.transaction() as connection:
            state, sections = await SessionRepository(connection).open(
                request.key, request.brief, questionnaire.model_dump(mode="json")
            )
        return SessionOpened(state=state, sections=sections)

    @implements(ScopingActivities.keep_act)
    async def keep_act(self, request: KeepAct) -> ActTaken:
        """Idempotent by the entry: a second time changes nothing and answers the same."""
        async with self._database.transaction() as connection:
            return await SessionRepository(connection).keep_act(request)

    @implements(ScopingActivities.keep_state)
    async def keep_state(self, request: KeepState) -> StateKept:
        """Idempotent by (run, number)."""
        async with self._database.transaction() as connection:
            return StateKept(turn=await SessionRepository(connection).keep_state(request))

    @implements(ScopingActivities.keep_charter)
    async def keep_charter(self, request: KeepCharter) -> CharterKept:
        """Idempotent by the job: it has one version, whose number is the same each time."""
        key = request.key

        async def work() -> Kept[CharterKept]:
            async with self._database.transaction() as connection:
                sessions = SessionRepository(connection)
                session = await sessions.session(key.job_id)
                kept = await sessions.keep_charter(request, session.name)
            return Kept(kept, (), request.simulated)

        return await self._steps.once(key, CharterKept, work, attempt=activity.info().attempt)
