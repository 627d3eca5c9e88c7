-- The error journey's one write, for 1 to 100 reports: deliveries, incidents, audit rows, events.
-- Only deliveries that are really new count from `fresh` on. Both tables that several writers contend for are
-- written in one global order (COLLATE "C"), so that concurrent batches can't deadlock.
WITH input AS (
    SELECT DISTINCT ON (delivery_key) *
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::uuid[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
        $17::text[], $18::text[], $19::uuid[], $20::text[], $21::bool[]
    ) WITH ORDINALITY AS report (
        delivery_key, content_hash, source, received_at, action_id, incident_id, title, severity,
        category, application, environment, fingerprint, error_message, error_type, stack_trace, endpoint,
        context, action_description, event_id, event_detail, announces, position
    )
    ORDER BY delivery_key, position
),
delivered AS (
    INSERT INTO public.inbound_deliveries (delivery_key, source, content_hash, action_id, received_at)
    SELECT delivery_key, source, content_hash, action_id, received_at
    FROM input
    ORDER BY delivery_key COLLATE "C"
    ON CONFLICT (delivery_key) DO NOTHING
    RETURNING delivery_key
),
homed AS (
    -- A group of Sentry's is one incident whatever the environment, and whatever its project is called by now: those of
    -- the open incident, else those of the batch's first.
    SELECT
        input.*,
        CASE
            WHEN fingerprint LIKE 'sentry:%' THEN coalesce(known.application, first_value(input.application) OVER same_group)
            ELSE input.application
        END AS home_application,
        CASE
            WHEN fingerprint LIKE 'sentry:%' THEN coalesce(known.environment, first_value(input.environment) OVER same_group)
            ELSE input.environment
        END AS home
    FROM input
    JOIN delivered USING (delivery_key)
    LEFT JOIN LATERAL (
        SELECT application, environment
        FROM public.incidents
        WHERE incidents.fingerprint = input.fingerprint
            AND input.fingerprint LIKE 'sentry:%'
            AND incidents.fingerprint LIKE 'sentry:%'
            AND status <> 'resolved'
        LIMIT 1
    ) AS known ON true
    WINDOW same_group AS (PARTITION BY fingerprint ORDER BY announces, position)
),
fresh AS (
    SELECT
        homed.*,
        row_number() OVER same_incident AS nth,
        count(*) FILTER (WHERE NOT announces) OVER every_one AS reports,
        max(received_at) OVER every_one AS last_received_at,
        max(array_position(ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'], severity)) OVER every_one AS worst
    FROM homed
    WINDOW
        every_one AS (PARTITION BY home_application, home, fingerprint),
        same_incident AS (PARTITION BY home_application, home, fingerprint ORDER BY announces, position)
),
attached AS (
    -- An announcement of what is known already, open or over, opens nothing.
    SELECT fresh.home_application, fresh.home, fresh.fingerprint, newest.id, newest.incident_id
    FROM fresh
    CROSS JOIN LATERAL (
        SELECT id, incident_id
        FROM public.incidents
        WHERE incidents.fingerprint = fresh.fingerprint AND incidents.fingerprint LIKE 'sentry:%'
        ORDER BY detected_at DESC
        LIMIT 1
    ) AS newest
    WHERE nth = 1 AND reports = 0
),
adopted AS (
    -- The first report of an incident that was only announced: the one that it stands for, with all that it tells.
    UPDATE public.incidents AS stored
    SET
        environment = fresh.environment,
        error_type = coalesce(fresh.error_type, stored.error_type),
        error_message = fresh.error_message,
        stack_trace = coalesce(fresh.stack_trace, stored.stack_trace),
        category = fresh.category,
        context = coalesce(stored.context, '{}') || fresh.context::jsonb,
        occurrences = fresh.reports,
        announced_only = false,
        last_seen_at = greatest(stored.last_seen_at, fresh.last_received_at),
        updated_at = greatest(stored.updated_at, fresh.last_received_at),
        severity = (ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'])[greatest(
            worst, array_position(ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'], stored.severity::text)
        )]
    FROM fresh
    WHERE nth = 1
        AND reports > 0
        AND stored.fingerprint = fresh.fingerprint
        AND stored.fingerprint LIKE 'sentry:%'
        AND stored.status <> 'resolved'
        AND stored.announced_only
    RETURNING fresh.home_application, fresh.home, fresh.fingerprint, stored.id, stored.incident_id
),
settled AS (
    SELECT * FROM attached
    UNION ALL
    SELECT * FROM adopted
),
counted AS (
    INSERT INTO public.incidents AS stored (
        incident_id, title, severity, category, application, environment, fingerprint, error_message, error_type,
        stack_trace, endpoint, context, occurrences, announced_only, detected_at, last_seen_at, updated_at
    )
    SELECT
        incident_id, title, (ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'])[worst], category, home_application, home,
        fingerprint, error_message, error_type, stack_trace, endpoint, context::jsonb, greatest(reports, 1),
        reports = 0, received_at, last_received_at, last_received_at
    FROM fresh
    WHERE nth = 1
        AND NOT EXISTS (SELECT FROM settled WHERE settled.fingerprint = fresh.fingerprint)
    -- The order of the narrowest unique index first.
    ORDER BY fingerprint COLLATE "C", home_application COLLATE "C", home COLLATE "C"
    ON CONFLICT (application, environment, fingerprint) WHERE status <> 'resolved'
    DO UPDATE SET
        occurrences = stored.occurrences + CASE WHEN EXCLUDED.announced_only THEN 0 ELSE EXCLUDED.occurrences END,
        last_seen_at = greatest(stored.last_seen_at, EXCLUDED.last_seen_at),
        updated_at = greatest(stored.updated_at, EXCLUDED.updated_at),
        severity = CASE
            WHEN array_position(ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'], EXCLUDED.severity::text)
                > array_position(ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'], stored.severity::text)
            THEN EXCLUDED.severity
            ELSE stored.severity
        END
    RETURNING application AS home_application, environment AS home, fingerprint, id, incident_id
),
placed AS (
    SELECT
        fresh.*,
        stored.id AS stored_id,
        stored.incident_id AS stored_incident_id,
        stored.incident_id = fresh.incident_id AS created
    FROM fresh
    JOIN (SELECT * FROM settled UNION ALL SELECT * FROM counted) AS stored
        ON stored.home_application = fresh.home_application
        AND stored.home = fresh.home
        AND stored.fingerprint = fresh.fingerprint
),
audited AS (
    INSERT INTO public.agent_actions (
        id, timestamp, agent_id, agent_type, action_type, action_description, action_success, incident_id,
        action_details
    )
    SELECT
        action_id, received_at, 'monitoring-service', 'monitoring', 'error_detected', action_description, true, stored_id,
        jsonb_build_object('source', source, 'created', created, 'severity', severity, 'category', category)
    FROM placed
),
announced AS (
    INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
    SELECT
        event_id, 'IncidentOpened',
        event_detail::jsonb || jsonb_build_object(
            'severity', (ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'])[worst],
            'application', home_application, 'environment', home
        ),
        received_at
    FROM placed
    WHERE created
)
SELECT delivery_key, stored_incident_id::text AS incident_id, created, severity, category
FROM placed
