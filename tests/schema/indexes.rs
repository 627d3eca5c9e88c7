//! The indexes that a migrated database must have.

use tokio_postgres::Client;

use crate::catalog::lines;

/// The required indexes: those of the contract, those that deduplicate, those for paging, retention and the outbox.
const INDEXES: &str = "
error_knowledge USING hnsw (embedding vector_cosine_ops)
error_knowledge USING btree (category)
error_knowledge USING btree (success_rate DESC)
incidents USING btree (status)
incidents USING btree (severity)
incidents USING btree (detected_at DESC)
incidents USING btree (application)
monitoring_checks USING btree (\"timestamp\" DESC)
monitoring_checks USING btree (status)
agent_actions USING btree (\"timestamp\" DESC)
agent_actions USING btree (incident_id)
deployment_history USING btree (\"timestamp\" DESC)
deployment_history USING btree (status)
security_events USING btree (\"timestamp\" DESC)
security_events USING btree (severity)
email_tracking USING btree (incident_id)
email_tracking USING btree (status)
service_health_checks USING btree (created_at)
service_health_checks USING btree (service_name, created_at)
service_health_checks USING btree (service_name, checked_at DESC)
alert_events USING btree (created_at)
alert_events USING btree (status)
alert_events USING btree (service_name, status)

unique incidents USING btree (application, environment, fingerprint) WHERE ((status)::text <> 'resolved'::text)
unique incidents USING btree (fingerprint) WHERE (((status)::text <> 'resolved'::text) AND (fingerprint ~~ 'sentry:%'::text))
unique alert_events USING btree (service_name, environment, alert_type) WHERE (status <> 'resolved'::text)
unique services USING btree (name, environment)
unique applications USING btree (name, environment) NULLS NOT DISTINCT WHERE (removed_at IS NULL)
unique quota_counters USING btree (application, quota, window_start)
unique new_incident_slots USING btree (application, slot)
unique check_ins USING btree (application, environment, monitor_slug)
unique service_claims USING btree (service_id, region)
unique service_hourly USING btree (service_id, hour)
unique service_daily USING btree (service_id, day)
unique intake_counters USING btree (source, kind, hour)
unique security_event_counts USING btree (event_type, span, starts_at)
unique notifications USING btree (event_id, channel, recipient)
unique notification_members USING btree (group_key, subject)
unique notification_receivers USING btree (channel, recipient)

incidents USING btree (detected_at DESC, id DESC)
incidents USING btree (COALESCE(resolved_at, detected_at) DESC, id DESC) WHERE ((status)::text = 'resolved'::text)
alert_events USING btree (((status <> 'resolved'::text)) DESC, created_at DESC, id DESC)
inbound_deliveries USING btree (received_at)
incidents USING btree (fingerprint) WHERE ((status)::text <> 'resolved'::text)
incidents USING btree (fingerprint, resolved_at DESC NULLS LAST) WHERE (resolved_at IS NOT NULL)
incident_occurrences USING btree (incident)
quota_counters USING btree (window_start)
check_ins USING btree (received_at)
intake_counters USING btree (hour)
security_event_counts USING btree (starts_at)
service_hourly USING btree (hour)
service_daily USING btree (day)
alert_events USING btree (announce_at) WHERE ((announced_at IS NULL) AND (announce_at IS NOT NULL) AND (status = 'active'::text))
event_outbox USING btree (created_at) WHERE (published_at IS NULL)
notification_groups USING btree (due_at) WHERE (due_at IS NOT NULL)
notification_groups USING btree (COALESCE(last_told_at, first_seen_at))
notification_members USING btree (subject)
notification_members USING btree (muted_by) WHERE (muted_by IS NOT NULL)
notifications USING btree (channel, recipient, seq) WHERE (status = ANY (ARRAY['pending'::text, 'sending'::text]))
notifications USING btree (channel, recipient, seq) WHERE ((status = ANY (ARRAY['pending'::text, 'sending'::text])) AND (kind = ANY (ARRAY['escalated'::text, 'digest'::text])))
notifications USING btree (created_at) WHERE (status = 'failed'::text)
notifications USING btree (group_key, channel, recipient, seq)
notifications USING btree (dedup_key)
notifications USING btree (created_at)
notifications USING btree (sent_at) WHERE ((channel = 'sms'::text) AND (sent_at IS NOT NULL))
silences USING btree (ends_at)
escalations USING btree (next_at) WHERE (next_at IS NOT NULL)
";

/// The missing indexes of a database.
pub(crate) async fn missing_indexes(client: &Client) -> Vec<String> {
    let found = lines(
        client,
        "SELECT CASE WHEN indisunique THEN 'unique ' ELSE '' END
            || substring(pg_get_indexdef(indexrelid) FROM ' ON public\\.(.*)$')
        FROM pg_index WHERE indisvalid AND indrelid IN
            (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)",
    )
    .await;
    INDEXES.lines().filter(|line| !line.is_empty() && !found.contains(&(*line).to_owned())).map(str::to_owned).collect()
}
