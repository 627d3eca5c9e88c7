-- What: services of many kinds, claimed for each region; what the probe remembers of each; roll-ups; circuit breakers;
-- heartbeats; alerts that are announced later.
-- Why: the probe decides with a pure function over what it remembers, and changes that as a whole (compare-and-set on
-- `revision`), so that a minute that runs twice, or in two places, counts once.

-- How a service is checked, and when somebody is told, is read by the probe alone: JSON, whose missing fields have defaults.
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS kind text NOT NULL DEFAULT 'http'
    CONSTRAINT services_kind_check CHECK (kind IN ('http', 'tcp', 'tls', 'dns', 'postgres', 'heartbeat'));
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS group_name varchar(100);
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS settings jsonb NOT NULL DEFAULT '{}';
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS policy jsonb NOT NULL DEFAULT '{}';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_attribute
               WHERE attrelid = 'public.services'::regclass AND attname = 'url' AND NOT attisdropped) THEN
        ALTER TABLE public.services RENAME COLUMN url TO target;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_attribute
               WHERE attrelid = 'public.services'::regclass AND attname = 'expected_status' AND NOT attisdropped) THEN
        UPDATE public.services
        SET settings = jsonb_build_object(
            'expected_statuses', jsonb_build_array(jsonb_build_array(expected_status, expected_status))
        );
        ALTER TABLE public.services DROP COLUMN expected_status;
    END IF;
END
$$;

-- What the probe remembers.
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS revision bigint NOT NULL DEFAULT 0;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS consecutive_degraded int NOT NULL DEFAULT 0;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS failing_since timestamptz;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS recent_failed int NOT NULL DEFAULT 0;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS recent_known int NOT NULL DEFAULT 0;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS flapping boolean NOT NULL DEFAULT false;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS down_alerted_at timestamptz;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS degraded_alerted_at timestamptz;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS decided_slot bigint;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS votes jsonb NOT NULL DEFAULT '{}';
-- What it saw last.
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS last_latency_ms int;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS last_reason text;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS last_error text;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS held_by text;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS certificate_expires_at timestamptz;
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS measurements jsonb;

COMMENT ON COLUMN public.services.target IS
    'What is checked; its form depends on the kind. Holds no secret: those stay in the probe''s environment.';
COMMENT ON COLUMN public.services.recent_failed IS
    'The last verdicts as bits, the newest lowest, 1 = failed; recent_known tells how many they are.';
COMMENT ON COLUMN public.services.votes IS
    'What each region said last, where several check: {region: {"slot", "at", "verdict", …}}.';
COMMENT ON COLUMN public.services.decided_slot IS
    'The slot of the last verdict: results of it and of earlier ones change nothing any more.';
COMMENT ON COLUMN public.services.held_by IS
    'Why nobody is told while it fails: "maintenance", or "parent NAME".';

-- An outage that is open when this is applied has been told of already.
UPDATE public.services AS service
SET down_alerted_at = coalesce(service.state_changed_at, now()),
    failing_since = coalesce(service.failing_since, service.state_changed_at, now())
WHERE service.state = 'down' AND service.down_alerted_at IS NULL AND service.revision = 0;

-- Who checks what, for each region. A row is rewritten twice for each check: room on the page keeps that out of the index.
CREATE TABLE IF NOT EXISTS public.service_claims (
    service_id      uuid NOT NULL REFERENCES public.services (id) ON DELETE CASCADE,
    region          text NOT NULL,
    last_slot       bigint,
    claimed_by      uuid,
    claimed_until   timestamptz,
    last_checked_at timestamptz,
    PRIMARY KEY (service_id, region)
) WITH (fillfactor = 50);

ALTER TABLE public.services DROP COLUMN IF EXISTS last_slot;
ALTER TABLE public.services DROP COLUMN IF EXISTS claimed_by;
ALTER TABLE public.services DROP COLUMN IF EXISTS claimed_until;

