"""A scoping session over REST, as its user has it, and what its models were asked."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import httpx

from core.contracts.scoping_questions import QUESTIONNAIRE
from tests.support.stack import User, eventually
from tests.support.wire_messages import WireRequest

View = dict[str, Any]
NEW = {"name": "Sorted mail", "description": "Sort what comes in at the service desk."}
STAGES = tuple(stage.number for stage in QUESTIONNAIRE.stages)
SECTIONS = ("summary", "problem", "value", "data", "users", "risk", "plan", "decision")


def said_of(question: str) -> str:
    """An answer that is clear, and like no other's."""
    return f"Of {question} our night shift counted 40 in May, as the report of the week says."


def answers_to(stage: int) -> dict[str, str]:
    """An answer to each question of a stage."""
    return {question.id: said_of(question.id) for question in QUESTIONNAIRE.stage(stage).questions}


class Talk:
    """One session. `user` may be replaced by one of another API process."""

    def __init__(self, user: User, id: str) -> None:
        self.user = user
        self.id = id

    async def view(self) -> View:
        """The session as it is shown."""
        return await self.user.get(f"sessions/{self.id}")

    async def until(self, holds: Callable[[View], bool], seconds: float = 60) -> View:
        """The session, once something holds of it."""
        return await eventually(self.view, holds, seconds)

    async def asks(self, stage: int) -> View:
        """The session, once it asks a stage."""
        return await self.until(lambda view: view["asked"] is not None and view["asked"]["stage"] == stage)

    async def troubled(self, step: str) -> View:
        """The session, once every model has failed at a step."""
        return await self.until(lambda view: view["trouble"] is not None and view["trouble"]["step"] == step)

    async def send(self, act: str, body: View | None = None, key: str | None = None) -> httpx.Response:
        """Say something, however it is answered."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.user.http.post(f"/v1/sessions/{self.id}/{act}", json=body or {}, headers=headers)

    async def say(self, act: str, body: View | None = None, key: str | None = None) -> View:
        """Say something that is taken."""
        return await self.user.post(f"sessions/{self.id}/{act}", body, key=key)

    async def answer(self, stage: int, key: str | None = None) -> View:
        """Answer all questions of a stage."""
        return await self.say(f"stages/{stage}/answers", {"answers": answers_to(stage)}, key)

    async def transcript(self) -> View:
        """All that was said and found."""
        return await self.user.get(f"sessions/{self.id}/transcript")

    async def entries(self) -> list[tuple[int, str, int | None]]:
        """What was said and taken, without the words."""
        return [(one["seq"], one["kind"], one["stage"]) for one in (await self.transcript())["entries"]]

    async def completed(self, seconds: float = 90) -> View:
        """The session, once it has ended well."""
        await self.user.until(self.id, "completed", seconds=seconds)
        return await self.view()

    async def charter(self) -> View:
        """Its charter's version, with the text."""
        return await self.user.get(f"sessions/{self.id}/charter")


async def begin(user: User, **fields: Any) -> Talk:
    """A session that was accepted."""
    return Talk(user, (await user.post("sessions", {**NEW, **fields}))["id"])


def step_of(request: WireRequest) -> str:
    """The step that a model is asked for, told from the request: `judge stage 1`, `check`, `section plan`."""
    properties = request.schema.get("properties", {})
    if "contradictions" in properties:
        return "check"
    if "statements" in properties:
        return f"section {_told(request, r'Write the section `(.+)` of the charter')}"
    if "verdicts" in properties:
        return f"judge stage {_told(request, r'Judge the answers of stage (.)')}"
    return f"close stage {_told(request, r'State what stage (.) found')}"


def _told(request: WireRequest, line: str) -> str:
    found = re.search(f"^{line}", request.asked, re.MULTILINE)
    assert found is not None, request.asked
    return found[1]


def is_step(*steps: str) -> Callable[[WireRequest], bool]:
    """Whether a request is for one of the steps."""
    return lambda request: step_of(request) in steps


def times_asked(requests: Iterable[WireRequest]) -> Counter[str]:
    """How often models were asked for each step."""
    return Counter(step_of(request) for request in requests)


ONCE = Counter(
    [f"{verb} stage {stage}" for stage in STAGES for verb in ("judge", "close")]
    + ["check"]
    + [f"section {section}" for section in SECTIONS]
)
"""What a session asks whose answers are all clear."""
