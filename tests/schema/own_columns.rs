//! The columns and tables that Watchkeeper adds to the contract.

/// Additional columns of the required tables, and additional tables.
pub(crate) const OWN_COLUMNS: &str = "
incidents
    fingerprint text not null default ('unfingerprinted:'::text || (gen_random_uuid())::text)
    announced_only boolean not null default false
    upstream_changed_at timestamptz
service_health_checks
    environment text not null default 'production'
    region text
    tick timestamptz
alert_events
    incident_id uuid references incidents
    announce_at timestamptz
    announced_at timestamptz
    announcement jsonb
services
    id uuid primary key not null default gen_random_uuid()
    name varchar(100) not null
    environment text not null default 'production'
    application varchar(100) not null
    kind text not null default 'http'
    group_name varchar(100)
    target text not null
    settings jsonb not null default '{}'
    policy jsonb not null default '{}'
    timeout_ms integer not null default 5000
    interval_seconds integer
    enabled boolean not null default true
    origin text not null default 'file'
    state text not null default 'unknown'
    state_changed_at timestamptz
    consecutive_failures integer not null default 0
    consecutive_successes integer not null default 0
    revision bigint not null default 0
    consecutive_degraded integer not null default 0
    failing_since timestamptz
    recent_failed integer not null default 0
    recent_known integer not null default 0
    flapping boolean not null default false
    down_alerted_at timestamptz
    degraded_alerted_at timestamptz
    decided_slot bigint
    file_name varchar(100)
    votes jsonb not null default '{}'
    last_checked_at timestamptz
    last_latency_ms integer
    last_reason text
    last_error text
    held_by text
    certificate_expires_at timestamptz
    measurements jsonb
    created_at timestamptz not null default now()
    updated_at timestamptz not null default now()
service_claims
    service_id uuid not null references services with an action
    region text not null
    last_slot bigint
    claimed_by uuid
    claimed_until timestamptz
    last_checked_at timestamptz
service_heartbeats
    service_id uuid primary key not null references services with an action
    token_hash text unique not null
    beat_at timestamptz
    failed boolean not null default false
    message text
    created_at timestamptz not null default now()
    resumed_at timestamptz
service_hourly
    service_id uuid not null
    hour timestamptz not null
    healthy integer not null default 0
    degraded integer not null default 0
    down integer not null default 0
    maintenance integer not null default 0
    latency_sum_ms bigint not null default 0
    latency_counts smallint[] not null
service_daily
    service_id uuid not null
    day timestamptz not null
    healthy integer not null default 0
    degraded integer not null default 0
    down integer not null default 0
    maintenance integer not null default 0
    latency_sum_ms bigint not null default 0
    latency_counts integer[] not null
circuit_breakers
    key text primary key not null
    state text not null default 'closed'
    failures integer not null default 0
    backoff_seconds integer not null default 0
    opened_at timestamptz
    retry_at timestamptz
    updated_at timestamptz not null default now()
inbound_deliveries
    delivery_key text primary key not null
    source text not null
    content_hash text
    action_id uuid
    received_at timestamptz not null default now()
    incident uuid
    created boolean not null default false
    severity text
    category text
    note jsonb
incident_occurrences
    id bigint primary key not null
    incident uuid not null
    occurrences bigint not null
    new_users bigint not null default 0
    release varchar(250)
    last_seen_at timestamptz not null
incident_samples
    incident uuid not null
    position bigint not null
    received_at timestamptz not null
    delivery_key text not null
    severity text not null
    environment text not null
    error_message text not null
    stack_trace text
    release varchar(250)
    context jsonb
incident_users
    incident uuid not null
    user_key text not null
    first_seen_at timestamptz not null
event_outbox
    id uuid primary key not null
    detail_type text not null
    detail jsonb not null
    created_at timestamptz not null default now()
    published_at timestamptz
    attempts integer not null default 0
    last_error text
    next_attempt_at timestamptz
    claimed_until timestamptz
notification_groups
    group_key text primary key not null
    route text not null
    settings jsonb not null
    first_seen_at timestamptz not null
    last_told_at timestamptz
    due_at timestamptz
    told text[] not null default '{}'::text[]
notification_members
    group_key text not null references notification_groups with an action
    subject text not null
    state text not null
    told text
    muted_by text
    details jsonb not null
    fired_at timestamptz not null
    changed_at timestamptz not null
    renewed boolean not null default false
    labels jsonb
    severity text
    environment text
notifications
    id uuid primary key not null
    seq bigint not null
    event_id uuid not null
    channel text not null
    recipient text not null
    kind text not null
    group_key text not null
    dedup_key text not null
    content jsonb not null
    status text not null default 'pending'
    attempts integer not null default 0
    next_attempt_at timestamptz not null
    claimed_by uuid
    claimed_until timestamptz
    response_status integer
    last_error text
    remote jsonb
    digest_id uuid
    created_at timestamptz not null
    sent_at timestamptz
    replayed_at timestamptz
    problem_state text
    problem_severity text
    problem_title text
    incident_id text
notification_receivers
    channel text not null
    recipient text not null
    seen_at timestamptz
    tokens double precision
    refilled_at timestamptz
    paused_until timestamptz
    failures integer not null default 0
    failing_since timestamptz
    last_error text
    held_since timestamptz
silences
    id uuid primary key not null
    matchers jsonb not null
    starts_at timestamptz not null
    ends_at timestamptz not null
    author text not null
    comment text not null
    created_at timestamptz not null
escalations
    group_key text primary key not null references notification_groups with an action
    policy text not null
    steps jsonb not null
    next_step integer not null default 0
    next_at timestamptz
    started_at timestamptz not null
    ended_at timestamptz
    ended_by text
applications
    id uuid primary key not null default gen_random_uuid()
    number bigint unique not null
    name varchar(100) not null
    environment text
    key_version integer not null default 1
    quota_burst bigint
    quota_hour bigint
    quota_month bigint
    removed_at timestamptz
    created_at timestamptz not null default now()
    updated_at timestamptz not null default now()
    max_severity text
    allowed_origins text[] not null default '{}'::text[]
    new_incidents_per_hour integer not null default 100
new_incident_slots
    application bigint not null
    slot integer not null
    taken_at timestamptz not null default '-infinity'
quota_counters
    application bigint not null
    quota text not null
    window_start timestamptz not null
    accepted bigint not null default 0
    refused bigint not null default 0
    last_batch uuid
check_ins
    application bigint not null
    environment text not null
    monitor_slug text not null
    check_in_id text not null
    status text not null
    duration_ms bigint
    last_ok_at timestamptz
    received_at timestamptz not null
    config jsonb
intake_counters
    source text not null
    kind text not null
    hour timestamptz not null
    count bigint not null
    last_batch uuid
security_event_counts
    event_type text not null
    span text not null
    starts_at timestamptz not null
    count bigint not null default 0
    batches uuid[] not null default '{}'::uuid[]
";
