-- Adds the occurrences that were stored in incident_occurrences while their incident's row was locked. A row that is
-- locked now is skipped: its owner folds it, or the next round does. An occurrence after a concurrent resolve reopens
-- the incident, as the report itself would have, unless another one is open by now.
WITH waiting AS (
    SELECT DISTINCT incident FROM public.incident_occurrences LIMIT 1000
),
locked AS MATERIALIZED (
    SELECT id, status, resolved_at, application, environment, fingerprint FROM public.incidents
    WHERE id IN (SELECT incident FROM waiting)
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
),
orphans AS (
    -- Stored while their incident was deleted.
    DELETE FROM public.incident_occurrences AS orphan
    WHERE incident IN (SELECT incident FROM waiting)
        AND NOT EXISTS (SELECT FROM public.incidents WHERE id = orphan.incident)
),
taken AS (
    DELETE FROM public.incident_occurrences
    USING locked
    WHERE incident = locked.id
    RETURNING incident, occurrences, new_users, release, last_seen_at
),
folded AS (
    SELECT
        incident, sum(occurrences)::bigint AS occurrences, sum(new_users)::bigint AS new_users,
        max(last_seen_at) AS last_seen_at, (array_agg(release ORDER BY last_seen_at DESC))[1] AS release
    FROM taken
    GROUP BY incident
),
decided AS (
    SELECT
        folded.*,
        locked.status = 'resolved' AND folded.last_seen_at > locked.resolved_at
            -- At most one per fingerprint and round (there may be several environments), to satisfy every unique index.
            AND row_number() OVER (
                PARTITION BY locked.fingerprint ORDER BY locked.resolved_at DESC NULLS LAST, locked.id
            ) = 1
            AND NOT EXISTS (
                SELECT FROM public.incidents AS another
                WHERE another.fingerprint = locked.fingerprint AND another.status <> 'resolved'
                    AND (
                        locked.fingerprint LIKE 'sentry:%'
                        OR (another.application = locked.application AND another.environment = locked.environment)
                    )
            ) AS reopens
    FROM folded
    JOIN locked ON locked.id = folded.incident
),
counted AS (
    UPDATE public.incidents AS stored
    SET
        occurrences = stored.occurrences + decided.occurrences,
        user_count = stored.user_count + decided.new_users,
        last_release = CASE
            WHEN decided.last_seen_at >= stored.last_seen_at THEN coalesce(decided.release, stored.last_release)
            ELSE stored.last_release
        END,
        last_seen_at = greatest(stored.last_seen_at, decided.last_seen_at),
        updated_at = greatest(stored.updated_at, decided.last_seen_at),
        status = CASE WHEN reopens THEN 'detected' ELSE stored.status END,
        resolved_at = CASE WHEN reopens THEN NULL ELSE stored.resolved_at END,
        time_to_resolution = CASE WHEN reopens THEN NULL ELSE stored.time_to_resolution END,
        handled_by = CASE WHEN reopens THEN NULL ELSE stored.handled_by END,
        reopened_at = CASE WHEN reopens THEN decided.last_seen_at ELSE stored.reopened_at END,
        reopen_count = stored.reopen_count + CASE WHEN reopens THEN 1 ELSE 0 END
    FROM decided
    WHERE stored.id = decided.incident
    RETURNING
        stored.id, stored.incident_id, stored.severity, stored.category, stored.title, decided.reopens,
        decided.last_seen_at
),
audited AS (
    INSERT INTO public.agent_actions (
        agent_id, agent_type, action_type, action_description, action_success, incident_id, action_details
    )
    SELECT
        'monitoring-service', 'monitoring', 'incident_reopened', 'It happened again: ' || title, true, id,
        jsonb_build_object('created', false, 'severity', severity, 'category', category)
    FROM counted
    WHERE reopens
),
announced AS (
    INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
    SELECT gen_random_uuid(), 'IncidentReopened', jsonb_build_object('incident_id', incident_id), last_seen_at
    FROM counted
    WHERE reopens
)
SELECT count(*) AS incidents FROM counted
