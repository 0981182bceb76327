"""The outbox of webhooks: parts of statements that insert what is to be delivered along with what it tells of."""

from core.contracts.names import JOBS_CHANNEL

# Version 7, sorted by time: the rows are made in a statement, whose author does not know how many there will be.
NEW_ID = r"""
    CAST(encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send(CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)) FROM 3)
        FROM 1 FOR 6), 52, 1), 53, 1), 'hex') AS uuid)"""


def instant(value: str) -> str:
    """SQL of an instant as JSON has it, whatever the session's time zone."""
    return rf"""to_char({value} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24\:MI\:SS.US"Z"')"""


_JOB = f"""
    jsonb_strip_nulls(jsonb_build_object(
        'id', job.id, 'pipeline', job.pipeline, 'title', job.title, 'status', job.status, 'tags', to_jsonb(job.tags),
        'parent_job', job.parent_job, 'run', job.run, 'simulated', job.simulated,
        'cost_usd', trim_scale(job.cost_usd), 'created_at', {instant("job.created_at")},
        'started_at', {instant("job.started_at")}, 'finished_at', {instant("job.finished_at")},
        'error', job.error - 'details',
        'waiting_for', CASE WHEN job.waiting_for IS NOT NULL THEN jsonb_build_object(
            'what', job.waiting_for -> 'what', 'expires_at', job.waiting_for -> 'expires_at') END,
        'document_id', job.result -> 'summary' -> 'document_id', 'version', job.result -> 'summary' -> 'version',
        'outputs', (SELECT jsonb_agg(jsonb_build_object(
            'name', o.value -> 'name', 'artifact_id', o.value -> 'artifact_id',
            'media_type', o.value -> 'ref' -> 'media_type', 'size', o.value -> 'ref' -> 'size'))
            FROM jsonb_array_elements(job.result -> 'outputs') AS o)
    ))"""

# `job` is the changed row, whole.
TELL_RECEIVERS = f"""
    , hook AS (
        -- Locked, so that none is deleted before a row refers to it.
        SELECT h.id, h.url FROM webhooks h, job
        WHERE h.owner_id = job.owner_id AND h.active AND h.disabled_at IS NULL AND :told = ANY(h.events)
        FOR KEY SHARE OF h
    ), told AS (
        INSERT INTO deliveries (id, owner_id, hook_id, job_id, type, url, payload)
        SELECT {NEW_ID}, job.owner_id, receiver.hook_id, job.id, :told, receiver.url,
               jsonb_build_object('type', CAST(:told AS text), 'timestamp', {instant("clock_timestamp()")},
                                  'data', jsonb_build_object('job', {_JOB}))
        FROM job CROSS JOIN LATERAL (
            SELECT CAST(NULL AS uuid) AS hook_id, job.webhook_url AS url WHERE job.webhook_url IS NOT NULL
            UNION ALL
            SELECT id, url FROM hook
        ) AS receiver
        RETURNING id
    )"""
WAKE = f"(SELECT count(pg_notify('{JOBS_CHANNEL}', told.id::text)::text) FROM told)"
"""What the statement selects beside, so that the starters hear of it."""
