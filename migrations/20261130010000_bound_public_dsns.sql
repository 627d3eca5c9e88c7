-- What: bounds what an application can do with its DSN, which is public where it stands in a page: how severe its incidents
-- become (`max_severity`), which pages may use it (`allowed_origins`), and how many incidents it opens within an hour
-- (`new_incidents_per_hour`).
-- Why: whoever reads a DSN in a page's source could page people at will, and bury what matters in new incidents.

ALTER TABLE public.applications
    ADD COLUMN IF NOT EXISTS max_severity TEXT
        CONSTRAINT applications_max_severity_check CHECK (max_severity IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
    ADD COLUMN IF NOT EXISTS allowed_origins TEXT[] NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS new_incidents_per_hour INT NOT NULL DEFAULT 100
        CONSTRAINT applications_new_incidents_per_hour_check CHECK (new_incidents_per_hour BETWEEN 0 AND 1000);

COMMENT ON COLUMN public.applications.max_severity IS
    'No report that comes with its DSN makes an incident more severe; NULL: no bound.';
COMMENT ON COLUMN public.applications.allowed_origins IS
    'Pages that may use its DSN (https://shop.example.com, *.example.com); empty: any.';
COMMENT ON COLUMN public.applications.new_incidents_per_hour IS
    'New incidents that it may open within any hour; its further new errors are counted by one overflow incident.';

-- One row for each incident that an application may open within an hour, and when it was taken last. `record_reports` takes
-- a free one with SKIP LOCKED: the limit holds among concurrent transactions, and nobody waits for another. No foreign key,
-- as for the other counters. Rows beyond a limit that was lowered stay, and are not used.
CREATE TABLE IF NOT EXISTS public.new_incident_slots (
    application BIGINT NOT NULL,
    slot        INT NOT NULL,
    taken_at    TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
    CONSTRAINT new_incident_slots_pkey PRIMARY KEY (application, slot)
) WITH (fillfactor = 70);

ALTER TABLE public.new_incident_slots ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION public.add_new_incident_slots() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO public.new_incident_slots (application, slot)
    SELECT NEW.number, generate_series(1, NEW.new_incidents_per_hour)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER applications_add_new_incident_slots
    AFTER INSERT OR UPDATE OF new_incidents_per_hour ON public.applications
    FOR EACH ROW
    EXECUTE FUNCTION public.add_new_incident_slots();

INSERT INTO public.new_incident_slots (application, slot)
SELECT number, generate_series(1, new_incidents_per_hour) FROM public.applications
ON CONFLICT DO NOTHING;

-- One report after the other: where it belongs, what it changes. `reports` is an array of objects, as
-- shared/src/store/reports.rs writes them; `reopen_seconds`: a repetition of what was resolved within this time opens it
-- again. One row per delivery: its incident; `known` = it was delivered before, and counted nothing now.
--
-- A report that came with a DSN names its application's number (`project`). The application's row bounds it: its severity
-- is at most `max_severity`, it never reopens an incident that is worse than that, and it opens at most
-- `new_incidents_per_hour` incidents within any hour. A report beyond that number is counted by the application's overflow
-- incident instead, in a second pass: an overflow incident is locked after every other incident.
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
    pending jsonb[] := ARRAY(SELECT value FROM jsonb_array_elements(record_reports.reports));
    overflow jsonb[] := '{}';
    is_overflow boolean := false;
    member jsonb;
    members jsonb[];
    cap int;
    worst int;
    app_environment text;
    app_limit int;
    slot_taken int;
BEGIN
    LOOP
        FOR batch IN
            SELECT
                min(each.fingerprint) AS fingerprint,
                each.upstream,
                each.project,
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
                    (item.report ->> 'announces')::boolean AS announces,
                    (item.report ->> 'project')::bigint AS project
                FROM unnest(pending) WITH ORDINALITY AS item (report, position)
                ORDER BY item.report ->> 'delivery_key', item.position
            ) AS each
            LEFT JOIN public.inbound_deliveries AS earlier ON earlier.delivery_key = each.report ->> 'delivery_key'
            -- A group of Sentry's is one incident whatever the environment, and whatever its project is called by now.
            GROUP BY
                each.upstream, known, each.fingerprint COLLATE "C",
                CASE WHEN NOT each.upstream THEN each.report ->> 'application' END COLLATE "C",
                CASE WHEN NOT each.upstream THEN each.report ->> 'environment' END COLLATE "C",
                each.project
            ORDER BY 4, each.fingerprint COLLATE "C",
                CASE WHEN NOT each.upstream THEN each.report ->> 'application' END COLLATE "C",
                CASE WHEN NOT each.upstream THEN each.report ->> 'environment' END COLLATE "C",
                each.project NULLS FIRST
        LOOP
            IF batch.known THEN
                RETURN QUERY
                SELECT
                    delivery.delivery_key, true, delivery.content_hash, incident.incident_id::text,
                    delivery.created OR coalesce((action.action_details ->> 'created')::boolean, false),
                    coalesce(delivery.severity, action.action_details ->> 'severity', incident.severity::text),
                    coalesce(delivery.category, action.action_details ->> 'category', incident.category::text),
                    NULL::uuid
                FROM unnest(batch.members) AS item (report)
                JOIN public.inbound_deliveries AS delivery ON delivery.delivery_key = item.report ->> 'delivery_key'
                -- Where the answer of a delivery stood before it had columns of its own, and where a step's stands.
                LEFT JOIN public.agent_actions AS action ON action.id = delivery.action_id
                LEFT JOIN public.incidents AS incident ON incident.id = coalesce(delivery.incident, action.incident_id);
                CONTINUE;
            END IF;

            members := batch.members;
            worst := batch.worst;
            cap := cardinality(levels);
            app_limit := NULL;
            slot_taken := NULL;
            IF batch.project IS NOT NULL THEN
                SELECT environment, new_incidents_per_hour, array_position(levels, max_severity)
                INTO app_environment, app_limit, cap
                FROM public.applications WHERE number = batch.project;
                cap := coalesce(cap, cardinality(levels));
                IF worst > cap THEN
                    worst := cap;
                    members := ARRAY(
                        SELECT CASE
                            WHEN array_position(levels, item.report ->> 'severity') <= cap THEN item.report
                            ELSE item.report || jsonb_build_object('severity', levels[cap])
                        END
                        FROM unnest(members) WITH ORDINALITY AS item (report, position)
                        ORDER BY item.position
                    );
                END IF;
            END IF;
            head := members[1];
            -- Announcements stand last, and show nothing.
            latest := members[greatest(batch.reports, 1)];
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
                    IF worst <= array_position(levels, stored.severity::text) AND NOT stored.announced_only THEN
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
                IF FOUND AND stored.resolved_at > batch.last_received_at - make_interval(secs => reopen_seconds)
                    AND (stored.resolved_at >= batch.last_received_at OR array_position(levels, stored.severity::text) <= cap)
                THEN
                    change := CASE WHEN stored.resolved_at >= batch.last_received_at THEN 'late' ELSE 'reopened' END;
                    SELECT id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                    INTO stored
                    FROM public.incidents WHERE id = stored.id AND status = 'resolved'
                    FOR NO KEY UPDATE;
                    EXIT WHEN FOUND;
                    CONTINUE;
                END IF;
                -- 4. A new one, if the application may open one more. Nobody waits for a slot: those that others hold just now
                -- are as good as taken.
                IF app_limit IS NOT NULL AND NOT is_overflow AND slot_taken IS NULL THEN
                    UPDATE public.new_incident_slots SET taken_at = batch.last_received_at
                    WHERE application = batch.project AND slot = (
                        SELECT slot FROM public.new_incident_slots
                        WHERE application = batch.project AND slot <= app_limit
                            AND taken_at <= batch.last_received_at - interval '1 hour'
                        LIMIT 1
                        FOR NO KEY UPDATE SKIP LOCKED
                    )
                    RETURNING slot INTO slot_taken;
                    IF slot_taken IS NULL THEN
                        change := 'overflow';
                        EXIT;
                    END IF;
                END IF;
                change := 'opened';
                INSERT INTO public.incidents (
                    incident_id, title, severity, category, application, environment, fingerprint, error_message, error_type,
                    stack_trace, endpoint, context, occurrences, announced_only, detected_at, last_seen_at, updated_at,
                    first_release, last_release, user_count
                ) VALUES (
                    head ->> 'incident_id', head ->> 'title', levels[worst], head ->> 'category', head ->> 'application',
                    head ->> 'environment', batch.fingerprint,
                    CASE WHEN is_overflow THEN head ->> 'explanation' ELSE head ->> 'message' END,
                    CASE WHEN NOT is_overflow THEN head ->> 'error_type' END,
                    CASE WHEN NOT is_overflow THEN head ->> 'stack' END,
                    CASE WHEN NOT is_overflow THEN head ->> 'endpoint' END,
                    CASE WHEN is_overflow THEN '{}' ELSE head -> 'context' END, greatest(batch.reports, 1), batch.reports = 0,
                    (head ->> 'received_at')::timestamptz, batch.last_received_at, batch.last_received_at,
                    head ->> 'release', latest ->> 'release', coalesce(cardinality(batch.users), 0)
                )
                ON CONFLICT DO NOTHING
                RETURNING id, incident_id, severity, user_count, announced_only, resolved_at, application, environment
                    INTO stored;
                EXIT WHEN FOUND;
            END LOOP;

            IF change = 'overflow' THEN
                FOREACH member IN ARRAY members LOOP
                    overflow := array_append(overflow, member || jsonb_build_object(
                        'fingerprint', 'overflow:' || batch.project,
                        'environment', coalesce(app_environment, 'production'),
                        'category', 'unknown',
                        'title', format('More than %s new errors within an hour: %s', app_limit, head ->> 'application'),
                        'action_description',
                            format('Application %s has opened %s incidents within an hour', batch.project, app_limit),
                        'explanation', format(
                            'Application %s (%s) may open %s incidents within an hour and has done so. Its further new errors '
                            'are counted here; the samples show some of them. `watchkeeper apps add %s --new-per-hour N` '
                            'changes the limit.',
                            batch.project, head ->> 'application', app_limit, batch.project
                        ),
                        'event_detail', (member -> 'event_detail') || jsonb_build_object(
                            'category', 'unknown',
                            'title', format('More than %s new errors within an hour: %s', app_limit, head ->> 'application')
                        )
                    ));
                END LOOP;
                CONTINUE;
            END IF;
            IF slot_taken IS NOT NULL AND change <> 'opened' THEN
                -- Somebody else has opened it in the meantime.
                UPDATE public.new_incident_slots SET taken_at = '-infinity'
                WHERE application = batch.project AND slot = slot_taken;
            END IF;

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
                    severity = levels[greatest(worst, array_position(levels, incident.severity::text))],
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
                OR (batch.reports > 0 AND worst > array_position(levels, stored.severity::text)) THEN
                INSERT INTO public.agent_actions (
                    id, timestamp, agent_id, agent_type, action_type, action_description, action_success, incident_id, action_details
                ) VALUES (
                    (head ->> 'action_id')::uuid, (head ->> 'received_at')::timestamptz, 'monitoring-service', 'monitoring',
                    CASE change WHEN 'opened' THEN 'error_detected' WHEN 'reopened' THEN 'incident_reopened' ELSE 'severity_raised' END,
                    head ->> 'action_description', true, stored.id,
                    jsonb_build_object(
                        'source', head ->> 'source', 'created', change = 'opened', 'severity', levels[worst],
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
                        'severity', levels[worst], 'incident_id', stored.incident_id, 'application', stored.application,
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
                item.report ->> 'delivery_key', item.report ->> 'source', item.report ->> 'content_hash', stored.id,
                change = 'opened' AND item.report ->> 'incident_id' = stored.incident_id,
                item.report ->> 'severity', item.report ->> 'category',
                (item.report ->> 'received_at')::timestamptz
            FROM unnest(members) AS item (report)
            ORDER BY item.report ->> 'delivery_key' COLLATE "C"
            RETURNING delivery_key, false, content_hash, stored.incident_id::text, created, severity, category, event;
        END LOOP;
        EXIT WHEN cardinality(overflow) = 0;
        pending := overflow;
        overflow := '{}';
        is_overflow := true;
    END LOOP;
END
$$;

DO $$
DECLARE
    role_name text;
BEGIN
    FOR role_name IN
        SELECT 'PUBLIC'
        UNION ALL
        SELECT quote_ident(rolname) FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated')
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE public.new_incident_slots FROM %s', role_name);
        EXECUTE format('REVOKE ALL ON FUNCTION public.add_new_incident_slots() FROM %s', role_name);
    END LOOP;
END
$$;

-- The role of the functions; its migration comes before this one.
DO $$
BEGIN
    IF to_regprocedure('public.grant_to_agent(text[])') IS NOT NULL THEN
        PERFORM public.grant_to_agent('new_incident_slots');
    END IF;
END
$$;
