-- Counts what was left beside the incidents while somebody else held their rows. An incident that is held now is left
-- alone: its holder folds it, or the next round does.
WITH waiting AS (
    SELECT DISTINCT incident FROM public.incident_occurrences LIMIT 1000
),
held AS MATERIALIZED (
    SELECT id FROM public.incidents WHERE id IN (SELECT incident FROM waiting)
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
),
left_behind AS (
    DELETE FROM public.incident_occurrences
    USING held
    WHERE incident = held.id
    RETURNING incident, occurrences, new_users, release, last_seen_at
),
folded AS (
    SELECT
        incident, sum(occurrences)::bigint AS occurrences, sum(new_users)::bigint AS new_users,
        max(last_seen_at) AS last_seen_at, (array_agg(release ORDER BY last_seen_at DESC))[1] AS release
    FROM left_behind
    GROUP BY incident
)
UPDATE public.incidents AS stored
SET
    occurrences = stored.occurrences + folded.occurrences,
    user_count = stored.user_count + folded.new_users,
    last_release = coalesce(folded.release, stored.last_release),
    last_seen_at = greatest(stored.last_seen_at, folded.last_seen_at),
    updated_at = greatest(stored.updated_at, folded.last_seen_at)
FROM folded
WHERE stored.id = folded.incident
