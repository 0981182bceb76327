"""How accounts, keys, limits, providers and lines of the audit log look in a terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.client import Json
from cli.figures import ago, dollars, short_id, size, when
from cli.home import Access, Source
from cli.terminal import visible
from cli.view import fitted_table

_WHOLE_ID = 36  # characters
COUNTED = {
    "submissions": "account",
    "all_submissions": "deployment",
    "jobs_at_once": "account",
    "anonymous": "address",
    "logins": "address",
    "account_logins": "network",
    "all_account_logins": "email",
    "confirmations": "account",
    "wrong_confirmations": "account",
    "deliveries": "account",
}
"""What a limit is of."""
_PER = {3600: "an hour", 60: "a minute", None: "at once"}


def me_lines(me: Json, access: Access, home: Path) -> RenderableType:
    """Who it is, where, by what, and what they may do."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    email = f" <{me['email']}>" if me["email"] else ""
    table.add_row("account", Text(visible(f"{me['name']}{email}")))
    table.add_row("id", Text(f"{me['id']}"))
    table.add_row("role", Text(str(me["role"])))
    table.add_row("at", Text(access.url))
    by = {
        Source.ENVIRONMENT: "the key in ATELIER_API_KEY",
        Source.UP: f"the key that `atelier up` noted in {home}",
        Source.LOGIN: "a login",
    }[access.source]
    scopes = " and ".join(me["scopes"])
    table.add_row("by", Text(by if me["via"] == "login" else f"{by}, which may {scopes}"))
    if limits := me["limits"]:
        said = f"{limits['submissions_per_hour']:,} jobs an hour, {limits['jobs_at_once']:,} at once"
        table.add_row("limits", Text(said))
    return table


def keys_table(keys: Sequence[Json], width: int) -> Table:
    """Keys in at most `width` columns."""
    rows = [
        [
            Text(short_id(str(key["id"]))),
            Text(visible(key["name"])),
            Text(", ".join(key["scopes"])),
            _key_state(key),
            Text(ago(key["last_used_at"]) or "never", "dim"),
            Text(ago(key["created_at"]), "dim"),
        ]
        for key in keys
    ]
    names = ("id", "name", "may", "ends", "last used", "made")
    return fitted_table(names, rows, width, gives_way="name", right=(), spare=("made", "last used"))


def _key_state(key: Json) -> Text:
    if key["revoked_at"]:
        return Text(f"revoked {ago(key['revoked_at'])}", "red")
    ends = when(key["expires_at"])
    if ends is None:
        return Text("never", "dim")
    return Text("expired", "red") if ends < datetime.now(UTC) else Text(f"{ends.astimezone():%Y-%m-%d}")


def audit_table(lines: Sequence[Json], width: int, *, of_all: bool = False) -> Table:
    """Lines of the audit log in at most `width` columns; `of_all` with whose they are."""
    rows = [
        [
            Text(ago(line["at"]), "dim"),
            *([Text(short_id(line["account_id"] or ""))] if of_all else []),
            Text(visible(line["action"])),
            Text(visible(_resource(line)), "cyan"),
            _actor(line),
            Text(visible(line["ip"] or ""), "dim"),
        ]
        for line in lines
    ]
    names = ["when", *(["account"] if of_all else []), "action", "what", "by", "from"]
    return fitted_table(names, rows, width, gives_way="what", right=(), spare=("from",))


def _resource(line: Json) -> str:
    """What was changed, as `role: admin`, or which thing, as `jobs/8a6f10c2`."""
    if line["details"]:
        return ", ".join(f"{name.replace('_', ' ')}: {_set(value)}" for name, value in line["details"].items())
    return "/".join(short_id(part) if len(part) == _WHOLE_ID else part for part in str(line["resource"]).split("/"))


def _set(value: object) -> str:
    """What a limit was set to; None is whatever the settings say."""
    return "as the settings say" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _actor(line: Json) -> Text:
    if line["actor_id"] and line["account_id"] and line["actor_id"] != line["account_id"]:
        return Text(f"another, {short_id(line['actor_id'])}", "yellow")
    via = str(line["via"])
    return Text(f"{via} {short_id(line['via_id'])}" if line["via_id"] else via, "yellow" if via == "command" else "")


def erased_text(erasure: Json) -> str:
    """What a deletion erased."""
    erased = erasure["erased"]
    if not erasure["finished_at"]:
        return f"The account is closed, and its data are being erased: GET /v1/erasures/{erasure['id']} says how far."
    names = (
        ("jobs", "job"),
        ("documents", "document"),
        ("artifacts", "artifact"),
        ("histories", "workflow history"),
        ("uploads", "upload"),
        ("hooks", "webhook"),
    )
    counted = [_counted(erased[name], thing) for name, thing in names]
    stays = f"What stays: that {_counted(erased['calls_kept'], 'call')} cost {dollars(erased['usd_kept'])}."
    files = f"{_counted(erased['objects'], 'file')} of {size(erased['bytes'])}"
    logins = f"{_counted(erased['keys'], 'key')} and {_counted(erased['logins'], 'login')}"
    return f"Erased: {', '.join(counted)}, {files}, {logins}. {stays}"


def _counted(number: int, thing: str) -> str:
    plural = {"history": "histories", "address": "addresses"}
    first, space, last = thing.rpartition(" ")
    several = first + space + plural.get(last, f"{last}s")
    return f"{number:,} {thing if number == 1 else several}"


