-- Refusals, added to the row of their kind, source and minute. `metadata` holds how many there were, the first and the
-- last, and the batch that was added last: sent again, it adds nothing.
INSERT INTO public.security_events AS stored (
    event_id, "timestamp", event_type, severity, status, source_ip, description, action_taken, metadata
)
SELECT
    event_id, first_at, event_type, severity, 'detected', source_ip, description, 'refused',
    jsonb_build_object('count', count, 'first_at', first_at, 'last_at', last_at, 'batch', $9::uuid)
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[], $8::timestamptz[]
) AS given (event_id, event_type, severity, source_ip, description, count, first_at, last_at)
-- One order for everybody: batches that meet wait for each other, and never in a circle.
ORDER BY event_id COLLATE "C"
ON CONFLICT (event_id) DO UPDATE SET
    "timestamp" = least(stored."timestamp", EXCLUDED."timestamp"),
    metadata = jsonb_build_object(
        'count', (stored.metadata ->> 'count')::bigint + (EXCLUDED.metadata ->> 'count')::bigint,
        'first_at', least((stored.metadata ->> 'first_at')::timestamptz, (EXCLUDED.metadata ->> 'first_at')::timestamptz),
        'last_at', greatest((stored.metadata ->> 'last_at')::timestamptz, (EXCLUDED.metadata ->> 'last_at')::timestamptz),
        'batch', EXCLUDED.metadata ->> 'batch'
    )
WHERE stored.metadata ->> 'batch' IS DISTINCT FROM EXCLUDED.metadata ->> 'batch'