-- Jobs that report to us. The token itself is kept nowhere.
CREATE TABLE IF NOT EXISTS public.service_heartbeats (
    service_id uuid PRIMARY KEY REFERENCES public.services (id) ON DELETE CASCADE,
    token_hash text NOT NULL CONSTRAINT service_heartbeats_token_hash_key UNIQUE,
    beat_at    timestamptz,
    failed     boolean NOT NULL DEFAULT false,
    message    text,
    created_at timestamptz NOT NULL DEFAULT now(),
    resumed_at timestamptz
) WITH (fillfactor = 70);

COMMENT ON COLUMN public.service_heartbeats.failed IS 'Whether the last beat told of a failure.';
COMMENT ON COLUMN public.service_heartbeats.resumed_at IS
    'When we listened again after a pause of ours; what a job said meanwhile may be lost.';

-- Uptime and latencies, added to with the results themselves. No foreign key: they outlive their service.
CREATE TABLE IF NOT EXISTS public.service_hourly (
    service_id     uuid NOT NULL,
    hour           timestamptz NOT NULL,
    healthy        int NOT NULL DEFAULT 0,
    degraded       int NOT NULL DEFAULT 0,
    down           int NOT NULL DEFAULT 0,
    maintenance    int NOT NULL DEFAULT 0,
    latency_sum_ms bigint NOT NULL DEFAULT 0,
    latency_counts smallint[] NOT NULL,
    PRIMARY KEY (service_id, hour)
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS public.service_daily (
    service_id     uuid NOT NULL,
    day            timestamptz NOT NULL,
    healthy        int NOT NULL DEFAULT 0,
    degraded       int NOT NULL DEFAULT 0,
    down           int NOT NULL DEFAULT 0,
    maintenance    int NOT NULL DEFAULT 0,
    latency_sum_ms bigint NOT NULL DEFAULT 0,
    latency_counts int[] NOT NULL,
    PRIMARY KEY (service_id, day)
) WITH (fillfactor = 50);

COMMENT ON COLUMN public.service_hourly.latency_counts IS
    'Answers by latency: bucket i (from 1) holds those of at least 1.25^(i-1) ms and less than 1.25^i. The array begins
    with the first bucket that holds something.';

CREATE INDEX IF NOT EXISTS idx_service_hourly_hour ON public.service_hourly (hour);
CREATE INDEX IF NOT EXISTS idx_service_daily_day ON public.service_daily (day);

-- What is known to fail is asked seldom. The key says whose breaker: "service:ID".
CREATE TABLE IF NOT EXISTS public.circuit_breakers (
    key             text PRIMARY KEY,
    state           text NOT NULL DEFAULT 'closed'
        CONSTRAINT circuit_breakers_state_check CHECK (state IN ('closed', 'open', 'half_open')),
    failures        int NOT NULL DEFAULT 0,
    backoff_seconds int NOT NULL DEFAULT 0,
    opened_at       timestamptz,
    retry_at        timestamptz,
    updated_at      timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);

-- An alert may be kept to ourselves for a while: what is over by then is never announced.
ALTER TABLE public.alert_events ADD COLUMN IF NOT EXISTS announce_at timestamptz;
ALTER TABLE public.alert_events ADD COLUMN IF NOT EXISTS announced_at timestamptz;
ALTER TABLE public.alert_events ADD COLUMN IF NOT EXISTS announcement jsonb;
COMMENT ON COLUMN public.alert_events.announce_at IS
    'When it is told; NULL: it was told when it was raised.';
COMMENT ON COLUMN public.alert_events.announcement IS
    'The event that tells it, until it has gone to the outbox.';
CREATE INDEX IF NOT EXISTS idx_alert_events_announce
    ON public.alert_events (announce_at) WHERE announced_at IS NULL AND announce_at IS NOT NULL AND status = 'active';

ALTER TABLE public.service_claims ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.service_heartbeats ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.service_hourly ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.service_daily ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.circuit_breakers ENABLE ROW LEVEL SECURITY;

DO $$
DECLARE
    tables CONSTANT text := 'public.service_claims, public.service_heartbeats, public.service_hourly,
        public.service_daily, public.circuit_breakers';
    role_name name;
BEGIN
    EXECUTE format('REVOKE ALL ON TABLE %s FROM PUBLIC', tables);
    FOR role_name IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', tables, role_name);
    END LOOP;
END
$$;
