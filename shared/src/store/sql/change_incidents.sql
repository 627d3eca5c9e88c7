-- A step in the lifecycle of incidents: the delivery, the changed incidents, their audit rows, their events. Idempotent
-- by the delivery's key. $8 is the new status; NULL: only an audit row. 'resolved' and 'acknowledged' apply to all open
-- incidents of a fingerprint, 'detected' reopens the newest resolved one, only if none is open. A step is stale, is
-- recorded as such and changes nothing, if it is older by the source's clock ($9) than the newest known step. A
-- deferred step ($16) is also stale if a resolve or reopen that arrived after it ($4) is stored and the source's clock
-- does not order the two, or if it resolves and the error was reported again since. $4 and the incident's last_seen_at
-- are times of arrival. The alerts of an incident are acknowledged and resolved with it, and their pending
-- announcements are cancelled. The incident's event stands for theirs.
WITH target AS (
    SELECT id FROM public.incidents WHERE incident_id = $7
    UNION ALL
    (
        SELECT id FROM public.incidents
        WHERE fingerprint = $6 AND fingerprint LIKE 'sentry:%'
        ORDER BY status = 'resolved', detected_at DESC
        LIMIT 100
    )
    UNION ALL
    (
        SELECT id FROM public.incidents
        WHERE fingerprint = $6 AND $6 NOT LIKE 'sentry:%'
        ORDER BY status = 'resolved', detected_at DESC
        LIMIT 100
    )
),
delivered AS (
    INSERT INTO public.inbound_deliveries (delivery_key, source, action_id, received_at, note)
    SELECT $1, $2, $3, $4, $5::jsonb
    WHERE $10 OR EXISTS (SELECT FROM target)
    ON CONFLICT (delivery_key) DO NOTHING
    RETURNING delivery_key
),
locked AS (
    -- Row locks, in a fixed order to prevent deadlocks of concurrent steps.
    SELECT id, incident_id, status, detected_at, last_seen_at, upstream_changed_at
    FROM public.incidents
    WHERE id IN (SELECT id FROM target) AND EXISTS (SELECT FROM delivered)
    ORDER BY id
    FOR NO KEY UPDATE
),
ranked AS (
    SELECT
        locked.*,
        coalesce($9 < upstream_changed_at, false) OR $16 AND (
            coalesce($9 <= upstream_changed_at, true) AND EXISTS (
                SELECT FROM public.agent_actions AS newer
                WHERE newer.incident_id = locked.id AND newer."timestamp" > $4
                    AND newer.action_details ->> 'to' IN ('resolved', 'detected')
                    AND newer.action_details -> 'stale' = 'false'
            )
            OR $8 IS NOT DISTINCT FROM 'resolved' AND (
                last_seen_at > $4
                OR EXISTS (
                    SELECT FROM public.incident_occurrences AS unfolded
                    WHERE unfolded.incident = locked.id AND unfolded.last_seen_at > $4
                )
            )
        ) AS stale,
        row_number() OVER (ORDER BY status = 'resolved', detected_at DESC, id DESC) AS nth
    FROM locked
),
chosen AS (
    SELECT
        ranked.*,
        NOT stale AND CASE $8
            WHEN 'resolved' THEN status <> 'resolved'
            WHEN 'acknowledged' THEN status = 'detected'
            WHEN 'detected' THEN status = 'resolved'
            ELSE false
        END AS changed,
        CASE WHEN nth = 1 THEN $3 ELSE gen_random_uuid() END AS action_id,
        gen_random_uuid() AS event_id
    FROM ranked
    WHERE nth = 1 OR (status <> 'resolved' AND $8 IN ('resolved', 'acknowledged'))
),
applied AS (
    UPDATE public.incidents AS stored
    SET
        status = CASE WHEN changed THEN $8 ELSE stored.status END,
        handled_by = CASE WHEN NOT changed THEN stored.handled_by WHEN $8 <> 'detected' THEN left($2, 50) END,
        reopened_at = CASE WHEN changed AND $8 = 'detected' THEN $4 ELSE stored.reopened_at END,
        reopen_count = stored.reopen_count + CASE WHEN changed AND $8 = 'detected' THEN 1 ELSE 0 END,
        resolved_at = CASE WHEN NOT changed THEN stored.resolved_at WHEN $8 = 'resolved' THEN $4 END,
        time_to_resolution = CASE
            WHEN NOT changed THEN stored.time_to_resolution
            WHEN $8 = 'resolved' THEN greatest($4 - stored.detected_at, interval '0')
        END,
        updated_at = CASE WHEN changed THEN greatest(stored.updated_at, $4) ELSE stored.updated_at END,
        upstream_changed_at = greatest(stored.upstream_changed_at, $9)
    FROM chosen
    WHERE stored.id = chosen.id AND (changed OR (NOT stale AND $9 IS NOT NULL))
),
alerts_followed AS (
    UPDATE public.alert_events AS alert
    SET
        status = $8,
        acknowledged_at = CASE $8 WHEN 'acknowledged' THEN $4 ELSE alert.acknowledged_at END,
        resolved_at = CASE $8 WHEN 'resolved' THEN $4 END
    FROM chosen
    WHERE alert.incident_id = chosen.id
        AND chosen.changed
        AND CASE $8
            WHEN 'resolved' THEN alert.status <> 'resolved'
            WHEN 'acknowledged' THEN alert.status = 'active'
            ELSE false
        END
),
audited AS (
    INSERT INTO public.agent_actions (
        id, timestamp, agent_id, agent_type, action_type, action_description, action_success, incident_id,
        action_details
    )
    SELECT
        action_id, $4, $11, $12, $13, $14, true, id,
        $15::jsonb || jsonb_strip_nulls(jsonb_build_object('changed', changed, 'stale', stale, 'to', $8))
    FROM chosen
),
announced AS (
    INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
    SELECT
        event_id,
        CASE $8
            WHEN 'resolved' THEN 'IncidentResolved'
            WHEN 'acknowledged' THEN 'IncidentAcknowledged'
            ELSE 'IncidentReopened'
        END,
        jsonb_build_object('incident_id', incident_id), $4
    FROM chosen
    WHERE changed
)
SELECT
    EXISTS (SELECT FROM delivered) AS is_new, chosen.incident_id::text AS incident_id,
    coalesce(chosen.changed, false) AS changed, coalesce(chosen.stale, false) AS stale,
    CASE WHEN chosen.changed THEN chosen.event_id END AS event_id
FROM (SELECT 1) AS always
LEFT JOIN chosen ON true
ORDER BY chosen.nth
