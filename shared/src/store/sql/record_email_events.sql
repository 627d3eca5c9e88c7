-- Events about e-mails, deduplicated by their keys. $7 lists the stages in ascending order: an earlier stage never
-- replaces a later one. Events about messages that are not ours are ignored.
WITH given AS (
    SELECT DISTINCT ON (key) key, email_id, stage, at, reason
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[])
        AS given (key, email_id, stage, at, reason)
    WHERE email_id IN (SELECT id FROM public.notifications WHERE channel = 'email' AND id = ANY($2))
    ORDER BY key
),
fresh AS (
    INSERT INTO public.inbound_deliveries (delivery_key, source, received_at)
    -- A fixed lock order prevents deadlocks of concurrent deliveries.
    SELECT key, 'sendgrid', $6 FROM given ORDER BY key
    ON CONFLICT (delivery_key) DO NOTHING
    RETURNING delivery_key
),
counted AS (
    SELECT
        email_id,
        max(array_position($7::text[], stage)) AS stage,
        min(at) FILTER (WHERE stage = 'delivered') AS delivered_at,
        min(at) FILTER (WHERE stage = 'opened') AS opened_at,
        min(at) FILTER (WHERE stage = 'clicked') AS clicked_at,
        count(*) FILTER (WHERE stage = 'clicked')::int AS clicks,
        (array_agg(stage || coalesce(': ' || reason, '') ORDER BY at DESC)
            FILTER (WHERE stage IN ('dropped', 'bounced')))[1] AS failure,
        (array_agg(reason ORDER BY at DESC) FILTER (WHERE reason IS NOT NULL))[1] AS reason
    FROM given
    JOIN fresh ON fresh.delivery_key = given.key
    GROUP BY email_id
),
tracked AS (
    -- sent_at is set by the function that sends the e-mail: NULL = not recorded yet.
    INSERT INTO public.email_tracking AS stored (
        email_id, recipient, sent_at, status, delivered_at, opened_at, first_clicked_at, click_count, metadata
    )
    SELECT
        counted.email_id::text, left(message.recipient, 255), NULL, ($7::text[])[counted.stage], delivered_at, opened_at,
        clicked_at, clicks, CASE WHEN reason IS NOT NULL THEN jsonb_build_object('reason', reason) END
    FROM counted
    JOIN public.notifications AS message ON message.id = counted.email_id
    ORDER BY counted.email_id
    ON CONFLICT (email_id) DO UPDATE SET
        status = CASE
            WHEN coalesce(array_position($7::text[], stored.status::text), 0)
                < array_position($7::text[], EXCLUDED.status::text) THEN EXCLUDED.status
            ELSE stored.status
        END,
        delivered_at = least(stored.delivered_at, EXCLUDED.delivered_at),
        opened_at = least(stored.opened_at, EXCLUDED.opened_at),
        first_clicked_at = least(stored.first_clicked_at, EXCLUDED.first_clicked_at),
        click_count = coalesce(stored.click_count, 0) + EXCLUDED.click_count,
        metadata = CASE
            WHEN EXCLUDED.metadata IS NULL THEN stored.metadata
            ELSE coalesce(stored.metadata, '{}') || EXCLUDED.metadata
        END
),
failed AS (
    UPDATE public.notifications AS message
    SET status = 'failed', last_error = counted.failure, claimed_by = NULL, claimed_until = NULL
    FROM counted
    WHERE message.id = counted.email_id AND counted.failure IS NOT NULL AND message.status IN ('sent', 'sending')
)
SELECT count(*) AS recorded FROM fresh
