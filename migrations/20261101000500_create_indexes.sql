-- What: creates the indexes: those that the contract names, those that dedupe, and those that keep deletes fast.
-- Why: see each group. Plain CREATE INDEX, because a migration may run inside one transaction, where CONCURRENTLY can't.

-- Nearest solutions by cosine distance. HNSW, because an ivfflat index built on an empty table finds nothing useful.
-- Found by what it is, not by its name, and written with the schema of the extension, which may be off the search path.
DO $$
DECLARE
    vector_schema name := (SELECT n.nspname FROM pg_catalog.pg_extension e
                           JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector');
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        JOIN pg_catalog.pg_am m ON m.oid = c.relam
        JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = 'public.error_knowledge'::regclass AND a.attname = 'embedding'
          AND m.amname = 'hnsw' AND o.opcname = 'vector_cosine_ops' AND i.indpred IS NULL AND i.indisvalid
    ) THEN
        EXECUTE format('CREATE INDEX IF NOT EXISTS idx_error_knowledge_embedding_hnsw
                        ON public.error_knowledge USING hnsw (embedding %I.vector_cosine_ops)', vector_schema);
    END IF;
END
$$;

CREATE INDEX IF NOT EXISTS idx_error_knowledge_category ON public.error_knowledge (category);
CREATE INDEX IF NOT EXISTS idx_error_knowledge_success_rate ON public.error_knowledge (success_rate DESC);

CREATE INDEX IF NOT EXISTS idx_incidents_status ON public.incidents (status);
CREATE INDEX IF NOT EXISTS idx_incidents_severity ON public.incidents (severity);
CREATE INDEX IF NOT EXISTS idx_incidents_detected_at ON public.incidents (detected_at DESC);
CREATE INDEX IF NOT EXISTS idx_incidents_application ON public.incidents (application);

CREATE INDEX IF NOT EXISTS idx_monitoring_checks_timestamp ON public.monitoring_checks ("timestamp" DESC);
CREATE INDEX IF NOT EXISTS idx_monitoring_checks_status ON public.monitoring_checks (status);

CREATE INDEX IF NOT EXISTS idx_agent_actions_timestamp ON public.agent_actions ("timestamp" DESC);
CREATE INDEX IF NOT EXISTS idx_agent_actions_incident_id ON public.agent_actions (incident_id);

CREATE INDEX IF NOT EXISTS idx_deployment_history_timestamp ON public.deployment_history ("timestamp" DESC);
CREATE INDEX IF NOT EXISTS idx_deployment_history_status ON public.deployment_history (status);

CREATE INDEX IF NOT EXISTS idx_security_events_timestamp ON public.security_events ("timestamp" DESC);
CREATE INDEX IF NOT EXISTS idx_security_events_severity ON public.security_events (severity);

CREATE INDEX IF NOT EXISTS idx_email_tracking_incident_id ON public.email_tracking (incident_id);
CREATE INDEX IF NOT EXISTS idx_email_tracking_status ON public.email_tracking (status);

CREATE INDEX IF NOT EXISTS idx_service_health_checks_created_at ON public.service_health_checks (created_at);
CREATE INDEX IF NOT EXISTS idx_service_health_checks_service_created
    ON public.service_health_checks (service_name, created_at);
CREATE INDEX IF NOT EXISTS idx_service_health_checks_service_checked
    ON public.service_health_checks (service_name, checked_at DESC);

CREATE INDEX IF NOT EXISTS idx_alert_events_created_at ON public.alert_events (created_at);
CREATE INDEX IF NOT EXISTS idx_alert_events_status ON public.alert_events (status);
CREATE INDEX IF NOT EXISTS idx_alert_events_service_status ON public.alert_events (service_name, status);

-- The database itself dedupes under concurrency: one open incident per fingerprint, one unresolved alert per type.
-- All the columns are NOT NULL, so no row slips past.
CREATE UNIQUE INDEX IF NOT EXISTS incidents_open_fingerprint_key
    ON public.incidents (application, environment, fingerprint) WHERE status <> 'resolved';
CREATE UNIQUE INDEX IF NOT EXISTS alert_events_unresolved_key
    ON public.alert_events (service_name, environment, alert_type) WHERE status <> 'resolved';

-- Keyset pages: the id breaks ties between incidents of the same instant.
CREATE INDEX IF NOT EXISTS idx_incidents_page ON public.incidents (detected_at DESC, id DESC);

-- Retention of the deliveries; the events that dispatch still has to publish (few, however long the table).
CREATE INDEX IF NOT EXISTS idx_inbound_deliveries_received_at ON public.inbound_deliveries (received_at);
CREATE INDEX IF NOT EXISTS idx_event_outbox_unpublished ON public.event_outbox (created_at) WHERE published_at IS NULL;

-- Deleting an incident or a solution looks for references to it in each of these tables: without an index that is a
-- full scan per deleted row. Partial, because most rows refer to nothing and then cost nothing.
CREATE INDEX IF NOT EXISTS idx_incidents_error_knowledge_id
    ON public.incidents (error_knowledge_id) WHERE error_knowledge_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_monitoring_checks_incident_created
    ON public.monitoring_checks (incident_created) WHERE incident_created IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_agent_actions_error_knowledge_id
    ON public.agent_actions (error_knowledge_id) WHERE error_knowledge_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_deployment_history_incident_id
    ON public.deployment_history (incident_id) WHERE incident_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_security_events_incident_created
    ON public.security_events (incident_created) WHERE incident_created IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_alert_events_incident_id
    ON public.alert_events (incident_id) WHERE incident_id IS NOT NULL;
