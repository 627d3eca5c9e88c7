-- The newest check of each service that was checked at $1 or later.
SELECT service.name::text AS service, service.environment, service.kind, service.state, service.held_by,
    measured.status AS verdict, measured.latency_ms, measured.error_message, result.http_status,
    result.error_details ->> 'code' AS reason, incident.incident_id::text AS incident_id
FROM public.services AS service
CROSS JOIN LATERAL (
    SELECT id, status, latency_ms, error_message
    FROM public.service_health_checks AS measured
    WHERE measured.service_name = service.name
        AND measured.environment = service.environment
        AND measured.checked_at >= $1
    ORDER BY measured.checked_at DESC
    LIMIT 1
) AS measured
-- Both rows of a check have the same id.
LEFT JOIN public.monitoring_checks AS result ON result.id = measured.id
LEFT JOIN public.incidents AS incident
    ON incident.fingerprint = 'health:' || service.name
        AND incident.environment = service.environment
        AND incident.status <> 'resolved'
WHERE service.enabled AND service.last_checked_at >= $1
ORDER BY service.environment, service.name
LIMIT 10000
