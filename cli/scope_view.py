"""How scoping sessions and their charters look in a terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.client import Json
from cli.figures import ago, counted, duration, short_id, until, when
from cli.scope_drafts import Reply
from cli.terminal import visible
from cli.view import fitted_table, status_text

VIEWS = {"go": ("Go", "green"), "go_with_conditions": ("Go, with conditions", "yellow"), "no_go": ("No go", "red")}
_STAGE_MARKS = {"closed": ("✓", "green"), "open": ("▸", "cyan"), "reopened": ("↻", "yellow"), "upcoming": ("·", "dim")}
_ACTS = {
    "answer_stage": "Answers",
    "answer_follow_up": "Answers to what was asked back",
    "skip_question": "Skipped",
    "reopen_stage": "Reopened",
    "resolve_contradiction": "What holds of two answers",
    "finish": "No more questions",
    "follow_ups": "Asked back",
}


_WORK = {
    "judge": "Your answers are being read",
    "close": "What they come to is being written down",
    "check": "The answers of all stages are being compared",
    "section": "The charter is being written",
    "assemble": "The charter is being put together",
    "export": "The files of the charter are being made",
}
"""What a session is at, by the beginning of its step's name."""


def view_text(decision: object) -> Text:
    """Whether to go on, in words and colour."""
    words, style = VIEWS.get(str(decision), (str(decision), ""))
    return Text(words, style)


def sessions_table(sessions: Iterable[Json], width: int) -> Table:
    """The list of sessions, in at most `width` columns."""
    names = ("id", "name", "status", "stage", "charter", "changed")
    rows = [
        [
            Text(short_id(str(one["id"]))),
            Text(visible(one["name"])),
            status_text(one),
            Text("" if one["stage"] is None else f"{one['stage']} of 5"),
            _charter_cell(one),
            Text(ago(one["updated_at"]), "dim"),
        ]
        for one in sessions
    ]
    return fitted_table(names, rows, width, gives_way="name", right=(), spare=("changed", "stage"))


def _charter_cell(one: Json) -> Text:
    if one["version"] is None:
        return Text()
    return Text(f"{one['version']}: ").append_text(view_text(one["decision"]))


def session_text(session: Json, width: int) -> RenderableType:
    """All that a person wants to know of one session, in at most `width` columns."""
    head = status_text(session).append(f"  {session['id']}", "dim")
    if session["simulated"]:
        head.append("  ·  simulated: no model was asked", "yellow")
    lines: list[RenderableType] = [
        Text(visible(session["name"]), "bold"),
        head,
        Text(visible(session["description"]), "dim"),
        Text(),
        stages_text(session),
    ]
    if before := session["reopened_from"]:
        said = f"reopens stage {before['stage']} of version {before['version']} ({short_id(before['session_id'])})"
        lines.append(Text(said, "dim"))
    lines += [Text(), *_standing(session)]
    return Constrain(Group(*lines), width)


def stages_text(session: Json) -> RenderableType:
    """The stages, and how far each is."""
    table = Table.grid(padding=(0, 2))
    for stage in session["stages"]:
        mark, style = _STAGE_MARKS.get(str(stage["status"]), ("?", ""))
        count = f"{stage['settled']} of {stage['questions']}"
        table.add_row(Text(mark, style), Text(f"{stage['number']}  {visible(stage['title'])}"), Text(count, "dim"))
    return table


def _standing(session: Json) -> list[RenderableType]:
    """Whose turn it is, and how to go on."""
    short = short_id(str(session["id"]))
    if session["charter"]:
        line = Text(f"Charter, version {session['charter']['version']}: ").append_text(
            view_text(session["charter"]["decision"])
        )
        return [line, Text(f"Its files: atelier sessions charter {short}", "dim")]
    if session["trouble"]:
        return [Text(trouble_text(session), "yellow")]
    if session["status"] == "failed":
        return [Text(visible(ending(session)), "red"), Text(f"Go on with it: atelier scope --continue {short}", "dim")]
    if session["status"] in ("cancelled", "paused", "waiting_for_budget"):
        return [Text(f"Where it stands: atelier show {short}", "dim")]
    if session["working"]:
        return [Text("A model is at work.", "cyan")]
    waits = f"It waits for you{until(session['expires_at'])}: {_wanted(session)}"
    return [Text(waits, "yellow"), Text(f"Go on with it: atelier scope --continue {short}", "dim")]


def _wanted(session: Json) -> str:
    if session["contradictions"]:
        return counted(len(session["contradictions"]), "contradiction")
    asked = session["asked"] or {"questions": (), "stage": "?"}
    return f"{counted(len(asked['questions']), 'question')} of stage {asked['stage']}"


def ending(session: Json) -> str:
    """Why a session failed."""
    error = session["error"] or {}
    if error.get("code") == "review_expired":
        return "The session expired, as nobody went on with it. All that was said is kept."
    return f"The session failed: {str(error.get('message') or error.get('code') or 'no reason given').rstrip('.')}."


def trouble_text(session: Json) -> str:
    """That no model answers, and when it is tried again."""
    trouble = session["trouble"]
    again = when(trouble["again_at"])
    clock = f" at {again.astimezone():%H:%M:%S}" if again else " soon"
    reason = visible(trouble["message"]).rstrip(".")
    return f"No model answers ({reason}). What you said is kept; it is tried again{clock}."


