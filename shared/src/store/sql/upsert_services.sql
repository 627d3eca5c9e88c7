-- Services as configured. A row from a file is never changed by the environment's defaults; a changed address or
-- expectation keeps what is known of the service (an open outage must still be able to recover). Of one that is
-- switched off nobody asks any more whether it is well: what was open about it ends here.
WITH changed AS (
    INSERT INTO public.services AS stored (
        name, environment, application, url, expected_status, timeout_ms, interval_seconds, enabled, origin,
        created_at, updated_at
    )
    SELECT name, environment, application, url, expected_status, timeout_ms, interval_seconds, enabled, $9, $10, $10
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::int[], $8::bool[])
        AS given (name, environment, application, url, expected_status, timeout_ms, interval_seconds, enabled)
    ORDER BY environment COLLATE "C", name COLLATE "C"
    ON CONFLICT (name, environment) DO UPDATE SET
        application = EXCLUDED.application,
        url = EXCLUDED.url,
        expected_status = EXCLUDED.expected_status,
        timeout_ms = EXCLUDED.timeout_ms,
        interval_seconds = EXCLUDED.interval_seconds,
        enabled = EXCLUDED.enabled,
        origin = EXCLUDED.origin,
        state = CASE WHEN EXCLUDED.enabled THEN stored.state ELSE 'unknown' END,
        state_changed_at = CASE
            WHEN EXCLUDED.enabled OR stored.state = 'unknown' THEN stored.state_changed_at
            ELSE EXCLUDED.updated_at
        END,
        consecutive_failures = CASE WHEN EXCLUDED.enabled THEN stored.consecutive_failures ELSE 0 END,
        consecutive_successes = CASE WHEN EXCLUDED.enabled THEN stored.consecutive_successes ELSE 0 END,
        -- What is being asked of it right now is the old question.
        claimed_by = NULL,
        claimed_until = NULL,
        updated_at = EXCLUDED.updated_at
    WHERE (EXCLUDED.origin = 'file' OR stored.origin = 'environment')
        AND (
            stored.application, stored.url, stored.expected_status, stored.timeout_ms, stored.interval_seconds,
            stored.enabled, stored.origin
        ) IS DISTINCT FROM (
            EXCLUDED.application, EXCLUDED.url, EXCLUDED.expected_status, EXCLUDED.timeout_ms,
            EXCLUDED.interval_seconds, EXCLUDED.enabled, EXCLUDED.origin
        )
    RETURNING name, environment, enabled
),
incidents_resolved AS (
    UPDATE public.incidents AS incident
    SET
        status = 'resolved',
        resolved_at = $10,
        time_to_resolution = $10 - incident.detected_at,
        updated_at = $10,
        handled_by = coalesce(incident.handled_by, 'operator')
    FROM changed
    WHERE NOT changed.enabled
        AND incident.environment = changed.environment
        AND incident.fingerprint = 'health:' || changed.name
        AND incident.status <> 'resolved'
    RETURNING incident.id, incident.title
),
alerts_resolved AS (
    UPDATE public.alert_events AS alert
    SET status = 'resolved', resolved_at = $10
    FROM changed
    WHERE NOT changed.enabled
        AND alert.service_name = changed.name
        AND alert.environment = changed.environment
        AND alert.status <> 'resolved'
),
audited AS (
    INSERT INTO public.agent_actions (
        timestamp, agent_id, agent_type, action_type, action_description, action_success, incident_id
    )
    SELECT
        $10, 'operator', 'operator', 'service_disabled', 'Resolved because its service was switched off: ' || title,
        true, id
    FROM incidents_resolved
)
SELECT count(*) AS changed FROM changed
