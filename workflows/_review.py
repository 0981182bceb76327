"""The review gate: where a workflow asks a person, and takes their answer by an update with a validator."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from core.contracts.base import Json
from core.contracts.jobs import Answer, AnswerFile, JobActivities, StepKey, StepRequest, StoreAnswer
from core.contracts.options import DB
from workflows._errors import cause_of, refused
from workflows._job import JobWorkflow


class ReviewGate:
    """One question at a time. An answer is stored as the step that the question is, before it is acknowledged: so no
    run of the job asks again."""

    def __init__(self, job: JobWorkflow) -> None:
        self._job = job
        self._key: StepKey | None = None
        self._settling = False
        self._answer: Answer | None = None

    @property
    def round(self) -> int | None:
        """Which question is open: the revision of its step."""
        return None if self._key is None else self._key.revision

    async def ask(self, key: StepKey, question: Json) -> Answer:
        """The answer to a question: the stored one, or a person's. Raises `review_expired`."""
        stored = await workflow.execute_activity_method(
            JobActivities.read_answer, StepRequest(key=key), summary=key.step, **DB
        )
        if stored.answer is not None:
            self._job.step_done(key)
            return stored.answer
        self._key, self._answer = key, None
        try:
            await self._job.wait_for_person(
                key.stage, question, lambda: self._answer is not None, lambda: self._settling
            )
        finally:
            self._key = None
        self._job.step_done(key)
        return self._taken()

    def check(self, round: int | None) -> None:
        """Whether an answer can be taken now; for validators. Raises `invalid_state`."""
        if self._key is None or self._answer is not None:
            raise refused("Nothing is asked at the moment, or it was answered a moment ago. Read the job again.")
        if self._settling:
            raise refused("Another answer came first and is being stored. Read the job again.")
        if round is not None and round != self._key.revision:
            raise refused(f"The question is now about round {self._key.revision}, and the answer about {round}.")

    async def take(self, act: str, body_sha256: str, data: Json, files: tuple[AnswerFile, ...] = ()) -> Answer:
        """Store an answer that `check` let pass. The one that is stored: an earlier run may have had another."""
        assert self._key is not None
        update = workflow.current_update_info()
        answer = Answer(act=act, update_id=update.id if update else "", body_sha256=body_sha256, data=data, files=files)
        self._settling = True
        try:
            stored = await workflow.execute_activity_method(
                JobActivities.store_answer, StoreAnswer(key=self._key, answer=answer), summary=act, **DB
            )
        except ActivityError as error:
            # It fails the update and not the workflow.
            raise cause_of(error, "The answer could not be stored.") from error
        finally:
            self._settling = False
        self._answer = stored.answer
        return self._taken()

    def _taken(self) -> Answer:
        assert self._answer is not None
        return self._answer
