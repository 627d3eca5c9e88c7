-- An alert that belongs to no incident, as people should know it.
SELECT
    alert.xmin::text || ' ' || alert.ctid::text AS version,
    alert.status, alert.alert_type, coalesce(alert.message, alert.service_name || ': ' || alert.alert_type) AS title,
    'infrastructure' AS category, coalesce(service.application, alert.service_name)::text AS application,
    alert.environment, NULL::text AS message, alert.created_at AS since, alert.created_at AS fired_at,
    alert.resolved_at, 1::bigint AS occurrences, 0::bigint AS users,
    alert.details ->> 'handled_by' AS handled_by,
    (alert.announced_at IS NOT NULL OR alert.announce_at IS NULL) AND alert.alert_type <> 'recovery' AS is_announced,
    alert.service_name::text AS service,
    ARRAY(
        SELECT jsonb_array_elements_text(service.policy -> 'tags')
        WHERE jsonb_typeof(service.policy -> 'tags') = 'array'
    ) AS tags,
    ARRAY(
        SELECT parent.name::text FROM public.services AS parent
        WHERE parent.environment = service.environment AND parent.state = 'down' AND parent.enabled
            AND jsonb_typeof(service.policy -> 'parents') = 'array' AND service.policy -> 'parents' ? parent.name::text
        ORDER BY parent.name
    ) AS parents_down,
    ARRAY(
        SELECT parent.name::text FROM public.services AS parent
        WHERE parent.environment = service.environment AND parent.state <> 'down' AND parent.enabled
            AND parent.state_changed_at IS NOT NULL
            AND jsonb_typeof(service.policy -> 'parents') = 'array' AND service.policy -> 'parents' ? parent.name::text
        ORDER BY parent.name
    ) AS parents_up,
    ARRAY(
        SELECT parent.state_changed_at FROM public.services AS parent
        WHERE parent.environment = service.environment AND parent.state <> 'down' AND parent.enabled
            AND parent.state_changed_at IS NOT NULL
            AND jsonb_typeof(service.policy -> 'parents') = 'array' AND service.policy -> 'parents' ? parent.name::text
        ORDER BY parent.name
    ) AS parents_up_since,
    '[]'::jsonb AS tried
FROM public.alert_events AS alert
LEFT JOIN public.services AS service ON service.name = alert.service_name AND service.environment = alert.environment
WHERE alert.id = $1::uuid
