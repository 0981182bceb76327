"""Whose turn it is: of one owner's scoping sessions, models work for one at a time. For whoever has a transaction."""

from sqlalchemy.ext.asyncio import AsyncConnection

from core.contracts.jobs import JobStatus
from core.db.repositories.events import prepared

TURN_SECONDS = 15
"""Who has taken the turn keeps it for so long, until the workflow has said that a model works."""

# Of a session that stands still no model works, whatever its row says.
_WORKS = f"j.status IN ('{JobStatus.PENDING}', '{JobStatus.RUNNING}', '{JobStatus.WAITING_FOR_INPUT}')"
_OTHERS_AT_WORK = f"""
    SELECT s.job_id FROM scoping_sessions s JOIN jobs j ON j.id = s.job_id
    WHERE s.owner_id = :owner_id AND s.at_work AND s.job_id <> :job_id AND {_WORKS}
"""
_TURN_IS_FRESH = f"""
    t.job_id <> :job_id AND t.taken_at > clock_timestamp() - interval '{TURN_SECONDS} seconds'
    AND EXISTS (SELECT 1 FROM jobs j WHERE j.id = t.job_id AND {_WORKS})
"""
# Whoever takes the turn locks its row, so that of two who come at the same moment the second sees the first. What the
# sessions' own rows say may be older by then; that is what the seconds are for.
_TAKE_TURN = f"""
    INSERT INTO scoping_turns AS t (owner_id, job_id, taken_at)
    SELECT :owner_id, :job_id, clock_timestamp() WHERE NOT EXISTS ({_OTHERS_AT_WORK})
    ON CONFLICT (owner_id) DO UPDATE SET job_id = excluded.job_id, taken_at = excluded.taken_at
    WHERE NOT ({_TURN_IS_FRESH})
    RETURNING 1
"""
_WHOSE_TURN = f"""
    SELECT job_id FROM ({_OTHERS_AT_WORK}) AS others
    UNION ALL SELECT t.job_id FROM scoping_turns t WHERE t.owner_id = :owner_id AND t.job_id <> :job_id LIMIT 1
"""
# Not while something else is on its way to the same session: that has taken the turn too, and a model may follow it.
_GIVE_BACK_TURN = f"""
    DELETE FROM scoping_turns t WHERE t.owner_id = :owner_id AND t.job_id = :job_id AND NOT EXISTS (
        SELECT 1 FROM scoping_entries e WHERE e.job_id = :job_id AND e.seq IS NULL
        AND e.at > clock_timestamp() - interval '{TURN_SECONDS} seconds')
"""


async def take_turn(connection: AsyncConnection, owner_id: str, session_id: str) -> bool:
    """Take an owner's turn for a session. False: another one of theirs has it."""
    values = {"owner_id": owner_id, "job_id": session_id}
    return (await connection.execute(prepared(_TAKE_TURN), values)).first() is not None


async def give_back_turn(connection: AsyncConnection, owner_id: str, session_id: str) -> None:
    """Give the turn back, if the session has it and wants it no more."""
    await connection.execute(prepared(_GIVE_BACK_TURN), {"owner_id": owner_id, "job_id": session_id})


async def whose_turn(connection: AsyncConnection, owner_id: str, session_id: str) -> str | None:
    """The other session that has the turn; None: it has just given it back."""
    other = (await connection.execute(prepared(_WHOSE_TURN), {"owner_id": owner_id, "job_id": session_id})).scalar()
    return None if other is None else str(other)
