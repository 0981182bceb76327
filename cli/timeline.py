"""What a job's events tell of its steps: which stages there are, what is done, what runs, what is tried again, and what
is being written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.figures import dollars, until

_TAIL = 400
"""Characters of unfinished text that are kept: the end is what moves."""


@dataclass
class Writing:
    """Text that a model is still writing at a step: of one attempt, up to `length` characters, of which the last are
    kept."""

    stage: str
    attempt_id: str
    length: int = 0
    tail: str = ""

    def add(self, offset: int, text: str) -> None:
        """Take in a piece. One that overlaps what is there is cut; one behind a gap replaces it."""
        if offset > self.length:
            self.tail = ""
        self.tail = (self.tail + text[max(0, self.length - offset) :])[-_TAIL:]
        self.length = max(self.length, offset + len(text))


@dataclass
class Stage:
    """The steps of one stage, in the order in which they were first heard of. True: done."""

    name: str
    steps: dict[str, bool] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    """1 is the first time that a step is taken; a section that is revised has more."""
    troubled: dict[str, str] = field(default_factory=dict)
    """Steps whose last attempt failed, and why; forgotten when the step is done."""

    @property
    def done(self) -> list[str]:
        """Finished steps."""
        return [name for name, done in self.steps.items() if done]

    @property
    def running(self) -> list[str]:
        """Steps under way, `s2` before `s10`."""
        return sorted((name for name, done in self.steps.items() if not done), key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


class Timeline:
    """Built by applying a job's events in order; an event that comes twice changes nothing."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.steps_done = 0
        self.total_steps = 0
        self.writing: dict[str, Writing] = {}
        """By step; the one that was heard of last comes last."""
        self._seq = 0

    def apply(self, event: Mapping[str, Any]) -> str | None:
        """Take in one event and return the line that tells of it, if it is worth one in a plain log."""
        seq = int(event.get("seq") or 0)
        if seq and seq <= self._seq:
            return None
        self._seq = max(seq, self._seq)
        kind = str(event.get("type", ""))
        data: Mapping[str, Any] = event["data"] if isinstance(event.get("data"), dict) else event
        self.steps_done = int(data.get("steps_done") or self.steps_done)
        self.total_steps = int(data.get("total_steps") or self.total_steps)
        if kind == "step.text":
            self._apply_text(data)
            return None
        if kind.startswith("step."):
            return self._apply_step(kind, data)
        if kind in {"job.started", "job.retried"}:
            self.writing.clear()
            for stage in self.stages.values():  # what was under way ended with the run before
                stage.steps = {name: done for name, done in stage.steps.items() if done}
                stage.troubled.clear()
        if kind == "job.status":
            return str(data.get("status", "")).replace("_", " ")
        if kind == "job.failed":
            error = data.get("error") or {}
            return f"failed: {error.get('message') or error.get('code') or 'no reason given'}"
        if kind == "job.budget":
            return _budget_line(data)
        if kind == "job.budget_raised":
            return f"budget raised to {dollars(float(data.get('budget_usd') or 0))}"
        if kind == "job.reminder":
            return f"still waits for you{until(data.get('expires_at'))}"
        return kind.removeprefix("job.").replace("_", " ") if kind.startswith("job.") else None

    def _apply_text(self, data: Mapping[str, Any]) -> None:
        """A piece of unfinished text. Another attempt begins anew."""
        step, attempt_id = str(data.get("step", "")), str(data.get("attempt_id", ""))
        writing = self.writing.pop(step, None)
        if writing is None or writing.attempt_id != attempt_id:
            writing = Writing(str(data.get("stage") or "steps"), attempt_id)
        writing.add(int(data.get("offset") or 0), str(data.get("text") or ""))
        self.writing[step] = writing

    def _apply_step(self, kind: str, data: Mapping[str, Any]) -> str | None:
        step, name = str(data.get("step", "")), str(data.get("stage") or "steps")
        first = name not in self.stages
        stage = self.stages.setdefault(name, Stage(name))
        revision = int(data.get("revision") or 1)
        if revision < stage.revisions.get(step, 1):
            return None  # late news of what has been overtaken
        if revision > stage.revisions.get(step, 1):
            stage.steps[step] = False
        stage.revisions[step] = revision
        self.writing.pop(step, None)
        if kind == "step.started":
            stage.steps.setdefault(step, False)
            return f"{name} begins" if first and name != step else None
        if kind == "step.completed":
            stage.steps[step] = True
            stage.troubled.pop(step, None)
            return f"{step} done again" if revision > 1 else f"{step} done"
        if kind == "step.failed" and not stage.steps.get(step):
            stage.steps[step] = False
            error = data.get("error") or {}
            why = str(error.get("code") or data.get("outcome") or "failed").replace("_", " ")
            stage.troubled[step] = why
            return f"{step} failed ({why}): {error.get('message') or 'its attempt was cut off'}"
        return None


def _budget_line(data: Mapping[str, Any]) -> str:
    """`80 % of its budget is spent: $0.2004 of $0.2500`."""
    amounts = {name: dollars(float(data.get(f"{name}_usd") or 0)) for name in ("spent", "budget")}
    whose = "the month's" if data.get("which") == "month" else "its"
    if data.get("refused"):
        return f"{whose} budget allows no further call: {amounts['spent']} of {amounts['budget']} spent"
    return f"{data.get('percent')} % of {whose} budget is spent: {amounts['spent']} of {amounts['budget']}"
