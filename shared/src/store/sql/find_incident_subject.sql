-- Follows services_of_alerts: an incident for its notification, with its unfolded occurrences, its service and the heal
-- steps that were tried. The incident of a failed check is announced as soon as an alert of its outage is.
SELECT
    incident.xmin::text || ' ' || incident.ctid::text AS version,
    incident.status::text AS status, incident.severity::text AS severity, incident.title::text AS title,
    incident.category::text AS category, incident.application::text AS application, incident.environment,
    left(incident.error_message, 2000) AS message, coalesce(incident.detected_at, incident.last_seen_at) AS since,
    coalesce(incident.reopened_at, incident.detected_at, incident.last_seen_at) AS fired_at, incident.resolved_at,
    incident.occurrences + coalesce(unfolded.occurrences, 0) AS occurrences,
    incident.user_count + coalesce(unfolded.new_users, 0) AS users,
    incident.handled_by::text AS handled_by,
    coalesce(incident.error_type, '') <> 'health_check_failure' OR EXISTS (
        SELECT FROM public.alert_events AS alert
        WHERE alert.incident_id = incident.id
            AND (alert.announced_at IS NOT NULL OR alert.announce_at IS NULL)
            AND alert.alert_type <> 'recovery'
            AND (incident.reopened_at IS NULL OR alert.created_at >= incident.reopened_at OR alert.status <> 'resolved')
    ) AS is_announced,
    about.service,
    coalesce(about.tags, '{}') AS tags, coalesce(about.parents_down, '{}') AS parents_down,
    coalesce(about.parents_up, '{}') AS parents_up, coalesce(about.parents_up_since, '{}') AS parents_up_since,
    coalesce((
        SELECT jsonb_agg(left(action.action_description, 200) ORDER BY action.timestamp)
        FROM (
            SELECT timestamp, action_description FROM public.agent_actions
            WHERE incident_id = incident.id AND agent_type = 'heal' AND action_description IS NOT NULL
            ORDER BY timestamp DESC
            LIMIT 5
        ) AS action
    ), '[]') AS tried
FROM public.incidents AS incident
LEFT JOIN LATERAL (
    SELECT sum(waiting.occurrences)::bigint AS occurrences, sum(waiting.new_users)::bigint AS new_users
    FROM public.incident_occurrences AS waiting
    WHERE waiting.incident = incident.id
) AS unfolded ON true
LEFT JOIN LATERAL (
    SELECT alerted.* FROM alerted
    WHERE alerted.incident_id = incident.id
    ORDER BY alerted.created_at DESC
    LIMIT 1
) AS about ON true
WHERE incident.incident_id = $1
