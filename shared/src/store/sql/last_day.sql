-- The hours of the last day of each service, added up. The hour that began more than 24 hours ago counts whole.
WITH hours AS (
    SELECT hourly.*
    FROM (
        SELECT id FROM public.services WHERE enabled ORDER BY environment, name LIMIT 1000
    ) AS service
    JOIN public.service_hourly AS hourly ON hourly.service_id = service.id
    WHERE hourly.hour > $1 - interval '25 hours' AND hourly.hour <= $1
),
buckets AS (
    SELECT service_id, bucket.place, sum(bucket.answers)::bigint AS answers
    FROM hours
    CROSS JOIN unnest(latency_counts) WITH ORDINALITY AS bucket (answers, place)
    GROUP BY service_id, bucket.place
)
SELECT
    service_id,
    sum(healthy)::bigint AS healthy,
    sum(degraded)::bigint AS degraded,
    sum(down)::bigint AS down,
    coalesce((
        SELECT array_agg(answers ORDER BY place) FROM buckets WHERE buckets.service_id = hours.service_id
    ), '{}') AS latency_counts
FROM hours
GROUP BY service_id
