SELECT
    claimed.id, claimed.detail_type::text AS detail_type, claimed.detail, claimed.attempts, claimed.created_at,
    incident.incident_id, incident.severity, incident.category, incident.application, incident.environment,
    incident.title, incident.detected_at,
    alert.alert_id, alert.alert_type, alert.service, alert.service_environment, alert.message,
    alert.incident_id AS alert_incident_id
FROM claimed
LEFT JOIN LATERAL (
    SELECT
        stored.incident_id::text AS incident_id, stored.severity::text AS severity, stored.category::text AS category,
        stored.application::text AS application, stored.environment::text AS environment, stored.title::text AS title,
        stored.detected_at
    FROM public.incidents AS stored
    WHERE stored.incident_id = claimed.detail ->> 'incident_id'
    LIMIT 1
) AS incident ON true
LEFT JOIN LATERAL (
    SELECT
        stored.id AS alert_id, stored.alert_type::text AS alert_type, stored.service_name::text AS service,
        stored.environment::text AS service_environment, coalesce(stored.message, '') AS message,
        its.incident_id::text AS incident_id
    FROM public.alert_events AS stored
    LEFT JOIN public.incidents AS its ON its.id = stored.incident_id
    WHERE stored.id = CASE
        WHEN claimed.detail ->> 'alert_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        THEN (claimed.detail ->> 'alert_id')::uuid
    END
    LIMIT 1
) AS alert ON true
ORDER BY claimed.created_at, claimed.id
