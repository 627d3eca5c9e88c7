-- The service of each alert: its tags, and the state of the services that it depends on, by name.
WITH alerted AS NOT MATERIALIZED (
    SELECT
        alert.id AS alert_id, alert.incident_id, alert.created_at,
        alert.service_name::text AS service, service.application,
        ARRAY(
            SELECT jsonb_array_elements_text(service.policy -> 'tags')
            WHERE jsonb_typeof(service.policy -> 'tags') = 'array'
        ) AS tags,
        coalesce(parents.down, '{}') AS parents_down,
        coalesce(parents.up, '{}') AS parents_up, coalesce(parents.up_since, '{}') AS parents_up_since
    FROM public.alert_events AS alert
    LEFT JOIN public.services AS service
        ON service.name = alert.service_name AND service.environment = alert.environment
    LEFT JOIN LATERAL (
        SELECT
            array_agg(parent.name::text ORDER BY parent.name) FILTER (WHERE parent.state = 'down') AS down,
            array_agg(parent.name::text ORDER BY parent.name)
                FILTER (WHERE parent.state <> 'down' AND parent.state_changed_at IS NOT NULL) AS up,
            array_agg(parent.state_changed_at ORDER BY parent.name)
                FILTER (WHERE parent.state <> 'down' AND parent.state_changed_at IS NOT NULL) AS up_since
        FROM public.services AS parent
        WHERE parent.environment = service.environment AND parent.enabled
            AND jsonb_typeof(service.policy -> 'parents') = 'array' AND service.policy -> 'parents' ? parent.name::text
    ) AS parents ON true
)
