"""Deleting an account: who may, what goes, what stays, and that it goes on whatever is away."""

import asyncio
import ctypes
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from temporalio.service import RPCError, RPCStatusCode

from core.contracts.names import Queue
from core.contracts.webhooks import DeliveryRequest, Schedule, delivery_workflow
from core.db.engine import Database
from core.db.ids import new_id
from core.db.repositories.erasures import Claim, ErasureRepository, ErasureWorkRepository, StillAliveError
from core.temporal import connect
from tests.api.conftest import LONGFORM, Api, StartApi, counts, set_status
from tests.api.ledger_rows import attempt
from tests.conftest import Account, Namespace, make_account
from tests.support.access import PASSWORD, Person, Registry
from tests.support.rows import accept, one, rows
from tests.support.stack import eventually
from tests.support.traces import files_with, histories_of, mentions
from workflows.webhooks import DeliveryWorkflow

NO_TIME = timedelta(0)


def client_of(api: Api, token: str | None = None) -> httpx.AsyncClient:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=api.url, headers=headers, timeout=20)


async def delete(api: Api, person: Person, password: str | None = PASSWORD) -> httpx.Response:
    async with client_of(api, person.access(api.deps.tokens)) as client:
        return await client.request("DELETE", "/v1/me", json={} if password is None else {"password": password})


async def finished(api: Api, place: str) -> dict[str, Any]:
    """The report of an erasure, once it is finished; read without credentials."""

    async def read() -> dict[str, Any]:
        async with client_of(api) as client:
            report: dict[str, Any] = (await client.get(place)).json()
            return report

    return await eventually(read, lambda report: report["finished_at"] is not None)


def with_temporal(start_api: StartApi, namespace: Namespace, **more: object) -> Api:
    return start_api(temporal_address=namespace.address, temporal_namespace=namespace.name, **more)


async def test_a_wrong_password_changes_nothing(api: Api, database: Database) -> None:
    person = await Registry(database, api.deps.store).person("Ada")
    before = await counts(database)
    wrong = await delete(api, person, "another mill")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "wrong_credentials")
    missing = await delete(api, person, None)
    assert (missing.status_code, missing.json()["errors"][0]["loc"]) == (422, "password")
    async with client_of(api, person.tokens["full"]) as program:
        refused = await program.request("DELETE", "/v1/me", json={"password": PASSWORD})
        assert (refused.status_code, refused.json()["code"]) == (403, "login_needed")
        assert (await program.get("/v1/jobs")).status_code == 200
    assert await counts(database) == before
    assert await rows(database, "SELECT 1 FROM erasures WHERE owner_id IS NOT NULL") == []


async def test_all_of_one_account_goes_and_nothing_of_another(
    start_api: StartApi, database: Database, namespace: Namespace, tmp_path: Path
) -> None:
    api = with_temporal(start_api, namespace, background=False)
    registry = Registry(database, api.deps.store)
    ada, ben = await registry.person("Ada"), await registry.person("Ben", role="admin")
    await rows(database, "UPDATE jobs SET status = 'completed' WHERE owner_id = :id RETURNING id", id=ada.id)
    # Nobody told what these cost: one call is under way, one was lost, one was of a job that is deleted.
    job, gone = ada.things["plain"], await accept(database, ada.id)
    held = {"usd": None, "error_message": ada.content, "refused_answer": ada.content}
    await attempt(database, job, outcome="open", **held)
    await attempt(database, job, outcome="unknown", **held)
    await attempt(database, gone, outcome="cancelled", detached=True, usd=None)
    await rows(database, "DELETE FROM jobs WHERE id = :id RETURNING id", id=gone)
    months = "INSERT INTO spending (owner_id, month, spent_usd, reserved_usd) VALUES (:id, '2026-11-01', 0.002, 0.06)"
    await rows(database, f"{months} RETURNING month", id=ada.id)
    await rows(
        database, "INSERT INTO limits (name, subject, window_at) VALUES ('x', :id, now()) RETURNING 1", id=ada.id
    )
    async with client_of(api, ben.access(api.deps.tokens)) as admin:
        made = await admin.patch(f"/v1/admin/accounts/{ada.id}", json={"jobs_at_once": 3})
        assert made.status_code == 200, made.text
    await add_line(database, owner_id=ben.id, actor_id=ada.id, resource=f"accounts/{ben.id}")
    had = await counted(database, ada.id)
    others = await mentions(database, ben.id, ben.email, ben.content)

    answer = await delete(api, ada)
    assert answer.status_code == 200, answer.text
    report = answer.json()
    async with client_of(api) as nobody:
        assert (await nobody.get(answer.headers["Location"])).json() == report
        assert (await nobody.get(f"/v1/erasures/{new_id()}")).status_code == 404
    assert report["erased"].pop("objects") > 0
    assert report["erased"].pop("bytes") > 0
    assert report["erased"].pop("usd_kept") == pytest.approx(0.062)
    assert report["erased"] == {**had, "histories": 0}
    assert min(had.values()) > 0

    assert files_with(tmp_path / "artifacts", ada.id, ada.content) == []
    assert await mentions(database, ada.email, ada.content, ada.login_id) == {}
    left = await mentions(database, ada.id)
    assert {table: len(lines) for table, lines in left.items()} == {"attempts": 4, "spending": 1, "audit": 1}
    line = await one(database, "SELECT * FROM audit WHERE owner_id = :id", id=ada.id)
    assert (line["action"], line["resource"], line["ip"], line["via_id"]) == (
        "account.deleted", answer.headers["Location"].removeprefix("/v1/"), None, None,
    )  # fmt: skip
    settled = await rows(database, "SELECT usd, reserved_usd, outcome, error_message FROM attempts WHERE detached")
    assert len(settled) == 4
    assert all(row["usd"] is not None and row["outcome"] != "open" and not row["error_message"] for row in settled)
    month = await one(database, "SELECT spent_usd, reserved_usd FROM spending")
    assert float(month["spent_usd"]) == pytest.approx(0.062)
    assert month["reserved_usd"] == 0

    # What Ada did to Ben stays in Ben's log, without her; what Ben did to Ada went with her.
    (kept,) = await rows(database, "SELECT action, actor_id FROM audit WHERE owner_id = :id", id=ben.id)
    assert (kept["action"], kept["actor_id"]) == ("admin.update", None)
    now = await mentions(database, ben.id, ben.email, ben.content)
    del now["audit"], others["audit"]
    assert {table: len(lines) for table, lines in now.items()} == {table: len(lines) for table, lines in others.items()}
    async with client_of(api, ben.access(api.deps.tokens)) as client:
        for url in ("/v1/jobs", "/v1/documents", "/v1/me", f"/v1/artifacts/{ben.things['artifact']}"):
            assert (await client.get(url)).status_code == 200, url


