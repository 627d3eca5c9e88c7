-- What: creates the ten required tables where they are missing.
-- Why: they are the contract with everything else that reads this database. A table that exists already is left
-- as it is here; upgrade_older_tables brings it to this shape. Foreign keys are all NO ACTION: nothing disappears
-- because something else was deleted.

CREATE TABLE IF NOT EXISTS public.error_knowledge (
    id                   UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    error_id             VARCHAR(20) UNIQUE NOT NULL,
    title                VARCHAR(255) NOT NULL,
    error_message        TEXT NOT NULL,
    error_type           VARCHAR(50),
    category             VARCHAR(50),
    application          VARCHAR(100),
    solution_description TEXT NOT NULL,
    fix_code             TEXT,
    fix_type             VARCHAR(50),
    affected_files       TEXT[],
    rollback_code        TEXT,
    -- embedding vector(1536) is added below: its type may live in a schema outside the search path.
    success_count        INT DEFAULT 0,
    failure_count        INT DEFAULT 0,
    -- Successes over all uses, 0 when unused. In numeric, so that the sum of two ints can't overflow.
    success_rate         DECIMAL GENERATED ALWAYS AS (
        CASE
            WHEN coalesce(success_count, 0)::numeric + coalesce(failure_count, 0)::numeric > 0
            THEN coalesce(success_count, 0)::numeric
                 / (coalesce(success_count, 0)::numeric + coalesce(failure_count, 0)::numeric)
            ELSE 0
        END
    ) STORED,
    last_used_at         TIMESTAMPTZ,
    last_successful_at   TIMESTAMPTZ,
    is_tested            BOOL DEFAULT false,
    created_at           TIMESTAMPTZ DEFAULT now(),
    created_by           VARCHAR(100),
    metadata             JSONB
);

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
                   WHERE attrelid = 'public.error_knowledge'::regclass AND attname = 'embedding' AND NOT attisdropped) THEN
        EXECUTE format('ALTER TABLE public.error_knowledge ADD COLUMN embedding %I.vector(1536)',
            (SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
             WHERE e.extname = 'vector'));
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS public.incidents (
    id                     UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    incident_id            VARCHAR(30) UNIQUE NOT NULL,
    title                  VARCHAR(255) NOT NULL,
    status                 VARCHAR(50) DEFAULT 'detected',
    severity               VARCHAR(20) NOT NULL,
    category               VARCHAR(50) NOT NULL,
    application            VARCHAR(100) NOT NULL,
    error_message          TEXT NOT NULL,
    error_type             VARCHAR(50),
    stack_trace            TEXT,
    endpoint               VARCHAR(500),
    context                JSONB,
    error_knowledge_id     UUID REFERENCES public.error_knowledge (id),
    root_cause_description TEXT,
    fix_description        TEXT,
    detected_at            TIMESTAMPTZ DEFAULT now(),
    resolved_at            TIMESTAMPTZ,
    handled_by             VARCHAR(50),
    agents_spawned         TEXT[],
    time_to_resolution     INTERVAL,
    actions_taken          TEXT[],
    deployment_url         VARCHAR(500),
    updated_at             TIMESTAMPTZ DEFAULT now(),
    environment            TEXT NOT NULL DEFAULT 'production',
    -- Of its own by default, so that rows that others write never collide in the index of open incidents.
    fingerprint            TEXT NOT NULL DEFAULT ('unfingerprinted:' || gen_random_uuid()::text),
    occurrences            BIGINT NOT NULL DEFAULT 1,
    last_seen_at           TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- A NULL status would be neither open nor resolved, and slip past the index of open incidents.
    CONSTRAINT incidents_status_check
        CHECK (status IS NOT NULL AND status IN ('detected', 'acknowledged', 'resolved')),
    CONSTRAINT incidents_severity_check
        CHECK (severity IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW'))
);

CREATE TABLE IF NOT EXISTS public.monitoring_checks (
    id               UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    check_id         VARCHAR(50) UNIQUE NOT NULL,
    "timestamp"      TIMESTAMPTZ DEFAULT now(),
    check_type       VARCHAR(50),
    target           VARCHAR(255),
    application      VARCHAR(100),
    status           VARCHAR(20),
    http_status      INT,
    response_time_ms INT,
    errors_detected  INT DEFAULT 0,
    error_details    JSONB,
    incident_created UUID REFERENCES public.incidents (id)
);

CREATE TABLE IF NOT EXISTS public.agent_actions (
    id                   UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    "timestamp"          TIMESTAMPTZ DEFAULT now(),
    agent_id             VARCHAR(100) NOT NULL,
    agent_type           VARCHAR(50),
    action_type          VARCHAR(100),
    action_description   TEXT,
    action_success       BOOL,
    incident_id          UUID REFERENCES public.incidents (id),
    error_knowledge_id   UUID REFERENCES public.error_knowledge (id),
    safety_checks_passed BOOL,
    action_details       JSONB
);

CREATE TABLE IF NOT EXISTS public.deployment_history (
    id                 UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    deployment_id      VARCHAR(50) UNIQUE NOT NULL,
    "timestamp"        TIMESTAMPTZ DEFAULT now(),
    application        VARCHAR(100),
    environment        VARCHAR(20),
    status             VARCHAR(50),
    incident_id        UUID REFERENCES public.incidents (id),
    triggered_by       VARCHAR(100),
    previous_version   VARCHAR(100),
    new_version        VARCHAR(100),
    commit_sha         VARCHAR(100),
    started_at         TIMESTAMPTZ,
    completed_at       TIMESTAMPTZ,
    duration           INTERVAL,
    rollback_performed BOOL DEFAULT false,
    tests_passed       INT,
    tests_failed       INT,
    deployment_logs    TEXT
);

CREATE TABLE IF NOT EXISTS public.security_events (
    id               UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    event_id         VARCHAR(50) UNIQUE NOT NULL,
    "timestamp"      TIMESTAMPTZ DEFAULT now(),
    event_type       VARCHAR(100),
    severity         VARCHAR(20),
    status           VARCHAR(50),
    source_ip        VARCHAR(45),
    user_id          VARCHAR(100),
    description      TEXT,
    action_taken     VARCHAR(100),
    incident_created UUID REFERENCES public.incidents (id),
    confidence_score DECIMAL,
    metadata         JSONB
);

CREATE TABLE IF NOT EXISTS public.system_config (
    key         VARCHAR(100) PRIMARY KEY,
    value       JSONB NOT NULL,
    description TEXT,
    updated_at  TIMESTAMPTZ DEFAULT now(),
    updated_by  VARCHAR(100)
);

CREATE TABLE IF NOT EXISTS public.email_tracking (
    id               UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    email_id         VARCHAR(100) UNIQUE NOT NULL,
    incident_id      UUID REFERENCES public.incidents (id),
    recipient        VARCHAR(255),
    subject          TEXT,
    sent_at          TIMESTAMPTZ DEFAULT now(),
    status           VARCHAR(50),
    delivered_at     TIMESTAMPTZ,
    opened_at        TIMESTAMPTZ,
    first_clicked_at TIMESTAMPTZ,
    click_count      INT DEFAULT 0,
    metadata         JSONB
);

CREATE TABLE IF NOT EXISTS public.service_health_checks (
    id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    service_name  VARCHAR(100) NOT NULL,
    status        TEXT NOT NULL,
    latency_ms    INT,
    checked_at    TIMESTAMPTZ DEFAULT now(), -- when the probe ran
    error_message TEXT,
    probe_details JSONB,
    created_at    TIMESTAMPTZ DEFAULT now(),
    environment   TEXT NOT NULL DEFAULT 'production',
    region        TEXT,
    tick          TIMESTAMPTZ,
    CONSTRAINT service_health_checks_status_check CHECK (status IN ('healthy', 'degraded', 'down'))
);

CREATE TABLE IF NOT EXISTS public.alert_events (
    id              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    service_name    VARCHAR(100) NOT NULL,
    alert_type      TEXT NOT NULL,
    status          TEXT NOT NULL,
    message         TEXT,
    details         JSONB,
    created_at      TIMESTAMPTZ DEFAULT now(),
    acknowledged_at TIMESTAMPTZ,
    resolved_at     TIMESTAMPTZ,
    environment     TEXT NOT NULL DEFAULT 'production',
    incident_id     UUID REFERENCES public.incidents (id),
    CONSTRAINT alert_events_alert_type_check
        CHECK (alert_type IN ('service_down', 'service_degraded', 'recovery', 'certificate_expiring')),
    CONSTRAINT alert_events_status_check
        CHECK (status IN ('active', 'acknowledged', 'resolved'))
);
