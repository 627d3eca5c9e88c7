-- The notifications of a receiver ($1 channel, $2 recipient) that may be sent now ($3), at most $4 urgent and $4 ordinary ones:
-- of one group only the first, so that its notifications arrive in order. Urgent ones come first; each part reads its own
-- index, which ends with the limit. `seq` is the order, not a clock. `earlier` and `was_notified` reach back to the last end:
-- earlier ones belong to another outage.
WITH urgent AS (
    SELECT message.*
    FROM public.notifications AS message
    WHERE message.channel = $1 AND message.recipient = $2 AND message.kind IN ('escalated', 'digest')
        AND message.status IN ('pending', 'sending') AND message.next_attempt_at <= $3
        AND (message.claimed_until IS NULL OR message.claimed_until <= $3)
        AND NOT EXISTS (
            SELECT FROM public.notifications AS before
            WHERE before.group_key = message.group_key AND before.channel = $1 AND before.recipient = $2
                AND before.status IN ('pending', 'sending')
                AND before.seq < message.seq
        )
    ORDER BY message.seq
    LIMIT $4
    FOR UPDATE SKIP LOCKED
),
ordinary AS (
    SELECT message.*
    FROM public.notifications AS message
    WHERE message.channel = $1 AND message.recipient = $2 AND message.kind NOT IN ('escalated', 'digest')
        AND message.status IN ('pending', 'sending') AND message.next_attempt_at <= $3
        AND (message.claimed_until IS NULL OR message.claimed_until <= $3)
        AND NOT EXISTS (
            SELECT FROM public.notifications AS before
            WHERE before.group_key = message.group_key AND before.channel = $1 AND before.recipient = $2
                AND before.status IN ('pending', 'sending')
                AND before.seq < message.seq
        )
    ORDER BY message.seq
    LIMIT $4
    FOR UPDATE SKIP LOCKED
),
waiting AS (
    SELECT * FROM urgent
    UNION ALL
    SELECT * FROM ordinary
)
SELECT
    waiting.id, waiting.kind, waiting.dedup_key, waiting.content, waiting.attempts,
    greatest(waiting.created_at, waiting.replayed_at) AS created_at,
    waiting.replayed_at IS NOT NULL AS is_replayed,
    EXISTS (
        SELECT FROM public.notifications AS later
        WHERE later.group_key = waiting.group_key AND later.channel = $1 AND later.recipient = $2
            AND later.seq > waiting.seq AND later.kind = 'resolved'
    ) AS is_over,
    EXISTS (
        SELECT FROM public.notifications AS later
        WHERE later.group_key = waiting.group_key AND later.channel = $1 AND later.recipient = $2
            AND later.seq > waiting.seq AND later.kind = 'acknowledged'
    ) AND NOT EXISTS (
        SELECT FROM public.notification_members AS member
        WHERE member.group_key = waiting.group_key AND member.state = 'firing'
    ) AS is_taken,
    coalesce(past.was_notified, false) AS was_notified, coalesce(past.was_tried, false) AS was_tried, past.earlier
FROM waiting
LEFT JOIN LATERAL (
    SELECT
        bool_or(before.kind IN ('firing', 'repeat', 'escalated') AND before.status IN ('sent', 'digested')) AS was_notified,
        bool_or(before.kind IN ('firing', 'repeat', 'escalated') AND before.attempts > 0) AS was_tried,
        (array_agg(before.remote ORDER BY before.seq DESC)
            FILTER (WHERE before.remote IS NOT NULL AND before.status = 'sent'))[1] AS earlier
    FROM public.notifications AS before
    WHERE before.group_key = waiting.group_key AND before.channel = $1 AND before.recipient = $2
        AND before.seq < waiting.seq
        AND before.seq > coalesce((
            SELECT max(ended.seq) FROM public.notifications AS ended
            WHERE ended.group_key = waiting.group_key AND ended.channel = $1 AND ended.recipient = $2
                AND ended.seq < waiting.seq AND ended.kind = 'resolved'
        ), 0)
) AS past ON true
ORDER BY waiting.kind NOT IN ('escalated', 'digest'), waiting.seq
