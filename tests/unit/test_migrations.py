"""Migrations: up, down, up again, with rows and without, and the same tables as the code believes in."""

from collections.abc import Iterable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from core.contracts.people import ALL_SCOPES, Role
from core.db.engine import Database
from core.db.ids import new_id
from core.db.repositories.artifacts import ArtifactRepository
from core.db.repositories.documents import DocumentRepository
from core.db.repositories.events import JobEventsRepository
from core.db.repositories.identities import IdentityRepository
from core.db.repositories.jobs import JobFilter, JobRepository
from core.db.schema import metadata
from core.db.tokens import hash_token
from migrations.run import migrate


async def test_models_and_migrations_agree(database: Database) -> None:
    def compare(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async with database.engine.connect() as connection:
        assert await connection.run_sync(compare) == []


async def _made(database: Database) -> set[str]:
    """Tables, functions and triggers of ours."""
    statement = (
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' "
        "UNION ALL SELECT proname || '()' FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
        "UNION ALL SELECT 'on ' || tgname FROM pg_trigger WHERE NOT tgisinternal"
    )
    async with database.transaction() as connection:
        return {row.name for row in await connection.execute(text(statement))}


async def test_down_to_nothing_and_up_again(database: Database) -> None:
    before = await _made(database)
    assert {table.name for table in metadata.sorted_tables} <= before
    assert {"delete_empty_document()", "on delete_empty_document"} <= before
    await migrate(database, "0006")
    unscoped = await _made(database)
    assert before - unscoped == set(SCOPING)
    await migrate(database, "0005")
    untold = await _made(database)
    assert unscoped - untold == {"signing_secrets", "webhooks", "deliveries"}
    await migrate(database, "0004")
    without_files = await _made(database)
    assert "uploads" in untold - without_files
    await migrate(database, "0003")
    alone = await _made(database)
    people = {"sessions", "refresh_tokens", "limits", "audit", "erasures", "take_allowance()", "count_jobs_alone()"}
    assert without_files - alone == people
    await migrate(database, "0002")
    unpaid = await _made(database)
    assert alone - unpaid == {"spending", "results", "cooldowns", "reserve()"}
    await migrate(database, "0001")
    spine = await _made(database)
    assert unpaid - spine == {"documents", "versions", "delete_empty_document()", "on delete_empty_document"}
    await migrate(database, "base")
    assert await _made(database) == {"alembic_version"}
    await migrate(database, "0001")
    assert await _made(database) == spine
    await migrate(database)
    assert await _made(database) == before


TOKEN = "atl_the-key-of-the-embedded-mode"
PEOPLE = ("sessions", "refresh_tokens", "limits", "audit", "erasures")
"""Tables of revision 0004."""
SCOPING = ("scoping_sessions", "scoping_entries", "scoping_checkpoints", "scoping_turns", "charters")
LATER = ("uploads", "signing_secrets", "webhooks", "deliveries", *SCOPING)
"""Tables of later revisions."""
Rows = dict[str, list[dict[str, Any]]]


_OWNER = (
    "INSERT INTO owners (id, name, monthly_budget_usd) VALUES (:owner, :name, 20)",
    "INSERT INTO api_keys (id, owner_id, name, token_sha256) VALUES (gen_random_uuid(), :owner, 'cli', :token)",
    "INSERT INTO spending (owner_id, month, spent_usd, reserved_usd) VALUES (:owner, '2026-11-01', 1, 0.5)",
)
_JOB = (
    "INSERT INTO jobs (id, owner_id, pipeline, title, tags, input, models, body_sha256, status, event_seq, finished_at,"
    " idempotency_key, budget_usd) VALUES (CAST(:job AS uuid), :owner, 'longform', 'Mills', '{mills}', '{\"a\": 1}',"
    " '{simulator\\:composer}', 'none', 'completed', 1, now(), 'the key of ' || CAST(:job AS uuid), 3)",
    "INSERT INTO events (job_id, seq, type, key, data) VALUES (:job, 1, 'job.accepted', 'accepted', '{}')",
    "INSERT INTO attempts (id, owner_id, job_id, pipeline, step, revision, run, attempt, model, prompt_name,"
    " prompt_version, prompt_characters, outcome, reserved_usd) VALUES (gen_random_uuid(), :owner, :job, 'longform',"
    " 'judge', 1, 1, 1, 'simulator\\:composer', 'x', 1, 9, 'unknown', 0.25)",
    "INSERT INTO steps (job_id, step, revision, run, attempt_id, result)"
    " SELECT :job, 'judge', 1, 1, id, '{}' FROM attempts WHERE job_id = :job",
    "INSERT INTO artifacts (id, owner_id, job_id, step, revision, name, role, sha256, size, media_type)"
    " VALUES (gen_random_uuid(), :owner, :job, 'judge', 1, 'a.md', 'output', repeat('0', 64), 9, 'text/markdown')",
)
_DOCUMENT = (
    "INSERT INTO results (owner_id, key, job_id, output) VALUES (:owner, 'hash', :job, '{}')",
    "INSERT INTO documents (id, owner_id, last_number) VALUES (:job, :owner, 1)",
    "INSERT INTO versions (document_id, number, owner_id, job_id, reason, title, words, sections, article, outline,"
    " report, outputs, brief) SELECT :job, 1, :owner, :job, 'written', 'Tidal mills', 900, '[]', ref, ref, ref, '[]',"
    " '{}' FROM (SELECT jsonb_build_object('owner_id', CAST(:owner AS uuid), 'sha256', repeat('0', 64), 'size', 9,"
    " 'media_type', 'application/json') AS ref) AS one",
)
_NEW = (
    "INSERT INTO owners (id, name, email, email_key, password_hash, role, jobs_at_once) VALUES (:owner, 'Ben Example',"
    " 'Ben@example.com', 'ben@example.com', '$argon2id$invented', 'admin', 3)",
    "INSERT INTO sessions (id, owner_id, ip) VALUES (:login, :owner, '192.0.2.1')",
    "INSERT INTO refresh_tokens (token_sha256, session_id, expires_at) VALUES ('hash', :login, now())",
    "INSERT INTO api_keys (id, owner_id, name, token_sha256, scopes, expires_at) VALUES"
    " (gen_random_uuid(), :owner, 'reader', 'a', '{read}', NULL),"
    " (gen_random_uuid(), :owner, 'brief', 'b', '{read,write}', now()),"
    " (gen_random_uuid(), :owner, 'full', 'c', '{write,read}', NULL)",
    "UPDATE owners SET erasing_at = now() WHERE id = :leaving",
    "DELETE FROM owners WHERE id = :gone",
    "INSERT INTO erasures (id, owner_id) VALUES (gen_random_uuid(), :leaving), (gen_random_uuid(), NULL)",
    "INSERT INTO audit (id, at, owner_id, via, action) VALUES (gen_random_uuid(), now(), :gone, 'login', 'a')",
    "INSERT INTO limits (name, subject, window_at) VALUES ('submissions', CAST(CAST(:owner AS uuid) AS text), now())",
)
"""What only revision 0004 knows: an account, keys that may do less, the figures of an owner who is gone, and one who
is leaving."""


async def carry_out(database: Database, statements: Iterable[str], **values: Any) -> None:
    """Statements in one transaction, each with what it names of the values."""
    async with database.transaction() as connection:
        for statement in statements:
            given = {name: value for name, value in values.items() if f":{name}" in statement}
            await connection.execute(text(statement), given)


async def fill(database: Database, owner: str, name: str, token: str) -> list[str]:
    """An owner with a key, two jobs and all that jobs leave, as revision 0003 has it. The jobs, the newest first."""
    await carry_out(database, _OWNER, owner=owner, name=name, token=hash_token(token))
    jobs = [new_id(), new_id()]
    for job in jobs:
        await carry_out(database, _JOB, owner=owner, job=job)
    await carry_out(database, _DOCUMENT, owner=owner, job=jobs[0])
    return jobs[::-1]


async def snapshot(database: Database, owner_id: str) -> Rows:
    """All rows that are an owner's, or their jobs'."""
    found: Rows = {}
    async with database.transaction() as connection:
        columns = await connection.execute(
            text("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'")
        )
        has = {(row.table_name, row.column_name) for row in columns}
        for table in sorted({table for table, _ in has} - {"alembic_version", "cooldowns", *PEOPLE, *LATER}):
            mine = f"job_id IN (SELECT id FROM jobs WHERE owner_id = '{owner_id}')"
            if (table, "owner_id") in has:
                mine = f"owner_id = '{owner_id}'"
            if table == "owners":
                mine = f"id = '{owner_id}'"
            lines = await connection.execute(text(f"SELECT to_jsonb(t) AS line FROM {table} t WHERE {mine} ORDER BY 1"))
            found[table] = [dict(row.line) for row in lines]
    return found


async def holds(database: Database, owner_id: str, jobs: list[str]) -> None:
    """The key of before speaks for its owner, may do all, and reads all through the repositories."""
    async with database.transaction() as connection:
        caller = await IdentityRepository(connection).by_key(TOKEN)
        assert caller is not None
        assert (caller.id, caller.name, caller.role, caller.scopes) == (owner_id, "local", Role.USER, ALL_SCOPES)
        assert not caller.has_password
        found = await JobRepository(connection, owner_id).page(JobFilter(), 10)
        assert [job.id for job in found] == jobs
        for job in jobs:
            assert len(await JobEventsRepository(connection, owner_id).after(job, 0)) == 1
            assert len(await ArtifactRepository(connection, owner_id).of_job(job)) == 1
        assert (await DocumentRepository(connection, owner_id).get(jobs[1])).id == jobs[1]


async def test_the_rows_of_the_embedded_mode_survive_up_and_down(database: Database) -> None:
    await migrate(database, "0003")
    local = new_id()
    jobs = await fill(database, local, "local", TOKEN)
    before = await snapshot(database, local)
    assert all(before.values()), before

    await migrate(database)
    await holds(database, local, jobs)
    after = await snapshot(database, local)
    for table, lines in before.items():
        added = [{name: line[name] for name in lines[0]} for line in after[table]]
        assert added == lines, table

    account, gone, leaving = new_id(), new_id(), new_id()
    await fill(database, leaving, "", "atl_of-one-who-leaves")
    await fill(database, gone, "", "atl_of-one-who-left")
    await carry_out(database, _NEW, owner=account, login=new_id(), gone=gone, leaving=leaving)
    left = await snapshot(database, gone)
    assert {table for table, lines in left.items() if lines} == {"attempts", "spending"}, "the amounts stay"

    await migrate(database, "0003")
    assert await snapshot(database, local) == before
    assert not any((await snapshot(database, gone)).values())
    assert not any((await snapshot(database, leaving)).values())
    kept = await snapshot(database, account)
    assert [line["name"] for line in kept["owners"]] == ["Ben Example"]
    assert {key["name"]: key["revoked_at"] is None for key in kept["api_keys"]} == {
        "reader": False,
        "brief": False,
        "full": True,
    }

    await migrate(database)
    await holds(database, local, jobs)
    assert await snapshot(database, local) == after
