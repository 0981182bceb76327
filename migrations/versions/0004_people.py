"""People: accounts, logins, keys with scopes, limits, the audit log, and what is left when an account is deleted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_ZERO = sa.text("0")

# A row of `limits` as it is now, for a window of windows[n] seconds. When the database's clock was set back, the window
# begins anew with what it has counted, so nothing is let through twice and nobody waits for years.
_ROLLED = """
            SELECT CASE WHEN elapsed < 0 OR elapsed >= 2 * windows[n] THEN clock_timestamp()
                        WHEN elapsed >= windows[n] THEN l.window_at + make_interval(secs => windows[n])
                        ELSE l.window_at END,
                   CASE WHEN elapsed >= windows[n] THEN 0 ELSE l.used END,
                   CASE WHEN elapsed >= 2 * windows[n] THEN 0 WHEN elapsed >= windows[n] THEN l.used ELSE l.before END
            FROM (SELECT extract(epoch FROM clock_timestamp() - l.window_at)::float8 AS elapsed) AS since
"""
# Two windows, the earlier one weighted by how much of it lies within the last `seconds`: in a window that follows an
# empty one exactly the quota is let through. Rows are locked in the order given, the same everywhere, and up to the
# first that refuses: who is over their own quota does not hold up the row that everybody shares. A request that one of
# them refuses is counted by none. What is not to be counted is only asked whether one more would be let through, and
# leaves no row behind. The database's clock is the only one.
_TAKE = f"""
CREATE FUNCTION take_allowance(names text[], subjects text[], quotas bigint[], windows int[], counted bool[])
RETURNS TABLE (limit_name text, remaining bigint, reset_seconds float8, retry_seconds float8)
LANGUAGE plpgsql AS $$
DECLARE
    allowance limits%ROWTYPE;
    share float8;
BEGIN
    FOR n IN 1 .. cardinality(names) LOOP
        IF counted[n] THEN
            INSERT INTO limits AS l (name, subject, window_at, used, before)
            VALUES (names[n], subjects[n], clock_timestamp(), 0, 0)
            ON CONFLICT ON CONSTRAINT pk_limits DO UPDATE SET (window_at, used, before) = ({_ROLLED})
            RETURNING * INTO allowance;
        ELSE
            UPDATE limits AS l SET (window_at, used, before) = ({_ROLLED})
            WHERE l.name = names[n] AND l.subject = subjects[n]
            RETURNING * INTO allowance;
            IF NOT FOUND THEN
                allowance := ROW(names[n], subjects[n], clock_timestamp(), 0, 0);
            END IF;
        END IF;
        share := greatest(0, least(1, extract(epoch FROM clock_timestamp() - allowance.window_at) / windows[n]));
        retry_seconds := 0;
        IF allowance.before * (1 - share) + allowance.used + 1 > quotas[n] THEN
            IF allowance.used + 1 <= quotas[n] THEN
                -- Until enough of the window before has gone by. It holds some, or this would not be refused.
                retry_seconds := windows[n] * (1 - share - (quotas[n] - 1 - allowance.used)::float8 / allowance.before);
            ELSE
                -- This window has to become the one before, and enough of it to go by.
                retry_seconds := windows[n] * (1 - share
                    + greatest(0, 1 - (quotas[n] - 1)::float8 / greatest(allowance.used, 1)));
            END IF;
            retry_seconds := greatest(retry_seconds, 0.001);
        END IF;
        limit_name := names[n];
        remaining := greatest(0,
            floor(quotas[n] - allowance.before * (1 - share) - allowance.used - counted[n]::int))::bigint;
        reset_seconds := windows[n] * (1 - share);
        RETURN NEXT;
        IF retry_seconds > 0 THEN
            RETURN;
        END IF;
    END LOOP;
    FOR n IN 1 .. cardinality(names) LOOP
        UPDATE limits AS l SET used = l.used + 1 WHERE counted[n] AND l.name = names[n] AND l.subject = subjects[n];
    END LOOP;
END
$$
"""  # noqa: S608
# How many jobs of an owner run or are to start. When that is fewer than allowed, nobody else of the owner's can accept
# another until the transaction ends. Inside a function each statement sees what was committed while it waited. Who is
# refused does not wait: what is committed already is enough to know.
#
# Only `pending` and `running`: these have a worker's slots and a model's answers, or will have without anybody's doing.
# A job that waits for a person, for a budget or at a pause uses none, and may wait for weeks; were it counted, twenty
# outlines that nobody has read yet would shut their owner out. When it goes on it is not refused, as it was accepted.
_GATE = """
CREATE FUNCTION count_jobs_alone(owner uuid, allowed bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    running bigint;
BEGIN
    SELECT count(*) INTO running FROM jobs WHERE owner_id = owner AND status IN ('pending', 'running');
    IF running < allowed THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(owner::text, 7));
        SELECT count(*) INTO running FROM jobs WHERE owner_id = owner AND status IN ('pending', 'running');
    END IF;
    RETURN running;
