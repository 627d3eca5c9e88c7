-- Follows services_of_alerts: an alert without an incident, for its notification.
SELECT
    alert.xmin::text || ' ' || alert.ctid::text AS version,
    alert.status, alert.alert_type, coalesce(alert.message, alert.service_name || ': ' || alert.alert_type) AS title,
    'infrastructure' AS category, coalesce(about.application, alert.service_name)::text AS application,
    alert.environment, NULL::text AS message, alert.created_at AS since, alert.created_at AS fired_at,
    alert.resolved_at, 1::bigint AS occurrences, 0::bigint AS users,
    alert.details ->> 'handled_by' AS handled_by,
    (alert.announced_at IS NOT NULL OR alert.announce_at IS NULL) AND alert.alert_type <> 'recovery' AS is_announced,
    about.service, about.tags, about.parents_down, about.parents_up, about.parents_up_since,
    '[]'::jsonb AS tried
FROM public.alert_events AS alert
JOIN alerted AS about ON about.alert_id = alert.id
WHERE alert.id = $1::uuid
