-- The members of a group ($1) by state, but for one ($2), and the PagerDuty receivers whose incident of this group is
-- acknowledged there, by what was sent last. `Counts::add` counts a member alike.
SELECT
    count(*) FILTER (WHERE NOT muted AND active) AS active,
    count(*) FILTER (WHERE NOT muted AND state = 'firing') AS unacknowledged,
    count(*) FILTER (WHERE NOT muted AND active AND (renewed OR NOT known)) AS new,
    count(*) FILTER (WHERE NOT muted AND known) AS known,
    count(*) FILTER (WHERE NOT muted AND known AND NOT active) AS ended,
    count(*) FILTER (WHERE NOT muted AND state = 'acknowledged' AND told = 'firing') AS taken,
    count(*) FILTER (WHERE muted AND active AND known) AS muted_known,
    count(*) FILTER (WHERE muted AND NOT active AND known) AS muted_ended,
    ARRAY(
        SELECT newest.recipient
        FROM (
            SELECT DISTINCT ON (recipient) recipient, kind
            FROM public.notifications
            WHERE group_key = $1 AND channel = 'pagerduty' AND status <> 'skipped'
            ORDER BY recipient, seq DESC
        ) AS newest
        WHERE newest.kind = 'acknowledged'
        LIMIT 200
    ) AS acknowledged_pages
FROM (
    SELECT state, told, renewed, muted_by IS NOT NULL AS muted, state <> 'resolved' AS active,
        coalesce(told <> 'resolved', false) AS known
    FROM public.notification_members
    WHERE group_key = $1 AND subject IS DISTINCT FROM $2
) AS member
