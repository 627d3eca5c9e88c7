-- Counts what was left beside the incidents while somebody else held their rows. An incident that is held now is left
-- alone: its holder folds it, or the next round does. Who was resolving it may have been the holder: what happened after
-- that opens it again, as the report itself would have, unless another one is open by now.
WITH waiting AS (
    SELECT DISTINCT incident FROM public.incident_occurrences LIMIT 1000
),
held AS MATERIALIZED (
    SELECT id, status, resolved_at, application, environment, fingerprint FROM public.incidents
    WHERE id IN (SELECT incident FROM waiting)
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
),
orphans AS (
    -- Left beside an incident in the moment of its deletion.
    DELETE FROM public.incident_occurrences AS orphan
    WHERE incident IN (SELECT incident FROM waiting)
        AND NOT EXISTS (SELECT FROM public.incidents WHERE id = orphan.incident)
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
),
judged AS (
    SELECT
        folded.*,
        held.status = 'resolved' AND folded.last_seen_at > held.resolved_at
            -- Of several with one fingerprint (in several environments, say) one a round: that is the safe side of every
            -- unique index.
            AND row_number() OVER (PARTITION BY held.fingerprint ORDER BY held.resolved_at DESC NULLS LAST, held.id) = 1
            AND NOT EXISTS (
                SELECT FROM public.incidents AS another
                WHERE another.fingerprint = held.fingerprint AND another.status <> 'resolved'
                    AND (
                        held.fingerprint LIKE 'sentry:%'
                        OR (another.application = held.application AND another.environment = held.environment)
                    )
            ) AS returns
    FROM folded
    JOIN held ON held.id = folded.incident
),
counted AS (
    UPDATE public.incidents AS stored
    SET
        occurrences = stored.occurrences + judged.occurrences,
        user_count = stored.user_count + judged.new_users,
        last_release = CASE
            WHEN judged.last_seen_at >= stored.last_seen_at THEN coalesce(judged.release, stored.last_release)
            ELSE stored.last_release
        END,
        last_seen_at = greatest(stored.last_seen_at, judged.last_seen_at),
        updated_at = greatest(stored.updated_at, judged.last_seen_at),
        status = CASE WHEN returns THEN 'detected' ELSE stored.status END,
        resolved_at = CASE WHEN returns THEN NULL ELSE stored.resolved_at END,
        time_to_resolution = CASE WHEN returns THEN NULL ELSE stored.time_to_resolution END,
        handled_by = CASE WHEN returns THEN NULL ELSE stored.handled_by END,
        reopened_at = CASE WHEN returns THEN judged.last_seen_at ELSE stored.reopened_at END,
        reopen_count = stored.reopen_count + CASE WHEN returns THEN 1 ELSE 0 END
    FROM judged
    WHERE stored.id = judged.incident
    RETURNING
        stored.id, stored.incident_id, stored.severity, stored.category, stored.title, judged.returns,
        judged.last_seen_at
),
audited AS (
    INSERT INTO public.agent_actions (
        agent_id, agent_type, action_type, action_description, action_success, incident_id, action_details
    )
    SELECT
        'monitoring-service', 'monitoring', 'incident_reopened', 'It happened again: ' || title, true, id,
        jsonb_build_object('created', false, 'severity', severity, 'category', category)
    FROM counted
    WHERE returns
),
announced AS (
    INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
    SELECT gen_random_uuid(), 'IncidentReopened', jsonb_build_object('incident_id', incident_id), last_seen_at
    FROM counted
    WHERE returns
)
SELECT count(*) AS incidents FROM counted