# ---------------------------------------------------------------------------------------------- for admins


def accounts_table(accounts: Sequence[Json], width: int) -> Table:
    """Accounts in at most `width` columns."""
    rows = [
        [
            Text(short_id(str(one["id"]))),
            Text(visible(one["name"])),
            Text(visible(one["email"] or ""), "dim"),
            Text(str(one["role"]), "yellow" if one["role"] == "admin" else ""),
            Text(f"{one['jobs']:,}"),
            Text(dollars(one["spent_this_month_usd"])),
            Text(limits_text(one["limits"]), "dim"),
            Text(ago(one["last_used_at"]) or "never", "dim"),
        ]
        for one in accounts
    ]
    names = ("id", "name", "email", "role", "jobs", "month", "own limits", "last used")
    return fitted_table(
        names, rows, width, gives_way="email", right={"jobs", "month"}, spare=("own limits", "last used", "name")
    )


def limits_text(limits: Json) -> str:
    """`500/h, 5 at once, $50/month`; empty where all is as the settings say."""
    facts = [
        f"{limits['submissions_per_hour']:,}/h" if limits["submissions_per_hour"] else "",
        f"{limits['jobs_at_once']:,} at once" if limits["jobs_at_once"] else "",
        f"${limits['monthly_usd']:g}/month" if limits["monthly_usd"] is not None else "",
    ]
    return ", ".join(fact for fact in facts if fact)


def limit_lines(found: Json) -> RenderableType:
    """Each limit, how it stands, and who is near it."""
    lines: list[RenderableType] = [] if found["enabled"] else [Text("No limit holds here (LIMITS=false).", "yellow")]
    for limit in found["items"]:
        per = _PER.get(limit["seconds"], f"in {limit['seconds']} s")
        line = Text(f"{limit['name'].replace('_', ' '):<16} ", "bold").append(
            f"{limit['quota']:>6,} {per:<9} ", "default"
        )
        if limit["subjects"]:
            line.append(f" {_counted(limit['subjects'], COUNTED[limit['name']])}", "dim")
            line.append(f", the most is {limit['highest']:,g}", "dim")
        for count, said, style in ((limit["near"], "near it", "yellow"), (limit["reached"], "refused", "red")):
            line.append(f"  {count} {said}" if count else "", style)
        lines.append(line)
        lines += [_use_line(use) for use in limit["accounts"]]
    return Group(*lines)


def _use_line(use: Json) -> Text:
    refused, near = use["used"] + 1 > use["quota"], use["used"] >= 0.8 * use["quota"]
    line = Text(f"  {short_id(str(use['account_id']))}  ", "dim", no_wrap=True)
    line.append(f"{use['used']:,g} of {use['quota']:,}", "red" if refused else "yellow" if near else "")
    return line.append(f"  {visible(use['name'])}", "dim")


def health_lines(providers: Sequence[Json]) -> RenderableType:
    """How the providers do with everybody's calls."""
    lines = []
    for one in providers:
        line = Text(f"{one['name']:<10} ", "bold")
        said = {True: ("answers", "green"), False: ("does not answer", "red"), None: ("not asked lately", "dim")}
        line.append(*(said[one["reachable"]] if one["configured"] else ("not configured", "dim")))
        if one["calls"]:
            line.append(f"  {_counted(one['calls'], 'call')} in a day, {one['failed_calls']:,} failed", "dim")
        if (until := when(one["cooling_down_until"])) is not None:
            line.append(f"  left alone until {until.astimezone():%H:%M:%S}", "yellow")
        if error := one["last_error"]:
            line.append(f"  {str(error['code']).replace('_', ' ')} {ago(error['at'])}", "red")
        lines.append(line)
    return Group(*lines)


def all_usage_table(found: Json, width: int) -> Table:
    """What everybody used, in at most `width` columns; the last line adds it all up."""
    by = str(found["by"])
    account = by == "account"
    rows = [_figures(_names(one, account), one) for one in found["items"]]
    if found["next_cursor"]:
        rows.append([Text("…", "dim"), *(Text() for _ in range(5 + account))])
    total = _figures([Text("total"), *([Text()] if account else [])], found["total"])
    rows.append([Text(cell.plain, "bold") for cell in total])
    names = [by, *(["name"] if account else []), "calls", "failed", "in", "out", "cost"]
    numbers = {"calls", "failed", "in", "out", "cost"}
    return fitted_table(
        names, rows, width, gives_way="name" if account else by, right=numbers, spare=("failed", "in", "out")
    )


def _names(item: Json, account: bool) -> list[Text]:
    if not account:
        return [Text(visible(item["key"]))]
    return [Text(short_id(item["key"])), Text(visible(item["name"] or "deleted"), "" if item["name"] else "dim")]


def _figures(names: list[Text], figures: Json) -> list[Text]:
    failed = figures["failed_calls"]
    cost = Text(dollars(figures["usd"]))
    if figures["unpriced_calls"]:
        cost.append(f" + {figures['unpriced_calls']} unknown", "yellow")
    return [
        *names,
        Text(f"{figures['calls']:,}"),
        Text(f"{failed:,}" if failed else "", "red"),
        Text(f"{figures['input_tokens']:,}"),
        Text(f"{figures['output_tokens']:,}"),
        cost,
    ]
