"""The tables, as the migrations make them; a test fails when the two differ."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NOW = text("now()")
_ZERO = text("0")


def _at(name: str, *, required: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not required, server_default=_NOW if required else None)


owners = Table(
    "owners",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    # What a month may cost, in USD; NULL is no limit. `spending` has the figures of each month.
    Column("monthly_budget_usd", Numeric(18, 8)),
    # As it was given, and as it is compared. Owners that were made by a command have neither email nor password.
    Column("email", Text),
    Column("email_key", Text),
    # Argon2id, in the usual notation with its parameters.
    Column("password_hash", Text),
    Column("role", Text, nullable=False, server_default=text("'user'")),
    # What an admin set for this one; NULL is the setting.
    Column("submissions_per_hour", Integer),
    Column("jobs_at_once", Integer),
    # The account is being erased: nobody speaks for it any more.
    _at("erasing_at"),
    _at("created_at", required=True),
    UniqueConstraint("email_key"),
    CheckConstraint("role IN ('user', 'admin')", name="role"),
)

# One row a login: the family of its refresh tokens. Access tokens name it, and end with it.
sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    Column("ip", Text),
    Column("user_agent", Text),
    Column("ended_because", Text),
    _at("created_at", required=True),
    _at("used_at", required=True),
    _at("ended_at"),
    Index(None, "owner_id"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_sha256", Text, primary_key=True),
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    _at("created_at", required=True),
    _at("expires_at", required=True),
    # Each is used once; one that comes again was stolen, or its thief's was.
    _at("used_at"),
    Index(None, "session_id"),
)

# How much of each limit is used, see `take_allowance` of the migration. Not logged: a crash of the database forgets it.
limits = Table(
    "limits",
    metadata,
    Column("name", Text, nullable=False),
    Column("subject", Text, nullable=False),
    _at("window_at", required=True),
    Column("used", Integer, nullable=False, server_default=_ZERO),
    Column("before", Integer, nullable=False, server_default=_ZERO),
    PrimaryKeyConstraint("name", "subject"),
    prefixes=["UNLOGGED"],
    postgresql_with={"fillfactor": 50},
)

# Who did what to which resource, from where. No foreign keys: a line outlives whom it tells of.
audit = Table(
    "audit",
    metadata,
    Column("id", Uuid, primary_key=True),
    _at("at", required=True),
    # Whose resource it was, and who acted; NULL where nobody is known.
    Column("owner_id", Uuid),
    Column("actor_id", Uuid),
    # login, key, command or nobody, and which login or key.
    Column("via", Text, nullable=False),
    Column("via_id", Uuid),
    Column("action", Text, nullable=False),
    Column("resource", Text, nullable=False, server_default=text("''")),
    Column("ip", Text),
    Column("request_id", Text),
    Column("details", JSONB, nullable=False, server_default=text("'{}'")),
    Index(None, "owner_id", "id"),
)

# Accounts that are being erased, and what was erased of those that are gone: figures only.
erasures = Table(
    "erasures",
    metadata,
    Column("id", Uuid, primary_key=True),
    # NULL when it is done.
    Column("owner_id", Uuid),
    _at("requested_at", required=True),
    # By the process that is at it.
    _at("claimed_at"),
    _at("finished_at"),
    Column("erased", JSONB, nullable=False, server_default=text("'{}'")),
    Index("ix_erasures_under_way", "requested_at", postgresql_where=text("finished_at IS NULL")),
)

# One row an owner and month (UTC). Every paid call reserves here and in its job's row before the provider is asked:
# spent + reserved never passes the budget. The function `reserve` of the migration sees to it under the row's lock.
# No foreign key: the amounts outlive an account that is deleted.
spending = Table(
    "spending",
    metadata,
    Column("owner_id", Uuid, nullable=False),
    Column("month", Date, nullable=False),
    # The owner's, copied: so that it is read under this row's lock.
    Column("budget_usd", Numeric(18, 8)),
    Column("spent_usd", Numeric(18, 8), nullable=False, server_default=_ZERO),
    Column("reserved_usd", Numeric(18, 8), nullable=False, server_default=_ZERO),
    PrimaryKeyConstraint("owner_id", "month"),
    postgresql_with={"fillfactor": 70},
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    # SHA-256 of a token of 256 random bits: no slow hash is needed for what cannot be guessed.
    Column("token_sha256", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False, server_default=text("'{read,write}'")),
    _at("expires_at"),
    _at("last_used_at"),
    _at("created_at", required=True),
    _at("revoked_at"),
    UniqueConstraint("token_sha256"),
    Index(None, "owner_id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("input", JSONB, nullable=False),
    Column("models", ARRAY(Text), nullable=False),
    Column("idempotency_key", Text),
    Column("body_sha256", Text, nullable=False),
    Column("parent_job", Uuid),
    # Of the request that submitted it: in every log line of its workflow, its activities and their calls.
    Column("trace_id", Text, nullable=False, server_default=text("''")),
    # Who is told of its end, besides the owner's hooks.
    Column("webhook_url", Text),
    # State, as readers see it.
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("stage", Text, nullable=False, server_default=text("''")),
    Column("current_step", Text, nullable=False, server_default=text("''")),
    Column("steps_done", Integer, nullable=False, server_default=_ZERO),
    Column("total_steps", Integer, nullable=False, server_default=_ZERO),
    Column("waiting_for", JSONB),
    Column("cost_usd", Numeric(18, 8), nullable=False, server_default=_ZERO),
    Column("reserved_usd", Numeric(18, 8), nullable=False, server_default=_ZERO),
    Column("budget_usd", Numeric(18, 8)),
    # Counts what lets a job that waits for its budget go on.
    Column("budget_raises", Integer, nullable=False, server_default=_ZERO),
    # What was expected at submission.
    Column("estimate", JSONB),
    Column("input_tokens", BigInteger, nullable=False, server_default=_ZERO),
    Column("output_tokens", BigInteger, nullable=False, server_default=_ZERO),
    Column("cached_tokens", BigInteger, nullable=False, server_default=_ZERO),
    Column("simulated", Boolean, nullable=False, server_default=text("false")),
    Column("error", JSONB),
    Column("result", JSONB),
    Column("event_seq", BigInteger, nullable=False, server_default=_ZERO),
    # The run that carries it.
    Column("run", Integer, nullable=False, server_default=text("1")),
    Column("workflow_run_id", Text),
    _at("claimed_at"),
    _at("dispatched_at"),
    Column("dispatched_run_id", Text),
    # When it was last compared with Temporal.
    _at("checked_at"),
    # What a person wants of it. `*_sent` is what Temporal has been told.
    _at("cancel_requested_at"),
    _at("cancel_sent_at"),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("control_seq", Integer, nullable=False, server_default=_ZERO),
    Column("control_sent", Integer, nullable=False, server_default=_ZERO),
    _at("created_at", required=True),
    _at("updated_at", required=True),
    _at("started_at"),
    _at("finished_at"),
    UniqueConstraint("owner_id", "idempotency_key"),
    CheckConstraint(
        "status IN ('pending', 'running', 'waiting_for_input', 'waiting_for_budget', 'paused', 'completed', "
        "'failed', 'cancelled')",
        name="status",
    ),
    Index("ix_jobs_owner_id_id", "owner_id", "id"),
    Index("ix_jobs_owner_id_status_id", "owner_id", "status", "id"),
    Index("ix_jobs_tags", "tags", postgresql_using="gin"),
    Index("ix_jobs_to_start", "id", postgresql_where=text("status = 'pending' AND dispatched_at IS NULL")),
    Index("ix_jobs_alive", "id", postgresql_where=text("status NOT IN ('completed', 'failed', 'cancelled')")),
    # Every step updates its job's row: room on the page keeps those updates off the indexes (HOT).
    postgresql_with={"fillfactor": 70},
)

steps = Table(
    "steps",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("step", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("attempt_id", Uuid),
    Column("result", JSONB, nullable=False),
    _at("created_at", required=True),
    PrimaryKeyConstraint("job_id", "step", "revision"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Uuid, primary_key=True),
    # No foreign keys: the amounts outlive the account, and the job: `detached` says that it is deleted.
    Column("owner_id", Uuid, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("detached", Boolean, nullable=False, server_default=text("false")),
    Column("pipeline", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt_name", Text, nullable=False),
    Column("prompt_version", Integer, nullable=False),
    Column("prompt_characters", Integer, nullable=False),
    Column("outcome", Text, nullable=False, server_default=text("'open'")),
    Column("answered", Boolean, nullable=False, server_default=text("false")),
    Column("input_tokens", Integer, nullable=False, server_default=_ZERO),
    Column("output_tokens", Integer, nullable=False, server_default=_ZERO),
    Column("cached_tokens", Integer, nullable=False, server_default=_ZERO),
    Column("cache_write_tokens", Integer, nullable=False, server_default=_ZERO),
    Column("reasoning_tokens", Integer, nullable=False, server_default=_ZERO),
    # Held in the job's row and the month's until it is told what the call cost, or the row is settled; NULL where the
    # price is unknown.
    Column("reserved_usd", Numeric(18, 8)),
    # The reservation became the cost: nobody knows better.
    _at("settled_at"),
    # Answered from an earlier call of the owner's: no provider was asked.
    Column("reused", Boolean, nullable=False, server_default=text("false")),
    # An answer that would not do and why, for the turn that shows the model its error; gone when the job ends.
    Column("refused_answer", Text),
    Column("refused_because", ARRAY(Text)),
    Column("usd", Numeric(18, 8)),
    Column("latency_ms", Integer),
    Column("first_token_ms", Integer),
    Column("simulated", Boolean, nullable=False, server_default=text("false")),
    Column("error_type", Text),
    Column("error_message", Text),
    _at("started_at", required=True),
    _at("finished_at"),
    CheckConstraint(
        "outcome IN ('open', 'ok', 'failed', 'cancelled', 'unknown', 'superseded')",
        name="outcome",
    ),
    Index("ix_attempts_job_id_step_revision", "job_id", "step", "revision"),
    Index("ix_attempts_owner_id_started_at", "owner_id", "started_at"),
    Index(
        "ix_attempts_to_settle",
        "started_at",
        postgresql_where=text(
            "outcome NOT IN ('open', 'ok') AND usd IS NULL AND settled_at IS NULL AND reserved_usd IS NOT NULL"
        ),
    ),
)

# Answers that the same request of the same owner may be given again. They go with the job that paid for them.
results = Table(
    "results",
    metadata,
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    # SHA-256 of the model, the prompt with its version, and the form of the answer.
    Column("key", Text, nullable=False),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("output", JSONB, nullable=False),
    _at("created_at", required=True),
    PrimaryKeyConstraint("owner_id", "key"),
    Index(None, "job_id"),
)

# Providers that fail over and over; all workers read it before they ask.
cooldowns = Table(
    "cooldowns",
    metadata,
    Column("provider", Text, primary_key=True),
    # In a row.
    Column("failures", Integer, nullable=False),
    # Nobody asks before this; NULL while it is asked as usual.
    _at("until"),
    # One call may find out whether it is back; whoever makes it has until then.
    _at("probing_until"),
    Column("error_type", Text, nullable=False),
    _at("updated_at", required=True),
)

events = Table(
    "events",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    _at("created_at", required=True),
    PrimaryKeyConstraint("job_id", "seq"),
    UniqueConstraint("job_id", "key"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("step", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("simulated", Boolean, nullable=False, server_default=text("false")),
    _at("created_at", required=True),
    UniqueConstraint("job_id", "step", "revision", "name"),
    CheckConstraint("role IN ('output', 'working')", name="role"),
    Index("ix_artifacts_owner_id_sha256", "owner_id", "sha256"),
)

# The row goes with the last of its versions: a trigger of the migration sees to it.
documents = Table(
    "documents",
    metadata,
    # The id of the job that wrote it first. No foreign key: later versions outlive that job.
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    # The greatest number ever given: a number is never given twice.
    Column("last_number", Integer, nullable=False),
    _at("created_at", required=True),
    Index("ix_documents_owner_id_id", "owner_id", "id"),
)

versions = Table(
    "versions",
    metadata,
    Column("document_id", Uuid, ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("parent", Integer),
    Column("reason", Text, nullable=False),
    Column("section_id", Text),
    Column("restored_from", Integer),
    Column("instructions", Text, nullable=False, server_default=text("''")),
    Column("title", Text, nullable=False),
    Column("words", Integer, nullable=False),
    Column("score", Numeric),
    Column("sections", JSONB, nullable=False),
    # References to bytes in the artifact store.
    Column("article", JSONB, nullable=False),
    Column("outline", JSONB, nullable=False),
    Column("report", JSONB, nullable=False),
    Column("outputs", JSONB, nullable=False),
    Column("brief", JSONB, nullable=False),
    # Of the request that it answers: the same request again is answered with it.
    Column("cache_key", Text),
    Column("simulated", Boolean, nullable=False, server_default=text("false")),
    _at("created_at", required=True),
    PrimaryKeyConstraint("document_id", "number"),
    UniqueConstraint("job_id"),
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint(
        "reason IN ('written', 'section_regenerated', 'section_edited', 'restored')",
        name="reason",
    ),
    Index("ix_versions_owner_id_cache_key", "owner_id", "cache_key"),
)

# Files that users bring. The bytes of one that is ready are in the store by their content, as an artifact's are.
uploads = Table(
    "uploads",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    # As it was told, and nothing but a text: no path is made of it.
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    # As it was told; of one that is ready, that of its kind.
    Column("media_type", Text, nullable=False),
    Column("declared_sha256", Text),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    # Of the bytes that were received.
    Column("sha256", Text),
    Column("kind", Text),
    # Why it was refused.
    Column("reason", Text),
    Column("message", Text),
    _at("created_at", required=True),
    Column("url_expires_at", DateTime(timezone=True), nullable=False),
    # When it is forgotten if it is not ready by then.
    Column("expires_at", DateTime(timezone=True), nullable=False),
    _at("received_at"),
    _at("finished_at"),
    CheckConstraint("status IN ('pending', 'ready', 'refused', 'expired')", name="status"),
    CheckConstraint("status <> 'ready' OR (sha256 IS NOT NULL AND kind IS NOT NULL)", name="ready"),
    Index("ix_uploads_owner_id_id", "owner_id", "id"),
    Index("ix_uploads_owner_id_sha256", "owner_id", "sha256"),
    Index("ix_uploads_unfinished", "expires_at", postgresql_where=text("status <> 'ready'")),
)

# What signs the deliveries to the `webhook_url` of an owner's jobs. In plain text, here and in `webhooks`: it is needed
# for every delivery.
signing_secrets = Table(
    "signing_secrets",
    metadata,
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), primary_key=True),
    Column("secret", Text, nullable=False),
    # Signs too until then, so that receivers can change.
    Column("previous_secret", Text),
    _at("previous_until"),
    _at("created_at", required=True),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("description", Text, nullable=False, server_default=text("''")),
    # What its owner wants of it.
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    _at("previous_until"),
    # Nothing has got through since then; NULL when the last try did.
    _at("failing_since"),
    # What we did to it, and why.
    _at("disabled_at"),
    Column("disabled_because", Text),
    _at("created_at", required=True),
    Index("ix_webhooks_owner_id_id", "owner_id", "id"),
)

# The outbox and the log of what is delivered: the statement that tells of an event inserts a row for each receiver.
deliveries = Table(
    "deliveries",
    metadata,
    # The receiver gets it too, as `webhook-id`: the same with every try.
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id", ondelete="CASCADE"), nullable=False),
    # NULL: to the `webhook_url` of the job.
    Column("hook_id", Uuid, ForeignKey("webhooks.id", ondelete="CASCADE")),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE")),
    Column("type", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    # Counts from 1: a delivery that is made again is the next.
    Column("round", Integer, nullable=False, server_default=text("1")),
    # In this round.
    Column("tried", Integer, nullable=False, server_default=_ZERO),
    # The last of them: when, with what status or error, in how many milliseconds.
    Column("tries", JSONB, nullable=False, server_default=text("'[]'")),
    _at("next_try_at"),
    _at("claimed_at"),
    _at("dispatched_at"),
    _at("ended_at"),
    _at("created_at", required=True),
    CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state"),
    Index("ix_deliveries_owner_id", "owner_id"),
    Index("ix_deliveries_hook_id_id", "hook_id", "id"),
    Index("ix_deliveries_job_id_id", "job_id", "id"),
    Index("ix_deliveries_created_at", "created_at"),
    Index("ix_deliveries_pending", "id", postgresql_where=text("state = 'pending'")),
    Index("ix_deliveries_to_start", "id", postgresql_where=text("state = 'pending' AND dispatched_at IS NULL")),
)
