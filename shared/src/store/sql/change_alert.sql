-- A person's action on an alert without an incident: the delivery, the alert, its audit row, its event. Idempotent by
-- the delivery's key. $4 is the new status; NULL: only an audit row. A pending announcement of the alert is cancelled,
-- and the end of an unannounced alert is not published.
WITH target AS (
    SELECT id, status FROM public.alert_events WHERE id = $3
),
delivered AS (
    INSERT INTO public.inbound_deliveries (delivery_key, source, action_id, received_at)
    SELECT $1, $2, $6, $5 FROM target
    ON CONFLICT (delivery_key) DO NOTHING
    RETURNING delivery_key
),
changed AS (
    UPDATE public.alert_events AS alert
    SET
        status = $4,
        acknowledged_at = CASE $4 WHEN 'acknowledged' THEN $5 ELSE alert.acknowledged_at END,
        resolved_at = CASE $4 WHEN 'resolved' THEN $5 END,
        details = coalesce(alert.details, '{}') || jsonb_build_object('handled_by', $2)
    WHERE alert.id = $3
        AND EXISTS (SELECT FROM delivered)
        AND CASE $4
            WHEN 'resolved' THEN alert.status <> 'resolved'
            WHEN 'acknowledged' THEN alert.status = 'active'
            ELSE false
        END
    RETURNING alert.id,
        $4 = 'acknowledged' OR alert.announced_at IS NOT NULL OR alert.announce_at IS NULL AS is_published
),
audited AS (
    INSERT INTO public.agent_actions (
        id, timestamp, agent_id, agent_type, action_type, action_description, action_success, action_details
    )
    SELECT
        $6, $5, $7, $8, $9, $10, true,
        $11::jsonb || jsonb_build_object('alert_id', $3, 'changed', EXISTS (SELECT FROM changed))
    FROM delivered
),
announced AS (
    INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
    SELECT
        gen_random_uuid(), CASE $4 WHEN 'resolved' THEN 'AlertResolved' ELSE 'AlertAcknowledged' END,
        jsonb_build_object('alert_id', id), $5
    FROM changed
    WHERE is_published
    RETURNING id
)
SELECT (SELECT id FROM announced) AS event_id
