"""How calls, budgets, estimates, usage and providers look in a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.client import Json
from cli.figures import ago, dollars, duration, short_id, when
from cli.terminal import visible
from cli.view import fitted_table

_OUTCOMES = {
    "ok": "green",
    "open": "cyan",
    "failed": "red",
    "unknown": "yellow",
    "cancelled": "magenta",
    "superseded": "dim",
}


def calls_view(calls: Sequence[Json], width: int) -> RenderableType:
    """The calls of a job in at most `width` columns, and below why some of them failed."""
    return Group(_calls_table(calls, width), *(_failure(call) for call in calls if call.get("error")))


def _calls_table(calls: Sequence[Json], width: int) -> Table:
    rows = [
        [
            Text(_step(call)),
            Text(_model(call)),
            _outcome(call),
            Text(_count(call["input_tokens"])),
            Text(_count(call["cached_tokens"]), "dim"),
            Text(_count(call["output_tokens"])),
            _call_price(call),
            Text("" if call["latency_ms"] is None else f"{call['latency_ms'] / 1000:.1f} s", "dim"),
        ]
        for call in calls
    ]
    names = ("step", "model", "outcome", "in", "cached", "out", "cost", "took")
    numbers = {"in", "cached", "out", "cost", "took"}
    return fitted_table(names, rows, width, gives_way="outcome", right=numbers, spare=("took", "cached", "model"))


def _failure(call: Json) -> Text:
    """`decompose, attempt 1, claude-haiku-4-5: overloaded. Busy.`"""
    error = call["error"]
    said = " ".join(visible(error.get("message") or "").split())
    line = Text(f"{_step(call)}, attempt {call['attempt']}, {_model(call)}: ", "dim")
    return line.append(str(error["code"]).replace("_", " "), "red").append(f". {said}" if said else "", "dim")


def _model(call: Json) -> str:
    """Without its provider: there is little room."""
    return visible(call["model"]).partition(":")[2]


def _step(call: Json) -> str:
    """`section s1`, `section s1 (2)` for its second revision; a later run is named."""
    revision = f" ({call['revision']})" if call["revision"] > 1 else ""
    run = f", run {call['run']}" if call["run"] > 1 else ""
    return f"{call['step']}{revision}{run}"


def _outcome(call: Json) -> Text:
    text = Text(str(call["outcome"]), _OUTCOMES.get(str(call["outcome"]), ""))
    for fact, holds in (("reused", call["reused"]), ("simulated", call["simulated"]), ("settled", call["settled"])):
        if holds:
            text.append(f" {fact}", "yellow")
    return text


def _call_price(call: Json) -> Text:
    if call["usd"] is not None:
        return Text(dollars(call["usd"]))
    if not call["price_known"]:
        return Text("unknown", "yellow")
    return Text(f"≤ {dollars(call['reserved_usd'] or 0)}", "dim")


def _count(tokens: int) -> str:
    return f"{tokens:,}"


def budget_text(job: Json) -> str:
    """`0f1f2a10: $0.0123 of $0.2500 spent, $0.0488 held, $0.1889 left`."""
    cost = job["cost"]
    short = short_id(str(job["id"]))
    spent, budget, held = float(cost["usd"]), cost.get("budget_usd"), float(cost.get("reserved_usd") or 0)
    facts = [f"{dollars(spent)} spent" if budget is None else f"{dollars(spent)} of {dollars(float(budget))} spent"]
    facts += [f"{dollars(held)} held for calls that are not done"] if held else []
    facts += ["no budget of its own"] if budget is None else [f"{dollars(max(0.0, float(budget) - spent - held))} left"]
    return f"{short}: {', '.join(facts)}"


def month_text(month: Json) -> str:
    """`2026-11: $3.4187 of $20.0000 spent, $16.5325 left; the next month begins on 2026-12-01`."""
    spent, limit, held = float(month["spent_usd"]), month["monthly_usd"], float(month["reserved_usd"])
    facts = [f"{dollars(spent)} spent" if limit is None else f"{dollars(spent)} of {dollars(float(limit))} spent"]
    facts += [f"{dollars(held)} held for calls that are not done"] if held else []
    facts += ["no limit"] if limit is None else [f"{dollars(float(month['left_usd']))} left"]
    ends = when(month["ends_at"])
    return f"{month['month']}: {', '.join(facts)}; the next month begins on {ends:%Y-%m-%d} (UTC)"


def estimate_view(found: Json, width: int, budget: float | None) -> RenderableType:
    """What a job would take, a line a model, and what that rests on."""
    if not found["models"]:
        return Text(f"Nobody can say what {found['pipeline']} would take.")
    rows = [
        [
            Text(visible(one["model"])),
            Text(str(one["calls"])),
            Text(_count(one["input_tokens"])),
            Text(_count(one["output_tokens"])),
            _estimated_price(one, budget),
            Text(duration(60 * float(one["minutes"]))),
        ]
        for one in found["models"]
    ]
    names = ("model", "calls", "in", "out", "cost", "takes")
    table = fitted_table(names, rows, width, gives_way="model", right=set(names) - {"model"}, spare=("in", "out"))
    basis = found["based_on"]
    prompts = ", ".join(f"{one['calls']} × {one['prompt'].rpartition('/')[2]}" for one in basis["calls"])
    return Group(table, Text(), Text(prompts, "dim"), *(Text(visible(note), "dim") for note in basis["notes"]))


def _estimated_price(one: Json, budget: float | None) -> Text:
    if one["usd"] is None:
        return Text("unknown", "yellow")
    over = budget is not None and one["usd"] > budget
    return Text(f"{dollars(one['usd'])} over budget" if over else dollars(one["usd"]), "yellow" if over else "")


def usage_table(found: Json, width: int) -> Table:
    """What was used, in at most `width` columns; the last line adds it all up."""
    by = str(found["by"])
    job = by == "job"
    names = [by, *(["title"] if job else []), "calls", "failed", "in", "out", "cost"]
    rows = [
        _usage_row(item, job, Text(short_id(item["key"]) if job else visible(item["key"]))) for item in found["items"]
    ]
    rows.append([Text.assemble((cell.plain, "bold")) for cell in _usage_row(found["total"], job, Text("total"))])
    if found.get("next_cursor"):
        rows.insert(-1, [Text("…", "dim"), *(Text() for _ in names[1:])])
    gives_way = "title" if job else by
    return fitted_table(
        names, rows, width, gives_way=gives_way, right=set(names) - {by, "title"}, spare=("failed", "in", "out")
    )


def _usage_row(figures: Json, job: bool, name: Text) -> list[Text]:
    title = figures.get("title")
    titles = [Text(visible(title)) if title else Text("deleted" if figures.get("key") else "", "dim")] if job else []
    cost = Text(dollars(figures["usd"]))
    if figures["reserved_usd"]:
        cost.append(f" + {dollars(figures['reserved_usd'])} held", "dim")
    if figures["unpriced_calls"]:
        cost.append(f" + {figures['unpriced_calls']} unknown", "yellow")
    failed = figures["failed_calls"]
    return [
        name,
        *titles,
        Text(_count(figures["calls"])),
        Text(_count(failed) if failed else "", "red"),
        Text(_count(figures["input_tokens"])),
        Text(_count(figures["output_tokens"])),
        cost,
    ]


def provider_lines(providers: Iterable[Json]) -> RenderableType:
    """The providers, each with its models and how it does."""
    lines: list[RenderableType] = []
    for provider in providers:
        lines.append(_provider_line(provider))
        if error := provider["last_error"]:
            code = str(error["code"]).replace("_", " ")
            said = " ".join(visible(error.get("message") or "").split())
            line = Text(f"  last error, {ago(error['at'])}: {code}. {said}", "dim", no_wrap=True, overflow="ellipsis")
            lines.append(line)
        lines += [_model_line(model) for model in provider["models"]] if provider["configured"] else []
    return Group(*lines)


def _provider_line(provider: Json) -> Text:
    text = Text(f"{provider['name']:<10} ", "bold")
    if not provider["configured"]:
        return text.append("not configured", "dim")
    said, style = {True: ("answers", "green"), False: ("does not answer", "red"), None: ("not asked lately", "dim")}[
        provider["reachable"]
    ]
    text.append(said, style)
    if (cooling := when(provider["cooling_down_until"])) is not None:
        text.append(f"  left alone until {cooling.astimezone():%H:%M:%S}", "yellow")
    return text


def _model_line(model: Json) -> Text:
    price = model["usd_per_million"]
    said = "price unknown"
    if price is not None:
        free = not price["input"] and not price["output"]
        said = "free" if free else f"${price['input']:g} in, ${price['output']:g} out a million"
    window = model["context_window"]
    facts = [said] + ([f"{window:,} tokens"] if window else [])
    style = "" if model["default"] else "dim"
    line = Text(f"  {visible(model['model']):<34}", style, no_wrap=True, overflow="ellipsis")
    line.append("  ".join(facts), "dim")
    return line.append("  default", "cyan") if model["default"] else line
