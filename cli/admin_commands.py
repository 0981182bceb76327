"""`atelier admin`: for admins by REST, and for whoever runs the deployment and has its database at hand."""

import math
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from cli.client import Json
from cli.errors import CliError
from cli.figures import short_id
from cli.people_commands import PasswordStdin, read_password
from cli.people_view import accounts_table, all_usage_table, audit_table, health_lines, limit_lines, limits_text
from cli.shared import AsJson, connect, print_json
from cli.terminal import say
from core.contracts.people import Role

admin = typer.Typer(
    name="admin",
    help="Accounts, everybody's figures, limits and providers. What others write and get is shown to nobody.",
    no_args_is_help=True,
)
_BY_REST, _BY_DATABASE = "By REST, as an admin", "On the database of DATABASE_URL"
_ACCOUNT = "An account's id, four characters of its end or more, `last`, or its email."
Account = Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help=_ACCOUNT)]
Limit = Annotated[int, typer.Option(min=1, help="How many.")]


class By(StrEnum):
    """What usage is added up by."""

    DAY = "day"
    MODEL = "model"
    PIPELINE = "pipeline"
    ACCOUNT = "account"


@admin.command(rich_help_panel=_BY_REST)
def accounts(limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the accounts, newest first: who they are, what they may do, how much they did."""
    console = Console()
    with connect() as api:
        found = list(api.accounts(limit))
    if as_json:
        print_json(found)
    else:
        console.print(accounts_table(found, console.width))


@admin.command(rich_help_panel=_BY_REST)
def usage(
    by: Annotated[By, typer.Option(help="What is added up.")] = By.DAY,
    first: Annotated[
        str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="The first day, UTC. \\[default: 30 days]")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="The last day. \\[default: today]")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Add up what everybody used: calls, tokens, dollars."""
    console = Console()
    asked = {name: value for name, value in (("by", by.value), ("from", first), ("to", last)) if value}
    with connect() as api:
        found = api.usage(limit, asked, "/v1/admin/usage")
    if as_json:
        print_json(found)
    elif found["total"]["calls"]:
        console.print(all_usage_table(found, console.width))
    else:
        say(console, f"No model was asked from {found['from']} to {found['to']}.", "dim")


@admin.command(rich_help_panel=_BY_REST)
def limits(
    account: Account = None,
    submissions: Annotated[
        str | None, typer.Option(metavar="N|default", help="Jobs and other model work that it may start in an hour.")
    ] = None,
    jobs: Annotated[str | None, typer.Option(metavar="N|default", help="Jobs of it that may run at once.")] = None,
    monthly: Annotated[
        str | None, typer.Option(metavar="USD|none", help="What a calendar month (UTC) may cost, from this one on.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how the limits stand and who is near one, or show and change those of an account."""
    changes = {
        name: _number(value, option, word)
        for name, value, option, word in (
            ("submissions_per_hour", submissions, "--submissions", "default"),
            ("jobs_at_once", jobs, "--jobs", "default"),
            ("monthly_usd", monthly, "--monthly", "none"),
        )
        if value is not None
    }
    if account is None and changes:
        raise CliError("Whose limits?", "atelier admin limits ada@example.com --submissions 500")
    with connect() as api:
        if account is None:
            found = api.json("GET", "/v1/admin/limits")
        else:
            path = f"/v1/admin/accounts/{api.resolve_account(account)}"
            found = api.json("PATCH", path, json=changes) if changes else api.json("GET", path)
    if as_json:
        print_json(found)
    elif account is None:
        Console().print(limit_lines(found), highlight=False)
    else:
        own = limits_text(found["limits"]) or "as the settings say"
        say(Console(), f"{short_id(str(found['id']))} {found['name']}: {own}")


def _number(value: str, option: str, word: str) -> float | None:
    """A limit that is typed; None for the word that takes it away."""
    if value.strip().lower() == word:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise CliError(f"{value!r} is not a number.", f"{option} takes a number or `{word}`.")
    return int(number) if number.is_integer() else number


@admin.command(rich_help_panel=_BY_REST)
def providers(
    resume: Annotated[
        str | None, typer.Option(metavar="NAME", help="Have workers ask this one again that they leave alone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how the providers do with everybody's calls."""
    with connect() as api:
        if resume is not None:
            api.request("POST", f"/v1/admin/providers/{resume}/resume")
            say(Console(stderr=True), f"Workers ask {resume} from now on.")
        found: list[Json] = api.json("GET", "/v1/admin/providers")["items"]
    if as_json:
        print_json(found)
    else:
        Console().print(health_lines(found), highlight=False)


@admin.command(rich_help_panel=_BY_REST)
def audit(account: Account = None, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List what was done by whom and from where, newest first: to all accounts, or to one."""
    console = Console()
    with connect() as api:
        filters = {} if account is None else {"account": api.resolve_account(account)}
        lines = list(api.pages("/v1/admin/audit", limit, filters))
    if as_json:
        print_json(lines)
    elif lines:
        console.print(audit_table(lines, console.width, of_all=account is None))
    else:
        say(console, "Nothing has been done yet.", "dim")


# ---------------------------------------------------------------------------------------------- on the database


@admin.command(rich_help_panel=_BY_DATABASE)
def create(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="What the account logs in with.")],
    name: Annotated[str, typer.Option(help="Whose it is.")],
    role: Annotated[Role, typer.Option(help="What it is.")] = Role.ADMIN,
    password_stdin: PasswordStdin = False,
) -> None:
    """Make an account, an admin's if not said otherwise. So the first admin is made."""
    from cli.admin_database import create_account

    password = read_password(password_stdin, "Its password", twice=True)
    made = create_account(email, name, password, role)
    say(Console(stderr=True), f"Made {email}, {role.value}. Log in: atelier login --email {email}")
    say(Console(), made)


@admin.command(rich_help_panel=_BY_DATABASE)
def grant(
    account: Annotated[str, typer.Argument(metavar="EMAIL|ID", help="The account's email, or its id as a whole.")],
    role: Annotated[Role, typer.Option(help="What it becomes.")] = Role.ADMIN,
) -> None:
    """Make an account an admin's, or a user's again. Its owner reads of it in the audit log."""
    from cli.admin_database import grant_role

    found = grant_role(account, role)
    say(Console(stderr=True), f"{found.email or found.name} is {'an admin' if role is Role.ADMIN else 'a user'} now.")


@admin.command(rich_help_panel=_BY_DATABASE)
def reset_password(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The account's email.")],
    password_stdin: PasswordStdin = False,
) -> None:
    """Give an account a new password, for somebody who forgot theirs. All its logins end; its keys go on."""
    from cli.admin_database import set_password

    set_password(email, read_password(password_stdin, "Its new password", twice=True))
    say(Console(stderr=True), f"{email} has a new password, and is logged in nowhere.")
