-- Applications with their usage in the windows that begin at $1 (burst), $2 (hour) and $3 (month), from the counters of
-- `quotas::add`.
SELECT
    application.number, application.name::text AS name, application.environment, application.key_version,
    application.removed_at IS NOT NULL AS removed,
    application.quota_burst, application.quota_hour, application.quota_month,
    application.max_severity, application.allowed_origins, application.new_incidents_per_hour,
    coalesce(burst.accepted, 0) AS burst_accepted,
    coalesce(hour.accepted, 0) AS hour_accepted,
    coalesce(month.accepted, 0) AS month_accepted,
    coalesce(month.refused, 0) AS month_refused
FROM public.applications AS application
LEFT JOIN public.quota_counters AS burst
    ON burst.application = application.number AND burst.quota = 'burst' AND burst.window_start = $1
LEFT JOIN public.quota_counters AS hour
    ON hour.application = application.number AND hour.quota = 'hour' AND hour.window_start = $2
LEFT JOIN public.quota_counters AS month
    ON month.application = application.number AND month.quota = 'month' AND month.window_start = $3
