-- The newest check-in of a job, by time of arrival; but a run that has ended does not start again, however late its
-- start arrives. A successful end counts for `last_ok_at` even if it is no longer the newest. An application with a
-- bounded severity has a public DSN: no job reports with it, so its check-ins are refused.
INSERT INTO public.check_ins AS stored (
    application, environment, monitor_slug, check_in_id, status, duration_ms, last_ok_at, received_at, config
)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb
WHERE EXISTS (SELECT FROM public.applications WHERE number = $1 AND max_severity IS NULL)
    AND (
        EXISTS (SELECT FROM public.check_ins WHERE application = $1 AND environment = $2 AND monitor_slug = $3)
        OR (SELECT count(*) FROM (SELECT FROM public.check_ins WHERE application = $1 LIMIT $10) AS jobs) < $10
    )
ON CONFLICT (application, environment, monitor_slug) DO UPDATE SET
    (check_in_id, status, duration_ms, received_at, config) = (
        SELECT
            CASE WHEN newer THEN EXCLUDED.check_in_id ELSE stored.check_in_id END,
            CASE WHEN newer THEN EXCLUDED.status ELSE stored.status END,
            CASE WHEN newer THEN EXCLUDED.duration_ms ELSE stored.duration_ms END,
            CASE WHEN newer THEN EXCLUDED.received_at ELSE stored.received_at END,
            CASE WHEN newer THEN coalesce(EXCLUDED.config, stored.config) ELSE stored.config END
        FROM (
            SELECT CASE
                WHEN EXCLUDED.check_in_id = stored.check_in_id AND EXCLUDED.status = 'in_progress' THEN false
                WHEN EXCLUDED.check_in_id = stored.check_in_id AND stored.status = 'in_progress' THEN true
                ELSE EXCLUDED.received_at > stored.received_at
            END AS newer
        ) AS compared
    ),
    last_ok_at = greatest(stored.last_ok_at, EXCLUDED.last_ok_at)
WHERE EXCLUDED.last_ok_at > coalesce(stored.last_ok_at, '-infinity')
    OR (EXCLUDED.check_in_id = stored.check_in_id AND stored.status = 'in_progress' AND EXCLUDED.status <> 'in_progress')
    OR (EXCLUDED.check_in_id <> stored.check_in_id AND EXCLUDED.received_at > stored.received_at)
