-- Creates or updates services and routes ($5; NULL: unchanged), all or none. Each row, and the routes ($8, $9), store
-- the file ($7) that they came from. The environment's defaults never change a row from a file. A changed target or
-- condition keeps the service's standing (an open outage must still be able to recover). Disabled and removed services
-- ($4) are no longer checked: their open incidents and alerts are resolved here.
WITH given AS (
    SELECT *
    FROM jsonb_to_recordset($1::jsonb) AS given (
        name text, environment text, application text, group_name text, kind text, target text, timeout_ms int,
        interval_seconds int, enabled bool, settings jsonb, policy jsonb, token_hash text
    )
),
changed AS (
    INSERT INTO public.services AS stored (
        name, environment, application, group_name, kind, target, timeout_ms, interval_seconds, enabled, settings,
        policy, origin, file_name, created_at, updated_at
    )
    SELECT
        name, environment, application, group_name, kind, target, timeout_ms, interval_seconds, enabled, settings,
        policy, $2, $7, $3, $3
    FROM given
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
        file_name = EXCLUDED.file_name,
        -- A check in progress has the old configuration: its result conflicts with the new revision.
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
        -- Votes and measurements of another target are dropped.
        votes = CASE
            WHEN (stored.kind, stored.target) = (EXCLUDED.kind, EXCLUDED.target) THEN stored.votes ELSE '{}'
        END,
        measurements = CASE
            WHEN (stored.kind, stored.target) = (EXCLUDED.kind, EXCLUDED.target) THEN stored.measurements
        END,
        -- So is its certificate; and another warning time is evaluated from the start.
        certificate_expires_at = CASE
            WHEN (stored.kind, stored.target, stored.settings -> 'certificate_warning_days')
                = (EXCLUDED.kind, EXCLUDED.target, EXCLUDED.settings -> 'certificate_warning_days')
            THEN stored.certificate_expires_at
        END,
        updated_at = EXCLUDED.updated_at
    WHERE (EXCLUDED.origin = 'file' OR stored.origin = 'environment')
        AND (
            stored.application, stored.group_name, stored.kind, stored.target, stored.timeout_ms,
            stored.interval_seconds, stored.enabled, stored.settings, stored.policy, stored.origin,
            stored.file_name
        ) IS DISTINCT FROM (
            EXCLUDED.application, EXCLUDED.group_name, EXCLUDED.kind, EXCLUDED.target, EXCLUDED.timeout_ms,
            EXCLUDED.interval_seconds, EXCLUDED.enabled, EXCLUDED.settings, EXCLUDED.policy, EXCLUDED.origin,
            EXCLUDED.file_name
        )
    RETURNING id, name, environment, enabled, kind, target
),
removed AS (
    DELETE FROM public.services AS service
    USING jsonb_to_recordset($4::jsonb) AS gone (name text, environment text)
    WHERE service.name = gone.name AND service.environment = gone.environment AND service.origin = 'file'
        AND service.file_name IS NOT DISTINCT FROM $7
    RETURNING service.id, service.name, service.environment
),
-- A changed service is checked at once.
breakers_removed AS (
    DELETE FROM public.circuit_breakers AS breaker
    USING (SELECT id FROM changed UNION ALL SELECT id FROM removed) AS service
    WHERE breaker.key = 'service:' || service.id
),
tokens AS (
    INSERT INTO public.service_heartbeats AS stored (service_id, token_hash, created_at, resumed_at)
    SELECT known.id, given.token_hash, $3, CASE WHEN EXISTS (
        SELECT FROM changed
        JOIN public.services AS before ON before.id = changed.id
        WHERE changed.id = known.id AND changed.enabled AND NOT before.enabled
    ) THEN $3 END
    FROM given
    JOIN (
        SELECT id, name, environment FROM changed
        UNION
        SELECT id, name, environment FROM public.services
    ) AS known ON known.name = given.name AND known.environment = given.environment
    WHERE given.token_hash IS NOT NULL
    ORDER BY known.id
    -- A job that is enabled again starts without its earlier failure and with a new deadline.
    ON CONFLICT (service_id) DO UPDATE SET
        token_hash = EXCLUDED.token_hash,
        failed = stored.failed AND EXCLUDED.resumed_at IS NULL,
        message = CASE WHEN EXCLUDED.resumed_at IS NULL THEN stored.message END,
        resumed_at = coalesce(EXCLUDED.resumed_at, stored.resumed_at)
    WHERE stored.token_hash <> EXCLUDED.token_hash OR EXCLUDED.resumed_at IS NOT NULL
),
tokens_removed AS (
    DELETE FROM public.service_heartbeats AS stored
    USING changed
    WHERE stored.service_id = changed.id AND changed.kind <> 'heartbeat'
),
ended AS (
    SELECT name, environment, 'service_disabled' AS action, 'switched off' AS why FROM changed WHERE NOT enabled
    UNION ALL
    SELECT name, environment, 'service_removed', 'removed' FROM removed
),
-- All alerts of those services; and the certificate alerts of services with another target.
over AS (
    SELECT name, environment, NULL AS alert_type FROM ended
    UNION ALL
    SELECT changed.name, changed.environment, 'certificate_expiring'
    FROM changed
    JOIN public.services AS before ON before.id = changed.id
    WHERE changed.enabled AND (before.kind, before.target) <> (changed.kind, changed.target)
),
incidents_resolved AS (
    UPDATE public.incidents AS incident
    SET
        status = 'resolved',
        resolved_at = $3,
        time_to_resolution = $3 - incident.detected_at,
        updated_at = $3,
        handled_by = coalesce(incident.handled_by, 'operator')
    FROM ended
    WHERE incident.environment = ended.environment
        AND incident.fingerprint = 'health:' || ended.name
        AND incident.status <> 'resolved'
    RETURNING incident.id, incident.incident_id, incident.title, ended.action, ended.why
),
alerts_resolved AS (
    UPDATE public.alert_events AS alert
    SET status = 'resolved', resolved_at = $3
    FROM over
    WHERE alert.service_name = over.name
        AND alert.environment = over.environment
        AND (over.alert_type IS NULL OR alert.alert_type = over.alert_type)
        AND alert.status <> 'resolved'
    -- The end of an unannounced alert is not published.
    RETURNING alert.id, alert.announced_at IS NOT NULL OR alert.announce_at IS NULL AS announced
),
audited AS (
    INSERT INTO public.agent_actions (
        timestamp, agent_id, agent_type, action_type, action_description, action_success, incident_id
    )
    SELECT $3, 'operator', 'operator', action, 'Resolved because its service was ' || why || ': ' || title, true, id
    FROM incidents_resolved
),
routed AS (
    INSERT INTO public.system_config AS stored (key, value, description, updated_at, updated_by)
    SELECT $6, $5::jsonb, 'Notification routes and escalation policies', $3, 'watchkeeper apply'
    WHERE $5::jsonb IS NOT NULL
    ON CONFLICT (key) DO UPDATE SET
        value = EXCLUDED.value,
        updated_at = EXCLUDED.updated_at,
        updated_by = EXCLUDED.updated_by
    WHERE stored.value IS DISTINCT FROM EXCLUDED.value
),
routed_by AS (
    INSERT INTO public.system_config AS stored (key, value, description, updated_at, updated_by)
    SELECT $9, jsonb_build_object('name', $7::text), 'The file that routes and escalations came from', $3,
        'watchkeeper apply'
    WHERE $8
    ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, updated_at = EXCLUDED.updated_at
    WHERE stored.value IS DISTINCT FROM EXCLUDED.value
),
announced AS (
    INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
    SELECT gen_random_uuid(), 'IncidentResolved', jsonb_build_object('incident_id', incident_id), $3
    FROM incidents_resolved
    UNION ALL
    SELECT gen_random_uuid(), 'AlertResolved', jsonb_build_object('alert_id', id), $3
    FROM alerts_resolved
    WHERE announced
)
SELECT (SELECT count(*) FROM changed) AS changed, (SELECT count(*) FROM removed) AS removed
