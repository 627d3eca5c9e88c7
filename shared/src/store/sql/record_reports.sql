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
    -- A group of Sentry's is one incident whatever the environment: that of the open incident, else the batch's first.
    SELECT
        input.*,
        CASE WHEN fingerprint LIKE 'sentry:%' THEN coalesce(
            (
                SELECT known.environment FROM public.incidents AS known
                WHERE known.application = input.application
                    AND known.fingerprint = input.fingerprint
                    AND known.fingerprint LIKE 'sentry:%'
                    AND known.status <> 'resolved'
                LIMIT 1
            ),
            first_value(environment) OVER (PARTITION BY application, fingerprint ORDER BY position)
        ) ELSE environment END AS home
    FROM input
    JOIN delivered USING (delivery_key)
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
        every_one AS (PARTITION BY application, home, fingerprint),
        same_incident AS (PARTITION BY application, home, fingerprint ORDER BY position)
),
counted AS (
    -- An incident that was only announced stands at 1 until its first report, which is that one.
    INSERT INTO public.incidents AS stored (
        incident_id, title, severity, category, application, environment, fingerprint, error_message, error_type,
        stack_trace, endpoint, context, occurrences, announced_only, detected_at, last_seen_at, updated_at
    )
    SELECT
        incident_id, title, (ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'])[worst], category, application, home,
        fingerprint, error_message, error_type, stack_trace, endpoint, context::jsonb, greatest(reports, 1),
        reports = 0, received_at, last_received_at, last_received_at
    FROM fresh
    WHERE nth = 1
    -- The order of the narrower of the two unique indexes first.
    ORDER BY application COLLATE "C", fingerprint COLLATE "C", home COLLATE "C"
    ON CONFLICT (application, environment, fingerprint) WHERE status <> 'resolved'
    DO UPDATE SET
        occurrences = stored.occurrences + CASE
            WHEN EXCLUDED.announced_only THEN 0
            WHEN stored.announced_only THEN EXCLUDED.occurrences - 1
            ELSE EXCLUDED.occurrences
        END,
        announced_only = stored.announced_only AND EXCLUDED.announced_only,
        last_seen_at = greatest(stored.last_seen_at, EXCLUDED.last_seen_at),
        updated_at = greatest(stored.updated_at, EXCLUDED.updated_at),
        severity = CASE
            WHEN array_position(ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'], EXCLUDED.severity::text)
                > array_position(ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'], stored.severity::text)
            THEN EXCLUDED.severity
            ELSE stored.severity
        END
    RETURNING id, incident_id, application, environment, fingerprint
),
placed AS (
    SELECT
        fresh.*,
        counted.id AS stored_id,
        counted.incident_id AS stored_incident_id,
        counted.incident_id = fresh.incident_id AS created
    FROM fresh
    JOIN counted ON counted.application = fresh.application
        AND counted.environment = fresh.home
        AND counted.fingerprint = fresh.fingerprint
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
            'severity', (ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'])[worst], 'environment', home
        ),
        received_at
    FROM placed
    WHERE created
)
SELECT delivery_key, stored_incident_id::text AS incident_id, created, severity, category
FROM placed
