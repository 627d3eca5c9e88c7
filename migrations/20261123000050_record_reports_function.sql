-- What: the error journey's one write as a function, `record_reports`.
-- Why: a function's plans are made once per server connection and kept there, also behind a transaction pooler, where a
-- client has no prepared statements: planning was most of the cost of a report.

-- One report after the other: where it belongs, what it changes. `reports` is an array of objects, as
-- shared/src/store/reports.rs writes them; `reopen_seconds`: a repetition of what was resolved within this time opens it
-- again. One row per delivery: its incident; `known` = it was delivered before, and counted nothing now.
--
-- Whoever waits, waits in one order (fingerprint, application, environment; then delivery keys), so that batches can't
-- deadlock. Plans are made once and kept, for any parameters; the planner's alternatives are switched off because one made
-- for an empty table must not scan the full one, and `column || ''` keeps indexes out that other columns lead.
CREATE OR REPLACE FUNCTION public.record_reports(reports jsonb, reopen_seconds double precision)
RETURNS TABLE (
    delivery_key text, known boolean, content_hash text, incident_id text, created boolean, severity text, category text,
    event_id uuid
)
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = public, pg_temp
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    levels CONSTANT text[] := ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'];
    user_limit CONSTANT bigint := 10000;
    sample_bytes CONSTANT int := 65536;
    batch record;
    head jsonb;
    latest jsonb;
    stored record;
    change text;
    before bigint;
    after bigint;
    met bigint;
    power bigint;
    event uuid;
