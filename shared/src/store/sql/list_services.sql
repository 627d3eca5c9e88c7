-- All enabled services, with their newest check.
SELECT service.id, service.name::text AS name, service.environment, service.application::text AS application,
    service.group_name::text AS group_name, service.kind, service.target, service.timeout_ms, service.interval_seconds,
    service.enabled, service.settings, service.policy, service.revision, service.state_changed_at,
    service.consecutive_failures, service.consecutive_degraded, service.consecutive_successes, service.failing_since,
    service.recent_failed, service.recent_known, service.flapping, service.down_alerted_at,
    service.degraded_alerted_at, service.last_checked_at, service.last_latency_ms, service.last_reason,
    service.last_error, service.held_by, service.certificate_expires_at, breaker.state AS breaker_state,
    breaker.retry_at AS breaker_retry_at,
    CASE
        -- A heartbeat is checked each minute, whatever its job's interval.
        WHEN greatest(service.last_checked_at, breaker.retry_at) < $1 - make_interval(
            secs => 3 * least(
                CASE WHEN service.kind = 'heartbeat' THEN 60 END, coalesce(service.interval_seconds, default_interval)
            )::double precision
        ) THEN 'unknown'
        ELSE service.state
    END AS state
FROM public.services AS service
CROSS JOIN switches
LEFT JOIN public.circuit_breakers AS breaker
    ON breaker.key = 'service:' || service.id AND service.policy -> 'tags' ? 'external'
WHERE service.enabled
ORDER BY service.environment, service.name
LIMIT 10000
