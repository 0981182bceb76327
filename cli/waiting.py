"""What a job waits for, and how to go on with it."""

from rich.text import Text

from cli.client import Json
from cli.figures import counted, dollars, plain, short_id, until


def outline_asked(job: Json) -> int | None:
    """The round of the outline that the job waits for a person's word on; None when it does not."""
    waiting = job.get("waiting_for") or {}
    if job.get("status") != "waiting_for_input" or waiting.get("what") != "outline_review":
        return None
    return int(waiting.get("round") or 1)


def waiting_text(job: Json) -> str:
    """What a job waits for, in words."""
    waiting = job.get("waiting_for") or {}
    if waiting.get("what") == "budget":
        return _budget_text(waiting)
    if waiting.get("what") in _SESSION:
        return f"{_SESSION[waiting['what']].format(**_counts(waiting))}{until(waiting.get('expires_at'))}"
    if waiting.get("what") != "outline_review":
        return plain(waiting)
    facts = [f"round {waiting['round']}"] if int(waiting.get("round") or 1) > 1 else []
    facts += [f"{waiting['sections']} sections"] if waiting.get("sections") else []
    facts += [f"{int(waiting['words']):,} words"] if waiting.get("words") else []
    return f"your word on its outline ({', '.join(facts)}){until(waiting.get('expires_at'))}"


_SESSION = {
    "scoping_stage": "your answers: {questions} of stage {stage}",
    "scoping_contradictions": "your word: {contradictions}",
}
"""What a scoping session waits for."""


def _counts(waiting: Json) -> dict[str, str]:
    questions, back, pairs = (len(waiting.get(name) or ()) for name in ("questions", "follow_ups", "contradictions"))
    return {
        "stage": str(waiting.get("stage")),
        "questions": counted(questions + back, "question"),
        "contradictions": counted(pairs, "contradiction"),
    }


def _budget_text(waiting: Json) -> str:
    """`more money: $0.4810 of its budget of $0.5000 is spent; the next call can cost $0.0312`."""
    amounts = {name: float(waiting.get(f"{name}_usd") or 0) for name in ("budget", "spent", "reserved", "needed")}
    whose = "the month's" if waiting.get("which") == "month" else "its budget of"
    held = f" and {dollars(amounts['reserved'])} held" if amounts["reserved"] else ""
    return (
        f"more money: {dollars(amounts['spent'])} of {whose} {dollars(amounts['budget'])} is spent{held}; "
        f"the next call can cost {dollars(amounts['needed'])}"
    )


def go_on_lines(job: Json) -> Text | None:
    """How to go on with a job that waits for a person; None when it does not."""
    if outline_asked(job):
        return outline_lines(short_id(str(job["id"])))
    waiting = job.get("waiting_for") or {}
    if job.get("status") == "waiting_for_input" and waiting.get("what") in _SESSION:
        return _acts((f"atelier scope --continue {short_id(str(job['id']))}", "answer it"))
    if job.get("status") != "waiting_for_budget" or waiting.get("what") != "budget":
        return None
    if waiting.get("which") == "month":
        return _acts(("atelier budget --monthly USD", "let the month cost more, or wait until it ends"))
    return _acts((f"atelier budget {short_id(str(job['id']))} --add USD", "let it cost more"))


def outline_lines(short: str) -> Text:
    """How to go on with a job that waits for a word on its outline."""
    return _acts(
        (f"atelier outline approve {short}", "write it so"),
        (f"atelier outline edit {short}", "change it first"),
        (f'atelier outline again {short} "…"', "have it planned anew, like this"),
    )


def _acts(*acts: tuple[str, str]) -> Text:
    width = max(len(command) for command, _ in acts)
    lines = Text()
    for number, (command, meaning) in enumerate(acts):
        lines.append(f"{chr(10) if number else ''}{command:<{width}}").append(f"  {meaning}", "dim")
    return lines