async def test_what_is_being_delivered_ends_and_leaves_no_history(
    start_api: StartApi, database: Database, namespace: Namespace
) -> None:
    api = with_temporal(start_api, namespace, background=False, api_answer_seconds=1)
    ada = await Registry(database, api.deps.store).person("Ada")
    await rows(database, "UPDATE jobs SET status = 'completed' RETURNING id")
    client = await connect(namespace.address, namespace.name)
    # No worker polls, so it would never end; and it is found though Temporal does not list it as hers yet.
    running = await client.start_workflow(
        DeliveryWorkflow.run,
        DeliveryRequest(delivery_id=ada.things["delivery"], schedule=Schedule(first=1, longest=1, total=1)),
        id=delivery_workflow(ada.things["delivery"], 1),
        task_queue=Queue.ORCHESTRATION,
    )
    # Somebody has taken it and may start its workflow at any moment.
    await rows(database, "UPDATE deliveries SET claimed_at = now() + interval '1 hour' RETURNING id")
    answer = await delete(api, ada)
    assert answer.status_code == 202
    assert len(await rows(database, "SELECT 1 FROM deliveries")) == 1
    await rows(database, "UPDATE deliveries SET dispatched_at = claimed_at RETURNING id")
    with_temporal(start_api, namespace, reconciler_interval_seconds=0.1)
    report = await finished(api, answer.headers["Location"])
    assert (report["erased"]["histories"], report["erased"]["hooks"], report["erased"]["uploads"]) == (1, 2, 3)

    async def is_gone() -> bool:
        try:
            await running.describe()
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND
        return False

    await eventually(is_gone, bool)
    for table in ("webhooks", "deliveries", "signing_secrets"):
        assert await rows(database, f"SELECT 1 FROM {table}") == []


async def counted(database: Database, owner_id: str) -> dict[str, int]:
    """How much an owner has of what is told to be erased, and the calls, which stay."""
    tables = {"keys": "api_keys", "logins": "sessions", "hooks": "webhooks", "calls_kept": "attempts"}
    names = ("jobs", "documents", "artifacts", "uploads", *tables)
    parts = [f"(SELECT count(*) FROM {tables.get(name, name)} WHERE owner_id = :id) AS {name}" for name in names]
    return await one(database, f"SELECT {', '.join(parts)}", id=owner_id)


async def add_line(database: Database, **fields: str) -> None:
    """A line of the audit log."""
    names = ", ".join(fields)
    values = ", ".join(f":{name}" for name in fields)
    await rows(
        database,
        f"INSERT INTO audit (id, at, via, action, {names}) "
        f"VALUES (gen_random_uuid(), now(), 'login', 'admin.update', {values}) RETURNING id",
        **fields,
    )