def working_text(session: Json, step: str, seconds: float) -> str:
    """What happens by itself, for a status line."""
    if session["trouble"]:
        return trouble_text(session)
    if " stage " in step and not step.endswith(f" {session['stage']}"):
        step = ""  # it was done, and the next one has not begun
    said = next((words for start, words in _WORK.items() if step.startswith(start)), "A moment")
    if session["status"] == "pending":
        said = "The session waits for a worker"
    stage = f", stage {step.removeprefix('judge stage ').removeprefix('close stage ')}" if " stage " in step else ""
    return f"{said}{stage}  {duration(seconds)}"


def stage_head(session: Json, width: int) -> RenderableType:
    """The beginning of a stage."""
    asked = session["asked"]
    line = Text(f"Stage {asked['stage']} of {len(session['stages'])}: ", "cyan").append(
        visible(asked["title"]), "bold cyan"
    )
    return Constrain(Group(Text(), line, Text(visible(asked["purpose"]), "dim")), width)


def question_text(question: Json, place: int, total: int, width: int) -> RenderableType:
    """One question with what is meant; a follow-up with what it is about."""
    head = Text(f"{place} of {total}  ", "dim")
    lines: list[RenderableType] = [Text()]
    if question["status"] == "follow_up":
        lines.append(head.append(visible(question["text"]), "dim"))
        lines += [Padding(Text(f"You said: {visible(said)}", "dim"), (0, 0, 0, 2)) for said in question["said"]]
        lines.append(Text(visible(question["follow_up"]), "bold"))
    else:
        lines.append(head.append(visible(question["text"]), "bold"))
        lines.append(Text(visible(question["help"]), "dim"))
        if question["said"]:
            why = "Asked again, as what it rests on is. " if question["stale"] else ""
            before = " / ".join(visible(said) for said in question["said"])
            lines.append(Text(f"{why}You said before: {before}", "yellow"))
    return Constrain(Group(*lines), width)


def reply_text(reply: Reply) -> str:
    """What is held of an answer, in a line."""
    if reply.said is None:
        return f"skipped{f' ({reply.because})' if reply.because else ''}"
    return " ".join(visible(reply.said).split())


def summary_text(questions: Sequence[Json], replies: Sequence[Reply | None], width: int) -> RenderableType:
    """What will be sent, a line a question."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(style="dim", no_wrap=True, justify="right", min_width=2)
    table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    for number, reply in enumerate(replies, 1):
        table.add_row(str(number), Text("not answered", "dim") if reply is None else Text(reply_text(reply)))
    return Constrain(Group(Text(), table), width)


def contradiction_text(contradiction: Json, left: int, width: int) -> RenderableType:
    """Two answers that cannot both hold, and what is asked about them."""
    lines: list[RenderableType] = [
        Text(),
        Text("Two answers do not fit together", "cyan").append(f"  ·  {left} to settle", "dim"),
        Text(visible(contradiction["why"])),
    ]
    for number, name in ((1, "first"), (2, "second")):
        side = contradiction[name]
        lines.append(Text(f"{number}  ", "bold").append(f"stage {side['stage']}: {visible(side['asked'])}", "dim"))
        lines += [Padding(Text(visible(said)), (0, 0, 0, 3)) for said in side["said"]]
    lines.append(Text(visible(contradiction["question"]), "bold"))
    return Constrain(Group(*lines), width)


def transcript_markdown(transcript: Json, stages: Sequence[Json]) -> str:
    """All that was said in a session, in order, as Markdown. `stages` have the questions' words."""
    asked = {
        str(question["id"]): f"{stage['number']}.{place} {question['text']}"
        for stage in stages
        for place, question in enumerate(stage["questions"], 1)
    }
    parts = [f"# {transcript['name']}", str(transcript["description"])]
    for entry in transcript["entries"]:
        stage = f", stage {entry['stage']}" if entry["stage"] else ""
        parts.append(f"## {_ACTS.get(entry['kind'], entry['kind'])}{stage}")
        parts += _entry(entry["body"], asked)
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _entry(body: Json, asked: Mapping[str, str]) -> Iterator[str]:
    """What was said, each text below the question that it is about."""
    said = body.get("answers") or body.get("follow_ups") or {}
    for id in sorted(said, key=list(asked).index):
        yield f"**{asked[id]}**"
        yield str(said[id])
    for id in body.get("questions") or filter(None, [body.get("question")]):
        yield f"**{asked[id]}**"
    if body.get("contradiction"):
        first, second, _ = str(body["contradiction"]).split("-")
        yield f"**{asked[first]}** against **{asked[second]}**: {body['holds']}"
    yield from filter(None, (str(body.get(name) or "") for name in ("because", "text")))


def versions_table(versions: Iterable[Json], width: int) -> Table:
    """The versions of a charter, in at most `width` columns."""
    rows = [
        [
            Text(str(one["number"]), "bold"),
            Text("" if one["parent"] is None else f"{one['parent']}, stage {one['reopened']} reopened"),
            view_text(one["decision"]),
            Text(short_id(str(one["session_id"])), "dim"),
            Text(ago(one["created_at"]), "dim"),
        ]
        for one in versions
    ]
    names = ("version", "from", "view", "session", "made")
    return fitted_table(names, rows, width, gives_way="from", right=("version",), spare=("made",))
