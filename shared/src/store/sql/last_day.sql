-- The sums of the hourly roll-ups of the last day, per service. The hour that began more than 24 hours ago counts in
-- full.
WITH hours AS (
    SELECT hourly.*
    FROM (
        SELECT id FROM public.services WHERE enabled ORDER BY environment, name LIMIT 1000
    ) AS service
    JOIN public.service_hourly AS hourly ON hourly.service_id = service.id
    WHERE hourly.hour > $1 - interval '25 hours' AND hourly.hour <= $1
),
buckets AS (
    -- The arrays begin with the first bucket that is not empty.
    SELECT service_id, place, sum(latency_counts[place])::bigint AS answers
    FROM hours
    CROSS JOIN generate_subscripts(latency_counts, 1) AS place
    GROUP BY service_id, place
)
SELECT
    service_id,
    sum(healthy)::bigint AS healthy,
    sum(degraded)::bigint AS degraded,
    sum(down)::bigint AS down,
    (
        SELECT array_agg(coalesce(answers, 0) ORDER BY every.place)
        FROM generate_series(1, $2) AS every (place)
        LEFT JOIN buckets ON buckets.service_id = hours.service_id AND buckets.place = every.place
    ) AS latency_counts
FROM hours
GROUP BY service_id