END
$$
"""


def _at(name: str, *, required: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=_NOW if required else None, nullable=not required)


def upgrade() -> None:
    """Apply."""
    op.add_column("owners", sa.Column("email", sa.Text(), nullable=True))
    op.add_column("owners", sa.Column("email_key", sa.Text(), nullable=True))
    op.add_column("owners", sa.Column("password_hash", sa.Text(), nullable=True))
    op.add_column("owners", sa.Column("role", sa.Text(), server_default=sa.text("'user'"), nullable=False))
    op.add_column("owners", sa.Column("submissions_per_hour", sa.Integer(), nullable=True))
    op.add_column("owners", sa.Column("jobs_at_once", sa.Integer(), nullable=True))
    op.add_column("owners", _at("erasing_at"))
    op.create_unique_constraint(op.f("uq_owners_email_key"), "owners", ["email_key"])
    op.create_check_constraint(op.f("ck_owners_role"), "owners", "role IN ('user', 'admin')")
    op.add_column(
        "api_keys",
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{read,write}'"), nullable=False),
    )
    op.add_column("api_keys", _at("expires_at"))
    op.add_column("api_keys", _at("last_used_at"))
    # Which request it came with, through workflow and activities to the provider's call.
    op.add_column("jobs", sa.Column("trace_id", sa.Text(), server_default=sa.text("''"), nullable=False))
    _create_logins()
    _create_records()
    # Amounts stay when their owner goes.
    op.drop_constraint(op.f("fk_spending_owner_id"), "spending", type_="foreignkey")
    op.drop_constraint(op.f("fk_attempts_owner_id"), "attempts", type_="foreignkey")
    op.execute(_TAKE)
    op.execute(_GATE)


def _create_logins() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        _at("created_at", required=True),
        _at("used_at", required=True),
        _at("ended_at"),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_sessions_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_owner_id", "sessions", ["owner_id"], unique=False)
    op.create_table(
        "refresh_tokens",
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        _at("created_at", required=True),
        _at("expires_at", required=True),
        _at("used_at"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_refresh_tokens_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_refresh_tokens")),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"], unique=False)


def _create_records() -> None:
    op.create_table(
        "limits",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        _at("window_at", required=True),
        sa.Column("used", sa.Integer(), server_default=_ZERO, nullable=False),
        sa.Column("before", sa.Integer(), server_default=_ZERO, nullable=False),
        sa.PrimaryKeyConstraint("name", "subject", name=op.f("pk_limits")),
        # A count needs no disk: a commit that writes nothing else waits for none. A crash of the database forgets it.
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Uuid(), nullable=False),
        _at("at", required=True),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("via_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_owner_id_id", "audit", ["owner_id", "id"], unique=False)
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        _at("requested_at", required=True),
        _at("claimed_at"),
        _at("finished_at"),
        sa.Column("erased", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index(
        "ix_erasures_under_way", "erasures", ["requested_at"], unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
    )  # fmt: skip


def downgrade() -> None:
    """Take back. Figures of owners who are gone go too, as the schema of before cannot hold them."""
    # Nobody would go on with these: the rows go now, bytes without a row are swept, and histories have their retention.
    op.execute("DELETE FROM owners WHERE erasing_at IS NOT NULL")
    # A key that may only read, or that ends, would be one that may do all for ever.
    op.execute(
        "UPDATE api_keys SET revoked_at = now() "
        "WHERE revoked_at IS NULL AND (expires_at IS NOT NULL OR NOT scopes @> '{read,write}')"
    )
    op.execute("DROP FUNCTION count_jobs_alone")
    op.execute("DROP FUNCTION take_allowance")
    for table in ("attempts", "spending"):
        op.execute(f"DELETE FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM owners o WHERE o.id = t.owner_id)")  # noqa: S608
        op.create_foreign_key(op.f(f"fk_{table}_owner_id"), table, "owners", ["owner_id"], ["id"], ondelete="CASCADE")
    for table in ("erasures", "audit", "limits", "refresh_tokens", "sessions"):
        op.drop_table(table)
    op.drop_column("jobs", "trace_id")
    for column in ("last_used_at", "expires_at", "scopes"):
        op.drop_column("api_keys", column)
    op.drop_constraint(op.f("ck_owners_role"), "owners", type_="check")
    op.drop_constraint(op.f("uq_owners_email_key"), "owners", type_="unique")
    for column in ("erasing_at", "jobs_at_once", "submissions_per_hour", "role", "password_hash", "email_key", "email"):
        op.drop_column("owners", column)
