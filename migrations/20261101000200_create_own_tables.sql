-- What: creates Watchkeeper's own tables: what to probe, which deliveries came in, which events must go out.
-- Why: they hold the state that lets any function run twice, or at the same time as itself, with one effect.

-- A row is rewritten on every check of its service: room on the page keeps those updates out of the indexes (HOT).
CREATE TABLE IF NOT EXISTS public.services (
    id                    UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name                  VARCHAR(100) NOT NULL CONSTRAINT services_name_check CHECK (name <> ''),
    environment           TEXT NOT NULL DEFAULT 'production',
    application           VARCHAR(100) NOT NULL,
    url                   TEXT NOT NULL,
    expected_status       INT NOT NULL DEFAULT 200
        CONSTRAINT services_expected_status_check CHECK (expected_status BETWEEN 100 AND 599),
    timeout_ms            INT NOT NULL DEFAULT 5000
        CONSTRAINT services_timeout_ms_check CHECK (timeout_ms BETWEEN 100 AND 60000),
    interval_seconds      INT -- NULL: the default interval
        CONSTRAINT services_interval_seconds_check CHECK (interval_seconds BETWEEN 30 AND 86400),
    enabled               BOOLEAN NOT NULL DEFAULT true,
    origin                TEXT NOT NULL DEFAULT 'file'
        CONSTRAINT services_origin_check CHECK (origin IN ('file', 'environment')),
    state                 TEXT NOT NULL DEFAULT 'unknown'
        CONSTRAINT services_state_check CHECK (state IN ('healthy', 'degraded', 'down', 'unknown')),
    state_changed_at      TIMESTAMPTZ,
    consecutive_failures  INT NOT NULL DEFAULT 0,
    consecutive_successes INT NOT NULL DEFAULT 0,
    last_slot             BIGINT,
    last_checked_at       TIMESTAMPTZ,
    claimed_by            UUID,
    claimed_until         TIMESTAMPTZ,
    created_at            TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at            TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT services_name_environment_key UNIQUE (name, environment)
) WITH (fillfactor = 70);

CREATE TABLE IF NOT EXISTS public.inbound_deliveries (
    delivery_key TEXT PRIMARY KEY
        CONSTRAINT inbound_deliveries_delivery_key_check CHECK (length(delivery_key) BETWEEN 1 AND 200),
    source       TEXT NOT NULL,
    content_hash TEXT,
    action_id    UUID NOT NULL,
    received_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);

COMMENT ON COLUMN public.inbound_deliveries.action_id IS
    'The id of the agent_actions row of this delivery; no foreign key, because each table has its own retention.';

CREATE TABLE IF NOT EXISTS public.event_outbox (
    id           UUID PRIMARY KEY,
    detail_type  TEXT NOT NULL,
    detail       JSONB NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    published_at TIMESTAMPTZ,
    attempts     INT NOT NULL DEFAULT 0,
    last_error   TEXT
);
