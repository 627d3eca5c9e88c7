//! The schema that every other reader of this database relies on, and how a database differs from it.
//!
//! A line that is not indented names a table, the lines below it are its columns. Types are those of `format_type`,
//! with its two longest names cut to `varchar` and `timestamptz`; a default is as Postgres prints it, without a cast
//! at its end.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::catalog::lines;
use crate::own_columns::OWN_COLUMNS;

/// The ten required tables.
pub(crate) const TABLES: [&str; 10] = [
    "error_knowledge",
    "incidents",
    "monitoring_checks",
    "agent_actions",
    "deployment_history",
    "security_events",
    "system_config",
    "email_tracking",
    "service_health_checks",
    "alert_events",
];

/// The columns that the contract names.
pub(crate) const REQUIRED: &str = "
error_knowledge
    id uuid primary key not null default gen_random_uuid()
    error_id varchar(20) unique not null
    title varchar(255) not null
    error_message text not null
    error_type varchar(50)
    category varchar(50)
    application varchar(100)
    solution_description text not null
    fix_code text
    fix_type varchar(50)
    affected_files text[]
    rollback_code text
    embedding vector(1536)
    success_count integer default 0
    failure_count integer default 0
    success_rate numeric generated stored
    last_used_at timestamptz
    last_successful_at timestamptz
    is_tested boolean default false
    created_at timestamptz default now()
    created_by varchar(100)
    metadata jsonb
incidents
    id uuid primary key not null default gen_random_uuid()
    incident_id varchar(30) unique not null
    title varchar(255) not null
    status varchar(50) default 'detected'
    severity varchar(20) not null
    category varchar(50) not null
    application varchar(100) not null
    error_message text not null
    error_type varchar(50)
    stack_trace text
    endpoint varchar(500)
    context jsonb
    error_knowledge_id uuid references error_knowledge
    root_cause_description text
    fix_description text
    detected_at timestamptz default now()
    resolved_at timestamptz
    handled_by varchar(50)
    agents_spawned text[]
    time_to_resolution interval
    actions_taken text[]
    deployment_url varchar(500)
    updated_at timestamptz default now()
    environment text not null default 'production'
    occurrences bigint not null default 1
    last_seen_at timestamptz not null default now()
    first_release varchar(250)
    last_release varchar(250)
    user_count bigint not null default 0
    reopened_at timestamptz
    reopen_count integer not null default 0
monitoring_checks
    id uuid primary key not null default gen_random_uuid()
    check_id varchar(50) unique not null
    timestamp timestamptz default now()
    check_type varchar(50)
    target varchar(255)
    application varchar(100)
    status varchar(20)
    http_status integer
    response_time_ms integer
    errors_detected integer default 0
    error_details jsonb
    incident_created uuid references incidents
agent_actions
    id uuid primary key not null default gen_random_uuid()
    timestamp timestamptz default now()
    agent_id varchar(100) not null
    agent_type varchar(50)
    action_type varchar(100)
    action_description text
    action_success boolean
    incident_id uuid references incidents
    error_knowledge_id uuid references error_knowledge
    safety_checks_passed boolean
    action_details jsonb
deployment_history
    id uuid primary key not null default gen_random_uuid()
    deployment_id varchar(50) unique not null
    timestamp timestamptz default now()
    application varchar(100)
    environment varchar(20)
    status varchar(50)
    incident_id uuid references incidents
    triggered_by varchar(100)
    previous_version varchar(100)
    new_version varchar(100)
    commit_sha varchar(100)
    started_at timestamptz
    completed_at timestamptz
    duration interval
    rollback_performed boolean default false
    tests_passed integer
    tests_failed integer
    deployment_logs text
security_events
    id uuid primary key not null default gen_random_uuid()
    event_id varchar(50) unique not null
    timestamp timestamptz default now()
    event_type varchar(100)
    severity varchar(20)
    status varchar(50)
    source_ip varchar(45)
    user_id varchar(100)
    description text
    action_taken varchar(100)
    incident_created uuid references incidents
    confidence_score numeric
    metadata jsonb
system_config
    key varchar(100) primary key not null
    value jsonb not null
    description text
    updated_at timestamptz default now()
    updated_by varchar(100)
email_tracking
    id uuid primary key not null default gen_random_uuid()
    email_id varchar(100) unique not null
    incident_id uuid references incidents
    recipient varchar(255)
    subject text
    sent_at timestamptz default now()
    status varchar(50)
    delivered_at timestamptz
    opened_at timestamptz
    first_clicked_at timestamptz
    click_count integer default 0
    metadata jsonb
service_health_checks
    id uuid primary key not null default gen_random_uuid()
    service_name varchar(100) not null
    status text not null
    latency_ms integer
    checked_at timestamptz default now()
    error_message text
    probe_details jsonb
    created_at timestamptz default now()
alert_events
    id uuid primary key not null default gen_random_uuid()
    service_name varchar(100) not null
    alert_type text not null
    status text not null
    message text
    details jsonb
    created_at timestamptz default now()
    acknowledged_at timestamptz
    resolved_at timestamptz
    environment text not null default 'production'
";

/// How a database's columns differ from those listed above: missing ones, and different or additional ones.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) lacking: Vec<String>,
    pub(crate) unexpected: Vec<String>,
}

pub(crate) async fn difference(client: &Client) -> Difference {
    let wanted: BTreeSet<String> = columns_of(REQUIRED).chain(columns_of(OWN_COLUMNS)).collect();
    let tables: BTreeSet<&str> = wanted.iter().filter_map(|line| line.split('.').next()).collect();
    let found: BTreeSet<String> = columns(client)
        .await
        .into_iter()
        .filter(|line| line.split('.').next().is_some_and(|table| tables.contains(table)))
        .collect();
    Difference {
        lacking: wanted.difference(&found).cloned().collect(),
        unexpected: found.difference(&wanted).cloned().collect(),
    }
}

fn columns_of(text: &'static str) -> impl Iterator<Item = String> {
    text.lines()
        .scan("", |table, line| {
            let column = line.strip_prefix("    ");
            if column.is_none() {
                *table = line;
            }
            Some(column.map(|column| format!("{table}.{column}")))
        })
        .flatten()
}

async fn columns(client: &Client) -> Vec<String> {
    lines(
        client,
        "SELECT relname || '.' || concat_ws(' ',
            attname,
            replace(replace(format_type(atttypid, atttypmod),
                'character varying', 'varchar'), 'timestamp with time zone', 'timestamptz'),
            CASE WHEN i.indisprimary THEN 'primary key' WHEN i.indisunique THEN 'unique' END,
            CASE WHEN attnotnull THEN 'not null' END,
            CASE WHEN attgenerated = 's' THEN 'generated stored'
                ELSE 'default ' || regexp_replace(pg_get_expr(adbin, adrelid), '::[a-z ]+$', '') END,
            'references ' || confrelid::regclass,
            CASE WHEN confdeltype <> 'a' OR confupdtype <> 'a' THEN 'with an action' END)
        FROM pg_class c
        JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        LEFT JOIN pg_constraint ON conrelid = attrelid AND contype = 'f' AND conkey = ARRAY[attnum]
        LEFT JOIN pg_index i ON i.indrelid = attrelid AND i.indisunique AND i.indpred IS NULL
            AND i.indnkeyatts = 1 AND i.indkey[0] = attnum
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
    )
    .await
}