async def test_temporal_and_the_store_are_away_and_it_goes_on_by_itself(
    start_api: StartApi, database: Database, namespace: Namespace, tmp_path: Path
) -> None:
    alone = start_api(background=False, api_answer_seconds=1)  # and without a Temporal
    ada = await Registry(database, alone.deps.store).person("Ada")
    await rows(database, "UPDATE jobs SET status = 'completed' RETURNING id")
    first, second = await asyncio.gather(delete(alone, ada), delete(alone, ada))
    # Of two at once the second may find that its login has ended.
    answer = first if first.status_code == 202 else second
    assert {(each.status_code, each.headers.get("Location")) for each in (first, second)} <= {
        (202, answer.headers["Location"]),
        (401, None),
    }
    assert answer.json()["finished_at"] is None
    assert len(await rows(database, "SELECT 1 FROM audit WHERE action = 'account.deleted'")) == 1
    # Nobody speaks for it, and the email is free at once.
    for token in (ada.access(alone.deps.tokens), ada.tokens["full"]):
        async with client_of(alone, token) as client:
            assert (await client.get("/v1/jobs")).status_code == 401
    async with client_of(alone) as client:
        again = {"email": ada.email, "name": "Ada", "password": "another invented password"}
        registered = await client.post("/v1/auth/register", json=again)
        assert registered.status_code == 201, registered.text
        refused = await client.post("/v1/auth/refresh", json={"refresh_token": ada.tokens["refresh"]})
        assert refused.status_code == 401
        entered = await client.post("/v1/auth/login", json={"email": ada.email, "password": again["password"]})
        assert entered.status_code == 200

    # A request that was under way is accepted after all; and the store cannot delete.
    had = await counted(database, ada.id)
    late = await accept(database, ada.id)
    folder, aside = tmp_path / "artifacts" / ada.id, tmp_path / "aside"
    folder.rename(aside)
    folder.write_bytes(b"no folder")
    with_temporal(start_api, namespace, reconciler_interval_seconds=0.1, cancel_grace_seconds=0.5)
    await eventually(lambda: rows(database, "SELECT 1 FROM owners WHERE id = :id", id=ada.id), lambda found: not found)
    waiting = await one(database, "SELECT owner_id, finished_at FROM erasures WHERE finished_at IS NULL")
    assert (str(waiting["owner_id"]), waiting["finished_at"]) == (ada.id, None)
    exchange(folder, aside)
    report = await finished(alone, answer.headers["Location"])
    assert report["erased"]["jobs"] == had["jobs"] + 1, "and the one that came late"
    assert report["erased"]["objects"] > 0
    assert not folder.exists()
    left = await mentions(database, ada.id, late)
    assert {table: len(lines) for table, lines in left.items()} == {"attempts": 1, "audit": 1}
    with pytest.raises(IntegrityError):
        await accept(database, ada.id)
    assert await histories_of(await connect(namespace.address, namespace.name), ada.id) == []


def exchange(one: Path, other: Path) -> None:
    """Let two paths change places at once: between two renames there would be no folder, and so nothing to delete."""
    at_folder, swapping = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of renameat2(2)
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(at_folder, bytes(one), at_folder, bytes(other), swapping)
    assert done == 0, os.strerror(ctypes.get_errno())


async def test_rows_stay_while_a_job_is_alive(database: Database, account: Account) -> None:
    owner = account.owner_id
    job = await accept(database, owner)
    await set_status(database, job, "running")
    spent = await attempt(database, job, outcome="open", usd=None)
    async with database.transaction() as connection:
        erasure_id, new = await ErasureRepository(connection, owner).begin()
        assert new
        assert await ErasureRepository(connection, owner).begin() == (erasure_id, False)
        work = ErasureWorkRepository(connection)
        assert await work.unclaimed(timedelta(hours=1)) == [erasure_id]
        claim = await work.claim(erasure_id, timedelta(hours=1), NO_TIME)
        assert isinstance(claim, Claim)
        assert await work.claim(erasure_id, timedelta(hours=1), NO_TIME) is None, "another is at it"
        assert await work.unclaimed(timedelta(hours=1)) == []
        assert await work.cancel(claim) == 1
    before = await counts(database)
    with pytest.raises(StillAliveError):
        async with database.transaction() as connection:
            await ErasureWorkRepository(connection).delete_jobs(claim, 10)
    with pytest.raises(StillAliveError):
        async with database.transaction() as connection:
            await ErasureWorkRepository(connection).delete_owner(claim)
    assert await counts(database) == before
    assert (await one(database, "SELECT outcome FROM attempts WHERE id = :id", id=spent))["outcome"] == "open"


async def test_an_account_without_a_password_goes_by_its_key(api: Api, database: Database) -> None:
    machine = await make_account(database, "A program")
    async with client_of(api, machine.token) as client:
        assert (await client.delete("/v1/me")).status_code == 202, "Temporal is away"
        assert (await client.get("/v1/me")).status_code == 401
    owner = await one(database, "SELECT name, erasing_at FROM owners WHERE id = :id", id=machine.owner_id)
    assert owner["name"] == ""
    assert owner["erasing_at"] is not None


async def test_a_submission_that_was_under_way_leaves_nothing(
    api: Api, client: httpx.AsyncClient, database: Database, account: Account
) -> None:
    owner = {"id": account.owner_id}
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with database.transaction() as connection:
        await connection.execute(text("SELECT 1 FROM owners WHERE id = :id FOR UPDATE"), owner)
        request = asyncio.create_task(client.post("/v1/jobs", json=LONGFORM))
        await eventually(lambda: rows(database, waits), lambda found: len(found) > 0)
        await connection.execute(text("DELETE FROM owners WHERE id = :id"), owner)
    answer = await request
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert await mentions(database, account.owner_id) == {}