BEGIN
    FOR batch IN
        SELECT
            min(each.fingerprint) AS fingerprint,
            each.upstream,
            earlier.delivery_key IS NOT NULL AS known,
            array_agg(each.report ORDER BY each.announces, each.position) AS members,
            count(*) FILTER (WHERE NOT each.announces) AS reports,
            max((each.report ->> 'received_at')::timestamptz) AS last_received_at,
            max(array_position(levels, each.report ->> 'severity')) AS worst,
            array_agg(DISTINCT each.report ->> 'user')
                FILTER (WHERE each.report ->> 'user' IS NOT NULL AND NOT each.announces) AS users
        FROM (
            SELECT DISTINCT ON (item.report ->> 'delivery_key')
                item.report,
                item.position,
                item.report ->> 'fingerprint' AS fingerprint,
                item.report ->> 'fingerprint' LIKE 'sentry:%' AS upstream,
                (item.report ->> 'announces')::boolean AS announces
            FROM jsonb_array_elements(record_reports.reports) WITH ORDINALITY AS item (report, position)
            ORDER BY item.report ->> 'delivery_key', item.position
        ) AS each
        LEFT JOIN public.inbound_deliveries AS earlier ON earlier.delivery_key = each.report ->> 'delivery_key'
        -- A group of Sentry's is one incident whatever the environment, and whatever its project is called by now.
        GROUP BY
            each.upstream, known, each.fingerprint COLLATE "C",
            CASE WHEN NOT each.upstream THEN each.report ->> 'application' END COLLATE "C",
            CASE WHEN NOT each.upstream THEN each.report ->> 'environment' END COLLATE "C"
        ORDER BY 3, each.fingerprint COLLATE "C",
            CASE WHEN NOT each.upstream THEN each.report ->> 'application' END COLLATE "C",
            CASE WHEN NOT each.upstream THEN each.report ->> 'environment' END COLLATE "C"
    LOOP
        IF batch.known THEN
            RETURN QUERY
            SELECT
                delivery.delivery_key, true, delivery.content_hash, incident.incident_id::text,
                delivery.created OR coalesce((action.action_details ->> 'created')::boolean, false),
                coalesce(delivery.severity, action.action_details ->> 'severity', incident.severity::text),
                coalesce(delivery.category, action.action_details ->> 'category', incident.category::text),
                NULL::uuid
            FROM unnest(batch.members) AS member
            JOIN public.inbound_deliveries AS delivery ON delivery.delivery_key = member ->> 'delivery_key'
            -- Where the answer of a delivery stood before it had columns of its own, and where a step's stands.
            LEFT JOIN public.agent_actions AS action ON action.id = delivery.action_id
            LEFT JOIN public.incidents AS incident ON incident.id = coalesce(delivery.incident, action.incident_id);
            CONTINUE;
        END IF;

        head := batch.members[1];
        -- Announcements stand last, and show nothing.
        latest := batch.members[greatest(batch.reports, 1)];
        event := NULL;
        before := 0;
        after := 0;
        met := 0;
        FOR attempt IN 1..5 LOOP
            IF attempt = 5 THEN
                RAISE EXCEPTION 'the incident of % changes too fast', batch.fingerprint USING ERRCODE = 'serialization_failure';
            END IF;
            -- 1. The open one, if nobody else holds it just now.
            change := 'counted';
            IF batch.upstream THEN
                SELECT id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                INTO stored
                FROM public.incidents
                WHERE fingerprint = batch.fingerprint AND fingerprint LIKE 'sentry:%' AND status <> 'resolved'
                FOR NO KEY UPDATE SKIP LOCKED;
            ELSE
                SELECT id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                INTO stored
                FROM public.incidents
                WHERE fingerprint = batch.fingerprint AND status <> 'resolved'
                    AND application || '' = head ->> 'application' AND environment || '' = head ->> 'environment'
                FOR NO KEY UPDATE SKIP LOCKED;
            END IF;
            EXIT WHEN FOUND;
            -- 2. The open one, held by another: only what changes more than a count waits for it.
            IF batch.upstream THEN
                SELECT id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                INTO stored
                FROM public.incidents
                WHERE fingerprint = batch.fingerprint AND fingerprint LIKE 'sentry:%' AND status <> 'resolved';
            ELSE
                SELECT id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                INTO stored
                FROM public.incidents
                WHERE fingerprint = batch.fingerprint AND status <> 'resolved'
                    AND application || '' = head ->> 'application' AND environment || '' = head ->> 'environment';
            END IF;
            IF FOUND THEN
                IF batch.worst <= array_position(levels, stored.severity::text) AND NOT stored.announced_only THEN
                    change := 'appended';
                    EXIT;
                END IF;
                SELECT id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                INTO stored
                FROM public.incidents WHERE id = stored.id AND status <> 'resolved'
                FOR NO KEY UPDATE;
                EXIT WHEN FOUND;
                CONTINUE;
            END IF;
            -- 3. One that is over, but not for long; or that was not over yet when this happened.
            IF batch.upstream THEN
                SELECT id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                INTO stored
                FROM public.incidents
                WHERE fingerprint = batch.fingerprint AND fingerprint LIKE 'sentry:%' AND status || '' = 'resolved'
                ORDER BY detected_at DESC LIMIT 1;
            ELSE
                SELECT id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                INTO stored
                FROM public.incidents
                WHERE fingerprint = batch.fingerprint AND resolved_at IS NOT NULL AND status || '' = 'resolved'
                    AND application || '' = head ->> 'application' AND environment || '' = head ->> 'environment'
                ORDER BY resolved_at DESC NULLS LAST LIMIT 1;
            END IF;
            IF FOUND AND batch.reports = 0 THEN
                -- An announcement of what is known already, open or over, opens nothing.
                EXIT;
            END IF;
            IF FOUND AND stored.resolved_at > batch.last_received_at - make_interval(secs => reopen_seconds) THEN
                change := CASE WHEN stored.resolved_at >= batch.last_received_at THEN 'late' ELSE 'reopened' END;
                SELECT id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                INTO stored
                FROM public.incidents WHERE id = stored.id AND status = 'resolved'
                FOR NO KEY UPDATE;
                EXIT WHEN FOUND;
                CONTINUE;
            END IF;
            -- 4. A new one.
            change := 'opened';
            INSERT INTO public.incidents (
                incident_id, title, severity, category, application, environment, fingerprint, error_message, error_type,
                stack_trace, endpoint, context, occurrences, announced_only, detected_at, last_seen_at, updated_at,
                first_release, last_release, user_count
            ) VALUES (
                head ->> 'incident_id', head ->> 'title', levels[batch.worst], head ->> 'category', head ->> 'application',
                head ->> 'environment', batch.fingerprint, head ->> 'message', head ->> 'error_type', head ->> 'stack',
                head ->> 'endpoint', head -> 'context', greatest(batch.reports, 1), batch.reports = 0,
                (head ->> 'received_at')::timestamptz, batch.last_received_at, batch.last_received_at,
                head ->> 'release', latest ->> 'release', coalesce(cardinality(batch.users), 0)
            )
            ON CONFLICT DO NOTHING
            RETURNING id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                INTO stored;
            EXIT WHEN FOUND;
        END LOOP;

        IF batch.users IS NOT NULL AND (change = 'opened' OR stored.user_count < user_limit) THEN
            INSERT INTO public.incident_users (incident, user_key, first_seen_at)
            SELECT stored.id, user_key, batch.last_received_at FROM unnest(batch.users) AS user_key ORDER BY user_key
            ON CONFLICT DO NOTHING;
            GET DIAGNOSTICS met = ROW_COUNT;
        END IF;

        IF change = 'opened' THEN
            after := greatest(batch.reports, 1);
        ELSIF batch.reports = 0 THEN
            NULL;
        ELSIF change = 'appended' THEN
            INSERT INTO public.incident_occurrences (incident, occurrences, new_users, release, last_seen_at)
            VALUES (stored.id, batch.reports, met, latest ->> 'release', batch.last_received_at);
        ELSE
            -- The holder of the row also folds what others had to leave beside it.
            WITH left_behind AS (
                DELETE FROM public.incident_occurrences WHERE incident = stored.id
                RETURNING occurrences, new_users, last_seen_at
            ),
            folded AS (
                SELECT
                    coalesce(sum(occurrences), 0) AS occurrences, coalesce(sum(new_users), 0) AS new_users,
                    max(last_seen_at) AS last_seen_at
                FROM left_behind
            )
            UPDATE public.incidents AS incident
            SET
                occurrences = CASE WHEN announced_only THEN 0 ELSE incident.occurrences END + batch.reports + folded.occurrences,
                user_count = incident.user_count + met + folded.new_users,
                last_seen_at = greatest(incident.last_seen_at, folded.last_seen_at, batch.last_received_at),
                updated_at = greatest(incident.updated_at, folded.last_seen_at, batch.last_received_at),
                last_release = CASE
                    WHEN batch.last_received_at >= incident.last_seen_at THEN coalesce(latest ->> 'release', incident.last_release)
                    ELSE incident.last_release
                END,
                severity = levels[greatest(batch.worst, array_position(levels, incident.severity::text))],
                status = CASE WHEN change = 'reopened' THEN 'detected' ELSE incident.status END,
                resolved_at = CASE WHEN change = 'reopened' THEN NULL ELSE incident.resolved_at END,
                time_to_resolution = CASE WHEN change = 'reopened' THEN NULL ELSE incident.time_to_resolution END,
                handled_by = CASE WHEN change = 'reopened' THEN NULL ELSE incident.handled_by END,
                reopened_at = CASE WHEN change = 'reopened' THEN batch.last_received_at ELSE incident.reopened_at END,
                reopen_count = incident.reopen_count + CASE WHEN change = 'reopened' THEN 1 ELSE 0 END
            FROM folded
            WHERE incident.id = stored.id
            RETURNING incident.occurrences, incident.occurrences - batch.reports - folded.occurrences INTO after, before;
            IF stored.announced_only THEN
                -- The first report of an incident that was only announced: the one that it stands for, with all it tells.
                before := 0;
                UPDATE public.incidents AS incident
                SET
                    announced_only = false,
                    environment = head ->> 'environment',
                    error_type = coalesce(head ->> 'error_type', incident.error_type),
                    error_message = head ->> 'message',
                    stack_trace = coalesce(head ->> 'stack', incident.stack_trace),
                    category = head ->> 'category',
                    first_release = coalesce(incident.first_release, head ->> 'release'),
                    context = coalesce(incident.context, '{}') || (head -> 'context')
                WHERE incident.id = stored.id;
            END IF;
        END IF;

        -- Samples: the first, each power of two, and the last, which is written at most once a second, and only by who holds the
        -- incident: nobody waits for a sample either.
        IF batch.reports > 0 AND (after # before) > before THEN
            power := 1;
            IF change = 'opened' THEN
                latest := head;
            ELSE
                WHILE power <= after / 2 LOOP
                    power := power * 2;
                END LOOP;
            END IF;
            INSERT INTO public.incident_samples
            SELECT
                stored.id, power, (latest ->> 'received_at')::timestamptz, latest ->> 'delivery_key', latest ->> 'severity',
                latest ->> 'environment', latest ->> 'message', latest ->> 'stack', latest ->> 'release',
                CASE WHEN octet_length(latest ->> 'context') <= sample_bytes THEN latest -> 'context' END
            ON CONFLICT DO NOTHING;
        END IF;
        IF batch.reports > 0 AND change NOT IN ('opened', 'appended') AND NOT EXISTS (
            SELECT FROM public.incident_samples
            WHERE incident = stored.id AND position = 0
                AND received_at > (latest ->> 'received_at')::timestamptz - interval '1 second'
        ) THEN
            INSERT INTO public.incident_samples AS sample
            SELECT
                stored.id, 0, (latest ->> 'received_at')::timestamptz, latest ->> 'delivery_key', latest ->> 'severity',
                latest ->> 'environment', latest ->> 'message', latest ->> 'stack', latest ->> 'release',
                CASE WHEN octet_length(latest ->> 'context') <= sample_bytes THEN latest -> 'context' END
            ON CONFLICT (incident, position) DO UPDATE SET
                received_at = EXCLUDED.received_at, delivery_key = EXCLUDED.delivery_key, severity = EXCLUDED.severity,
                environment = EXCLUDED.environment, error_message = EXCLUDED.error_message,
                stack_trace = EXCLUDED.stack_trace, release = EXCLUDED.release, context = EXCLUDED.context
            WHERE sample.received_at <= EXCLUDED.received_at - interval '1 second';
        END IF;

        -- What a person should find in the audit, and what others should hear of.
        IF change IN ('opened', 'reopened')
            OR (batch.reports > 0 AND batch.worst > array_position(levels, stored.severity::text)) THEN
            INSERT INTO public.agent_actions (
                id, timestamp, agent_id, agent_type, action_type, action_description, action_success, incident_id, action_details
            ) VALUES (
                (head ->> 'action_id')::uuid, (head ->> 'received_at')::timestamptz, 'monitoring-service', 'monitoring',
                CASE change WHEN 'opened' THEN 'error_detected' WHEN 'reopened' THEN 'incident_reopened' ELSE 'severity_raised' END,
                head ->> 'action_description', true, stored.id,
                jsonb_build_object(
                    'source', head ->> 'source', 'created', change = 'opened', 'severity', levels[batch.worst],
                    'category', head ->> 'category'
                )
            );
        END IF;
        IF change IN ('opened', 'reopened') THEN
            event := (head ->> 'event_id')::uuid;
            INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
            VALUES (
                event, CASE change WHEN 'opened' THEN 'IncidentOpened' ELSE 'IncidentReopened' END,
                (head -> 'event_detail') || jsonb_build_object(
                    'severity', levels[batch.worst], 'incident_id', stored.incident_id, 'application', stored.application,
                    'environment', stored.environment
                )
                    || CASE change
                        WHEN 'opened' THEN '{}'::jsonb
                        ELSE jsonb_build_object('reopened_at', batch.last_received_at)
                    END,
                (head ->> 'received_at')::timestamptz
            );
        END IF;

        RETURN QUERY
        INSERT INTO public.inbound_deliveries (
            delivery_key, source, content_hash, incident, created, severity, category, received_at
        )
        SELECT
            member ->> 'delivery_key', member ->> 'source', member ->> 'content_hash', stored.id,
            change = 'opened' AND member ->> 'incident_id' = stored.incident_id, member ->> 'severity', member ->> 'category',
            (member ->> 'received_at')::timestamptz
        FROM unnest(batch.members) AS member
        ORDER BY member ->> 'delivery_key' COLLATE "C"
        RETURNING delivery_key, false, content_hash, stored.incident_id::text, created, severity, category, event;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION public.record_reports(jsonb, double precision) FROM PUBLIC;

DO $$
DECLARE
    role_name name;
BEGIN
    FOR role_name IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION public.record_reports(jsonb, double precision) FROM %I', role_name);
    END LOOP;
END
$$;
