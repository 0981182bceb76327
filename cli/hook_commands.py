"""The commands for webhooks: who is told of what happens to jobs, and what was delivered."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.client import Json
from cli.figures import ago, short_id
from cli.shared import AsJson, JobId, connect, print_json, show_list
from cli.terminal import say, visible
from cli.view import fitted_table


class HookEvent(StrEnum):
    """What can be told: core.contracts.webhooks.HookEvent, which would bring Temporal's library with it."""

    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"
    WAITING = "job.waiting"
    REMINDER = "job.reminder"
    DISABLED = "webhook.disabled"


HookId = Annotated[
    str, typer.Argument(metavar="ID", help="A webhook's id, four characters of its end or more, or `last`.")
]
DeliveryId = Annotated[
    str, typer.Argument(metavar="ID", help="A delivery's id, four characters of its end or more, or `last`.")
]
_STATES = {"delivered": "green", "failed": "red"}

hooks = typer.Typer(
    name="hooks",
    help="List your webhooks, make, test and remove them, see what was delivered.",
    invoke_without_command=True,
)


@hooks.callback()
def list_hooks(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List your webhooks, newest first; make, test and remove them."""
    if context.invoked_subcommand is not None:
        return
    console = Console()
    with connect() as api:
        found = list(api.hooks(limit))
    if as_json:
        print_json(found)
    elif found:
        console.print(hooks_table(found, console.width))
        for hook in found:
            if hook["disabled_because"]:
                said = f"{short_id(str(hook['id']))} was disabled: {visible(hook['disabled_because'])}"
                say(Console(stderr=True), said, "red")
    else:
        say(console, "There are no webhooks: atelier hooks add URL", "dim")


@hooks.command()
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are posted to.")],
    event: Annotated[
        list[HookEvent] | None,
        typer.Option(
            metavar="EVENT",
            help=f"What it is told of, out of {', '.join(HookEvent)}; may be given again. "
            "\\[default: all that happens to jobs]",
        ),
    ] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Make a webhook and print its secret: it is shown only now. Nothing else goes to standard output."""
    events = event or [one for one in HookEvent if one is not HookEvent.DISABLED]
    body = {"url": url, "events": [one.value for one in events], "description": description}
    with connect() as api:
        made = api.json("POST", "/v1/hooks", json=body)
    said = f"Webhook {short_id(str(made['id']))}, for {', '.join(made['events'])}. Its secret is shown only now:"
    say(Console(stderr=True), said, "dim")
    say(Console(), str(made["secret"]))


@hooks.command()
def remove(hook_id: HookId) -> None:
    """Remove a webhook: what has not got through by now does not any more."""
    with connect() as api:
        full = api.resolve_hook(hook_id)
        api.request("DELETE", f"/v1/hooks/{full}")
    say(Console(stderr=True), f"Webhook {short_id(full)} is removed.")


@hooks.command()
def enable(hook_id: HookId) -> None:
    """Switch a webhook on again that was disabled."""
    with connect() as api:
        full = api.resolve_hook(hook_id)
        api.json("PATCH", f"/v1/hooks/{full}", json={"active": True})
    say(Console(stderr=True), f"Webhook {short_id(full)} is switched on.")


@hooks.command()
def test(hook_id: HookId) -> None:
    """Have a test delivered."""
    with connect() as api:
        full = api.resolve_hook(hook_id)
        api.request("POST", f"/v1/hooks/{full}/test")
    short = short_id(full)
    say(Console(stderr=True), f"A test will be delivered. What came of it: atelier hooks deliveries {short}")


@hooks.command()
def deliveries(
    hook_id: HookId,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was delivered to a webhook, newest first."""
    console = Console()
    with connect() as api:
        found = list(api.pages(f"/v1/hooks/{api.resolve_hook(hook_id)}/deliveries", limit, {}))
    show_list(console, found, deliveries_table, "Nothing has been delivered to it yet.", as_json=as_json)


@hooks.command()
def job(
    job_id: JobId,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List who was told of a job: its --webhook and your webhooks, newest first."""
    console = Console()
    with connect() as api:
        found = list(api.pages(f"/v1/jobs/{api.resolve(job_id)}/deliveries", limit, {}))
    if as_json:
        print_json(found)
    elif found:
        console.print(deliveries_table(found, console.width, of_job=True))
    else:
        say(console, "Nobody has been told of it yet.", "dim")


@hooks.command()
def rotate(hook_id: HookId) -> None:
    """Give a webhook another secret and print it: it is shown only now. For a day both sign."""
    with connect() as api:
        full = api.resolve_hook(hook_id)
        made = api.json("POST", f"/v1/hooks/{full}/rotate")
    say(Console(stderr=True), f"The new secret of webhook {short_id(full)} is shown only now:", "dim")
    say(Console(), str(made["secret"]))


@hooks.command()
def redeliver(delivery_id: DeliveryId) -> None:
    """Make a delivery again that got through or was given up."""
    with connect() as api:
        api.request("POST", f"/v1/deliveries/{api.resolve_delivery(delivery_id)}/redeliver")
    say(Console(stderr=True), "It will be made again.")


@hooks.command()
def secret(
    rotate: Annotated[bool, typer.Option("--rotate", help="Make another one; for a day both sign.")] = False,
) -> None:
    """Print the secret that signs for the --webhook of your jobs. Webhooks of this list have their own."""
    with connect() as api:
        path = "/v1/me/signing-secret"
        found = api.json("POST", f"{path}/rotate") if rotate else api.json("GET", path)
    say(Console(), str(found["secret"]))


def hooks_table(found: Sequence[Json], width: int) -> Table:
    """Webhooks in at most `width` columns."""
    rows = [
        [
            Text(short_id(str(hook["id"]))),
            Text(visible(hook["url"])),
            Text(" ".join(str(event).removeprefix("job.") for event in hook["events"])),
            _hook_state(hook),
            Text(visible(hook["description"]), "dim"),
        ]
        for hook in found
    ]
    names = ("id", "url", "told of", "state", "for")
    return fitted_table(names, rows, width, gives_way="url", right=(), spare=("for", "told of"))


def _hook_state(hook: Json) -> Text:
    if hook["disabled_at"]:
        return Text(f"disabled {ago(hook['disabled_at'])}", "red")
    if not hook["active"]:
        return Text("off", "dim")
    if hook["failing_since"]:
        return Text(f"failing since {ago(hook['failing_since'])}", "yellow")
    return Text("on", "green")


def deliveries_table(found: Sequence[Json], width: int, *, of_job: bool = False) -> Table:
    """Deliveries in at most `width` columns, each with the last of its tries: to one webhook, or of one job."""
    rows = []
    for one in found:
        last = one["tries"][-1] if one["tries"] else {}
        came = last.get("error") or last.get("status") or ""
        job = short_id(str(one["job_id"])) if one["job_id"] else ""
        rows.append(
            [
                Text(short_id(str(one["id"]))),
                Text(str(one["type"])),
                Text(visible(str(one["url"])) if of_job else job),
                Text(str(one["state"]), _STATES.get(one["state"], "yellow")),
                Text(str(len(one["tries"]))),
                Text(visible(str(came))),
                Text(ago(one["created_at"]), "dim"),
            ]
        )
    names = ("id", "event", "to" if of_job else "job", "state", "tries", "last answer", "made")
    spare = ("made",) if of_job else ("made", "job")
    return fitted_table(names, rows, width, gives_way="last answer", right=("tries",), spare=spare)
