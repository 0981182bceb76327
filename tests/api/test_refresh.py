"""A login goes on from one refresh token to the next, each of which is good once."""

import asyncio

from sqlalchemy import text

from core.db.engine import Database
from tests.api.conftest import Api, StartApi
from tests.api.people import ada, anybody, audit, log_in, logged_in, refreshed, status_of
from tests.api.test_rubbish import problem
from tests.support.rows import execute, one, rows, waiting_for_locks


async def test_each_refresh_gives_the_next_tokens(api: Api, database: Database) -> None:
    async with anybody(api) as client:
        tokens = await ada(client)
        await execute(
            database,
            "UPDATE refresh_tokens SET created_at = now() - interval '29 days', expires_at = now() + interval '1 day'",
        )
        following = logged_in(await refreshed(client, tokens))
        assert following.refresh != tokens.refresh
        # It goes on from now, and the access token of before is good for its time.
        (login,) = (await client.get("/v1/me/logins", headers=following.headers)).json()["items"]
        left = await one(database, "SELECT max(expires_at) - now() > interval '29 days' AS whole FROM refresh_tokens")
        assert left["whole"]
        assert await status_of(client, tokens) == await status_of(client, following) == 200
        stored = await rows(database, "SELECT token_sha256 FROM refresh_tokens")
        assert len(stored) == 2
        assert not {following.refresh, tokens.refresh} & {row["token_sha256"] for row in stored}
        # One that was not used in time has expired, by the database's clock.
        await execute(database, "UPDATE refresh_tokens SET expires_at = now() - interval '1 second'")
        late = problem(await refreshed(client, following), 401, "unauthenticated")
        assert "expired" in late.detail
        assert (await client.get("/v1/me/logins", headers=following.headers)).json()["items"] == []
        assert login["current"] is True


async def test_a_refresh_token_used_twice_ends_the_whole_family(start_api: StartApi, database: Database) -> None:
    first, second = start_api(background=False), start_api(background=False)
    async with anybody(first) as here, anybody(second) as there:
        stolen = await ada(here)
        elsewhere = await log_in(there)
        thiefs = logged_in(await refreshed(there, stolen))
        thiefs = logged_in(await refreshed(there, thiefs))
        again = problem(await refreshed(here, stolen), 401, "unauthenticated")
        assert "used twice" in again.detail
        for client in (here, there):
            for tokens in (stolen, thiefs):
                assert await status_of(client, tokens) == 401
                refused = problem(await refreshed(client, tokens), 401, "unauthenticated")
                assert "used twice" in refused.detail
        ended = await one(
            database, "SELECT ended_because, count(*) FROM sessions WHERE ended_at IS NOT NULL GROUP BY 1"
        )
        assert ended == {"ended_because": "reuse", "count": 1}
        # Another login of the same account goes on, and sees what happened, once.
        assert await status_of(here, elsewhere) == 200
        lines = await audit(here, elsewhere.headers)
        assert [line.action for line in lines].count("auth.refresh_reused") == 1
        assert lines[0].action == "auth.refresh_reused"


async def test_of_many_refreshes_at_once_one_is_answered(start_api: StartApi, database: Database) -> None:
    apis = [start_api(background=False), start_api(background=False)]
    async with anybody(apis[0]) as here, anybody(apis[1]) as there:
        tokens = await ada(here)
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1 FROM sessions FOR UPDATE"))
            sent = [asyncio.create_task(refreshed(client, tokens)) for client in (here, there) for _ in range(4)]
            # None has got through when all are at the same place.
            await waiting_for_locks(database, len(sent))
        answers = await asyncio.gather(*sent)
        assert sorted(answer.status_code for answer in answers) == [200, *[401] * 7]
        (given,) = (logged_in(answer) for answer in answers if answer.status_code == 200)
        # Somebody sent it twice: nothing of it is alive.
        assert await status_of(there, given) == 401
        problem(await refreshed(here, given), 401, "unauthenticated")
        assert (await one(database, "SELECT ended_because FROM sessions"))["ended_because"] == "reuse"
        assert (await one(database, "SELECT count(*) AS n FROM refresh_tokens"))["n"] == 2


async def test_what_is_old_is_forgotten(api: Api, database: Database) -> None:
    async with anybody(api) as client:
        old, tokens = await ada(client), await log_in(client)
        following = logged_in(await refreshed(client, tokens))
        await execute(
            database,
            "UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE used_at IS NOT NULL",
        )
        await refreshed(client, following)
        counted = "SELECT count(*) AS n FROM refresh_tokens WHERE used_at IS NOT NULL"
        assert (await one(database, counted))["n"] == 1
        await execute(
            database,
            "UPDATE sessions SET used_at = now() - interval '61 days' WHERE id = "
            "(SELECT id FROM sessions ORDER BY id LIMIT 1)",
        )
        await log_in(client)
        assert (await one(database, "SELECT count(*) AS n FROM sessions"))["n"] == 2
        assert await status_of(client, old) == 401
