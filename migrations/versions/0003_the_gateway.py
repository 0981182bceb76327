"""What may be spent: budgets, reservations, the month's figures. Reusable answers, and providers left alone."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric(precision=18, scale=8)
_ZERO = sa.text("0")
_NOW = sa.text("now()")

# Within the statement that updates the row, so that what is spent is read under its lock: of fifty calls at once those
# that still fit are let through. It raises instead of answering no, which undoes all else that the statement did.
_RESERVE = """
CREATE FUNCTION reserve(budget numeric, spent numeric, reserved numeric, amount numeric, which text) RETURNS numeric
LANGUAGE plpgsql AS $$
BEGIN
    IF budget IS NOT NULL AND amount IS NULL THEN
        RAISE EXCEPTION 'the price is unknown' USING ERRCODE = 'ATP01', DETAIL = which;
    END IF;
    IF budget IS NOT NULL AND amount > 0 AND spent + reserved + amount > budget THEN
        RAISE EXCEPTION 'the budget does not allow it' USING ERRCODE = 'ATB01',
            DETAIL = jsonb_build_object('which', which, 'budget_usd', budget, 'spent_usd', spent,
                                        'reserved_usd', reserved, 'needed_usd', amount)::text;
    END IF;
    RETURN reserved + COALESCE(amount, 0);
END
$$
"""


def upgrade() -> None:
    """Apply."""
    op.execute(_RESERVE)
    op.add_column("owners", sa.Column("monthly_budget_usd", _MONEY, nullable=True))
    op.create_table(
        "spending",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("budget_usd", _MONEY, nullable=True),
        sa.Column("spent_usd", _MONEY, server_default=_ZERO, nullable=False),
        sa.Column("reserved_usd", _MONEY, server_default=_ZERO, nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_spending_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "month", name=op.f("pk_spending")),
        postgresql_with={"fillfactor": 70},
    )
    # What was spent before this table was there.
    op.execute(
        "INSERT INTO spending (owner_id, month, spent_usd) "
        "SELECT owner_id, date_trunc('month', started_at AT TIME ZONE 'UTC')::date, COALESCE(sum(usd), 0) "
        "FROM attempts GROUP BY 1, 2"
    )
    op.add_column("jobs", sa.Column("reserved_usd", _MONEY, server_default=_ZERO, nullable=False))
    op.add_column("jobs", sa.Column("budget_usd", _MONEY, nullable=True))
    op.add_column("jobs", sa.Column("budget_raises", sa.Integer(), server_default=_ZERO, nullable=False))
    op.add_column("jobs", sa.Column("estimate", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("attempts", sa.Column("cache_write_tokens", sa.Integer(), server_default=_ZERO, nullable=False))
    op.add_column("attempts", sa.Column("reasoning_tokens", sa.Integer(), server_default=_ZERO, nullable=False))
    op.add_column("attempts", sa.Column("reserved_usd", _MONEY, nullable=True))
    op.add_column("attempts", sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("attempts", sa.Column("reused", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("attempts", sa.Column("refused_answer", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("refused_because", postgresql.ARRAY(sa.Text()), nullable=True))
    op.create_index(
        "ix_attempts_to_settle",
        "attempts",
        ["started_at"],
        unique=False,
        postgresql_where=sa.text(
            "outcome NOT IN ('open', 'ok') AND usd IS NULL AND settled_at IS NULL AND reserved_usd IS NOT NULL"
        ),
    )
    op.create_table(
        "results",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("output", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_results_owner_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_results_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "key", name=op.f("pk_results")),
    )
    op.create_index("ix_results_job_id", "results", ["job_id"], unique=False)
    op.create_table(
        "cooldowns",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probing_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_type", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_cooldowns")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("cooldowns")
    op.drop_table("results")
    op.drop_index("ix_attempts_to_settle", table_name="attempts")
    for column in (
        "refused_because",
        "refused_answer",
        "reused",
        "settled_at",
        "reserved_usd",
        "reasoning_tokens",
        "cache_write_tokens",
    ):
        op.drop_column("attempts", column)
    for column in ("estimate", "budget_raises", "budget_usd", "reserved_usd"):
        op.drop_column("jobs", column)
    op.drop_table("spending")
    op.drop_column("owners", "monthly_budget_usd")
    op.execute("DROP FUNCTION reserve")
