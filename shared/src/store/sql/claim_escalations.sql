-- The escalations whose next step is due, each decided by its problems as they are now, not as notify last evaluated them:
-- - one is unacknowledged and not muted: the step is taken. The next step keeps the policy's interval after this one, also
--   when this one is late;
-- - only muted ones: a retry in a minute;
-- - none: the escalation ends, with the assignee or the status as the reason.
-- SKIP LOCKED: concurrent sweeps get different escalations.
WITH due AS (
    SELECT group_key, policy, steps, next_step, started_at
    FROM public.escalations
    WHERE next_at <= $1
    ORDER BY next_at, group_key
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
problems AS (
    SELECT
        member.group_key,
        member.muted_by IS NOT NULL AS is_muted,
        coalesce(incident.status::text, CASE alert.status WHEN 'active' THEN 'detected' ELSE alert.status END) AS status,
        coalesce(incident.handled_by::text, alert.details ->> 'handled_by') AS handled_by,
        coalesce(incident.updated_at, alert.resolved_at, alert.acknowledged_at) AS changed_at
    FROM due
    JOIN public.notification_members AS member ON member.group_key = due.group_key
    LEFT JOIN public.incidents AS incident
        ON member.subject LIKE 'incident:%' AND incident.incident_id = substr(member.subject, 10)
    LEFT JOIN public.alert_events AS alert
        ON alert.id = CASE WHEN member.subject LIKE 'alert:%' THEN substr(member.subject, 7)::uuid END
),
standing AS (
    SELECT
        due.group_key,
        coalesce(bool_or(problem.status = 'detected' AND NOT problem.is_muted), false) AS is_unacknowledged,
        coalesce(bool_or(problem.status = 'detected'), false) AS is_open,
        (array_agg(problem.handled_by ORDER BY problem.changed_at DESC NULLS LAST)
            FILTER (WHERE problem.handled_by IS NOT NULL))[1] AS handled_by,
        CASE WHEN bool_or(problem.status = 'acknowledged') THEN 'acknowledged' ELSE 'resolved' END AS ending
    FROM due
    LEFT JOIN problems AS problem ON problem.group_key = due.group_key
    GROUP BY due.group_key
),
fired AS (
    SELECT
        gen_random_uuid() AS id,
        due.group_key,
        due.policy,
        due.next_step + 1 AS step,
        coalesce(due.steps -> due.next_step -> 'channels', '[]'::jsonb) AS receivers
    FROM due
    JOIN standing ON standing.group_key = due.group_key
    WHERE standing.is_unacknowledged
),
moved AS (
    UPDATE public.escalations AS escalation
    SET
        next_step = due.next_step + CASE WHEN standing.is_unacknowledged THEN 1 ELSE 0 END,
        next_at = CASE
            WHEN standing.is_unacknowledged
                THEN greatest(
                    due.started_at + (due.steps -> due.next_step + 1 ->> 'after_seconds')::int * interval '1 second',
                    $1 + (
                        (due.steps -> due.next_step + 1 ->> 'after_seconds')::int
                        - (due.steps -> due.next_step ->> 'after_seconds')::int
                    ) * interval '1 second'
                )
            WHEN standing.is_open THEN $1 + interval '1 minute'
        END,
        ended_at = CASE WHEN NOT standing.is_open THEN $1 END,
        ended_by = CASE WHEN NOT standing.is_open THEN coalesce(standing.handled_by, standing.ending) END
    FROM due
    JOIN standing ON standing.group_key = due.group_key
    WHERE escalation.group_key = due.group_key
),
events AS (
    INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
    SELECT
        id,
        'AlertEscalated',
        jsonb_build_object(
            'reason', 'unacknowledged', 'group_key', group_key, 'policy', policy, 'step', step, 'receivers', receivers
        ),
        $1
    FROM fired
    RETURNING id
)
SELECT (SELECT count(*) FROM due) AS due, ARRAY(SELECT id FROM events) AS events
