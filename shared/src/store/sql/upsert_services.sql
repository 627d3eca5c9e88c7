-- Services as configured. A row from a file is never changed by the environment's defaults; a changed address or
-- expectation keeps what is known of the service (an open outage must still be able to recover). Of one that is
-- switched off nobody asks any more whether it is well: what was open about it ends here.
WITH changed AS (
    INSERT INTO public.services AS stored (
        name, environment, application, group_name, kind, target, timeout_ms, interval_seconds, enabled, settings,
        policy, origin, created_at, updated_at
    )
    SELECT
        name, environment, application, group_name, kind, target, timeout_ms, interval_seconds, enabled, settings,
        policy, $2, $3, $3
    FROM jsonb_to_recordset($1::jsonb) AS given (
        name text, environment text, application text, group_name text, kind text, target text, timeout_ms int,
        interval_seconds int, enabled bool, settings jsonb, policy jsonb
    )
    ORDER BY environment COLLATE "C", name COLLATE "C"
    ON CONFLICT (name, environment) DO UPDATE SET
        application = EXCLUDED.application,
        group_name = EXCLUDED.group_name,
        kind = EXCLUDED.kind,
        target = EXCLUDED.target,
        timeout_ms = EXCLUDED.timeout_ms,
        interval_seconds = EXCLUDED.interval_seconds,
        enabled = EXCLUDED.enabled,
        settings = EXCLUDED.settings,
        policy = EXCLUDED.policy,
        origin = EXCLUDED.origin,
        -- What is being asked of it right now is the old question: its answer finds another revision.
        revision = stored.revision + 1,
        state = CASE WHEN EXCLUDED.enabled THEN stored.state ELSE 'unknown' END,
        state_changed_at = CASE
            WHEN EXCLUDED.enabled OR stored.state = 'unknown' THEN stored.state_changed_at
            ELSE EXCLUDED.updated_at
        END,
        consecutive_failures = CASE WHEN EXCLUDED.enabled THEN stored.consecutive_failures ELSE 0 END,
        consecutive_degraded = CASE WHEN EXCLUDED.enabled THEN stored.consecutive_degraded ELSE 0 END,
        consecutive_successes = CASE WHEN EXCLUDED.enabled THEN stored.consecutive_successes ELSE 0 END,
        failing_since = CASE WHEN EXCLUDED.enabled THEN stored.failing_since END,
        flapping = EXCLUDED.enabled AND stored.flapping,
        down_alerted_at = CASE WHEN EXCLUDED.enabled THEN stored.down_alerted_at END,
        degraded_alerted_at = CASE WHEN EXCLUDED.enabled THEN stored.degraded_alerted_at END,
        held_by = CASE WHEN EXCLUDED.enabled THEN stored.held_by END,
        updated_at = EXCLUDED.updated_at
    WHERE (EXCLUDED.origin = 'file' OR stored.origin = 'environment')
        AND (
            stored.application, stored.group_name, stored.kind, stored.target, stored.timeout_ms,
            stored.interval_seconds, stored.enabled, stored.settings, stored.policy, stored.origin
        ) IS DISTINCT FROM (
            EXCLUDED.application, EXCLUDED.group_name, EXCLUDED.kind, EXCLUDED.target, EXCLUDED.timeout_ms,
            EXCLUDED.interval_seconds, EXCLUDED.enabled, EXCLUDED.settings, EXCLUDED.policy, EXCLUDED.origin
        )
    RETURNING name, environment, enabled
),
incidents_resolved AS (
    UPDATE public.incidents AS incident
    SET
        status = 'resolved',
        resolved_at = $3,
        time_to_resolution = $3 - incident.detected_at,
        updated_at = $3,
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
    SET status = 'resolved', resolved_at = $3
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
        $3, 'operator', 'operator', 'service_disabled', 'Resolved because its service was switched off: ' || title,
        true, id
    FROM incidents_resolved
)
SELECT count(*) AS changed FROM changed
