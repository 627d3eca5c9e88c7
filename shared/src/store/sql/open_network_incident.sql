-- A suspect run: opens the incident about the probe's own network, reopens one that was resolved less than an hour ago,
-- or adds an occurrence to the open one.
WITH reopened AS (
    UPDATE public.incidents AS incident
    SET
        status = 'detected',
        resolved_at = NULL,
        time_to_resolution = NULL,
        handled_by = NULL,
        reopened_at = $7,
        reopen_count = incident.reopen_count + 1,
        occurrences = incident.occurrences + 1,
        last_seen_at = $7,
        updated_at = $7
    WHERE incident.id = (
        SELECT known.id FROM public.incidents AS known
        WHERE known.fingerprint = $5 AND known.resolved_at > $7 - interval '1 hour' AND known.status = 'resolved'
        ORDER BY known.resolved_at DESC
        LIMIT 1
    ) AND NOT EXISTS (
        SELECT FROM public.incidents AS open WHERE open.fingerprint = $5 AND open.status <> 'resolved'
    )
    RETURNING incident.incident_id
),
counted AS (
    INSERT INTO public.incidents AS stored (
        incident_id, title, severity, category, application, environment, fingerprint, error_message,
        error_type, detected_at, last_seen_at, updated_at
    )
    SELECT
        $1, 'The probe''s own network is suspect (' || $2 || ')', 'HIGH', 'infrastructure', $3, $4, $5, $6,
        'probe_network', $7, $7, $7
    WHERE NOT EXISTS (SELECT FROM reopened)
    ON CONFLICT (application, environment, fingerprint) WHERE status <> 'resolved'
    DO UPDATE SET
        occurrences = stored.occurrences + 1,
        last_seen_at = EXCLUDED.last_seen_at,
        updated_at = EXCLUDED.updated_at
    RETURNING id, incident_id
),
audited AS (
    INSERT INTO public.agent_actions (
        timestamp, agent_id, agent_type, action_type, action_description, action_success, incident_id
    )
    SELECT $7, 'health-monitor', 'monitoring', 'suspect_run', $6, false, id
    FROM counted
    WHERE incident_id = $1
)
INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
SELECT gen_random_uuid(), 'IncidentOpened', jsonb_build_object('incident_id', incident_id), $7
FROM counted
WHERE incident_id = $1
UNION ALL
SELECT gen_random_uuid(), 'IncidentReopened', jsonb_build_object('incident_id', incident_id), $7
FROM reopened
RETURNING id
