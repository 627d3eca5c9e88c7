-- What: brings required tables that already existed in an older shape to the contract, without losing a row.
-- Why: databases from before Watchkeeper hold tables of these names with TIMESTAMP columns, an ivfflat index, other
-- defaults, no checks, and values that the checks refuse. Every step first looks at what is there: on a database that
-- is in shape, this file changes nothing and rewrites nothing. It comes before the append-only triggers, and updates
-- no row of agent_actions.

-- 1. The vector: ivfflat goes (create_indexes brings HNSW), and an embedding of another type or without its dimensions
-- is converted, or else kept under another name beside a new, empty one.
DO $$
DECLARE
    vector_schema name := (SELECT n.nspname FROM pg_catalog.pg_extension e
                           JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector');
    index_name regclass;
BEGIN
    FOR index_name IN
        SELECT i.indexrelid::regclass
        FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        JOIN pg_catalog.pg_am m ON m.oid = c.relam
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = 'public.error_knowledge'::regclass AND m.amname = 'ivfflat' AND a.attname = 'embedding'
    LOOP
        EXECUTE format('DROP INDEX %s', index_name);
    END LOOP;

    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute
        WHERE attrelid = 'public.error_knowledge'::regclass AND attname = 'embedding' AND NOT attisdropped
          AND atttypid = to_regtype(format('%I.vector', vector_schema)) AND atttypmod = 1536
    ) THEN
        BEGIN
            EXECUTE format('ALTER TABLE public.error_knowledge
                            ALTER COLUMN embedding TYPE %1$I.vector(1536) USING embedding::%1$I.vector(1536)', vector_schema);
        EXCEPTION WHEN OTHERS THEN
            RAISE NOTICE 'the older embeddings stay as embedding_recorded: they are no vector(1536) (%)', SQLERRM;
            ALTER TABLE public.error_knowledge RENAME COLUMN embedding TO embedding_recorded;
            EXECUTE format('ALTER TABLE public.error_knowledge ADD COLUMN embedding %I.vector(1536)', vector_schema);
        END;
    END IF;
END
$$;

-- 2. Times without a zone become times with one. The older values are UTC, whatever this session's zone is; and their
-- default goes first, or it would be converted by way of this session's zone. One ALTER, so one rewrite, per table.
DO $$
DECLARE
    change record;
BEGIN
    FOR change IN
        SELECT table_name,
               string_agg(
                   format('ALTER COLUMN %1$I DROP DEFAULT, '
                          'ALTER COLUMN %1$I TYPE timestamptz USING %1$I AT TIME ZONE ''UTC''', column_name)
                   || CASE WHEN column_default IS NULL THEN ''
                           ELSE format(', ALTER COLUMN %I SET DEFAULT now()', column_name) END,
                   ', ' ORDER BY ordinal_position) AS actions
        FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'
          AND table_name IN ('error_knowledge', 'incidents', 'monitoring_checks', 'agent_actions', 'deployment_history',
                             'security_events', 'system_config', 'email_tracking', 'service_health_checks', 'alert_events')
        GROUP BY table_name
    LOOP
        EXECUTE format('ALTER TABLE public.%I %s', change.table_name, change.actions);
    END LOOP;
END
$$;

-- 3. Columns, with their types, defaults and NOT NULLs. `filler` is what a required column without a default gets where
-- the older row has nothing; no filler: such a row keeps its NULL, and the column stays nullable.
DO $$
DECLARE
    want record;
BEGIN
    FOR want IN
        SELECT w.*,
               a.attnum IS NULL AS is_missing,
               -- Only ever wider: what fits the older column must still fit.
               (a.atttypid = 'varchar'::regtype AND a.atttypmod <> -1
                AND (w.type = 'text' OR a.atttypmod - 4 < substring(w.type FROM '^varchar\((\d+)\)$')::int))
               OR (a.atttypid = 'numeric'::regtype AND a.atttypmod <> -1 AND w.type = 'decimal')
               OR (a.atttypid = 'json'::regtype AND w.type = 'jsonb') AS needs_type,
               -- The server may print a cast behind a text default, so the beginning decides.
               w.fallback IS NOT NULL
               AND NOT starts_with(coalesce(pg_get_expr(d.adbin, d.adrelid), ''), w.fallback) AS needs_default,
               -- Two columns wait for step 6: an older check may refuse the filler.
               w.is_required AND NOT coalesce(a.attnotnull, false)
               AND (a.attnum IS NULL OR (w.table_name, w.column_name) NOT IN (('incidents', 'severity'), ('alert_events', 'status')))
                   AS needs_not_null
        FROM (VALUES
            ('error_knowledge', 'id', 'uuid', 'gen_random_uuid()', true, NULL),
            ('error_knowledge', 'error_id', 'varchar(20)', NULL, true, '''ERR-'' || upper(left(replace(gen_random_uuid()::text, ''-'', ''''), 16))'),
            ('error_knowledge', 'title', 'varchar(255)', NULL, true, '''unknown'''),
            ('error_knowledge', 'error_message', 'text', NULL, true, '''unknown'''),
            ('error_knowledge', 'error_type', 'varchar(50)', NULL, false, NULL),
            ('error_knowledge', 'category', 'varchar(50)', NULL, false, NULL),
            ('error_knowledge', 'application', 'varchar(100)', NULL, false, NULL),
            ('error_knowledge', 'solution_description', 'text', NULL, true, '''unknown'''),
            ('error_knowledge', 'fix_code', 'text', NULL, false, NULL),
            ('error_knowledge', 'fix_type', 'varchar(50)', NULL, false, NULL),
            ('error_knowledge', 'affected_files', 'text[]', NULL, false, NULL),
            ('error_knowledge', 'rollback_code', 'text', NULL, false, NULL),
            ('error_knowledge', 'success_count', 'int', '0', false, NULL),
            ('error_knowledge', 'failure_count', 'int', '0', false, NULL),
            ('error_knowledge', 'last_used_at', 'timestamptz', NULL, false, NULL),
            ('error_knowledge', 'last_successful_at', 'timestamptz', NULL, false, NULL),
            ('error_knowledge', 'is_tested', 'bool', 'false', false, NULL),
            ('error_knowledge', 'created_at', 'timestamptz', 'now()', false, NULL),
            ('error_knowledge', 'created_by', 'varchar(100)', NULL, false, NULL),
            ('error_knowledge', 'metadata', 'jsonb', NULL, false, NULL),

            ('incidents', 'id', 'uuid', 'gen_random_uuid()', true, NULL),
            ('incidents', 'incident_id', 'varchar(30)', NULL, true, '''INC-'' || upper(left(replace(gen_random_uuid()::text, ''-'', ''''), 26))'),
            ('incidents', 'title', 'varchar(255)', NULL, true, '''unknown'''),
            ('incidents', 'status', 'varchar(50)', '''detected''', false, NULL),
            ('incidents', 'severity', 'varchar(20)', NULL, true, '''MEDIUM'''),
            ('incidents', 'category', 'varchar(50)', NULL, true, '''unknown'''),
            ('incidents', 'application', 'varchar(100)', NULL, true, '''unknown'''),
            ('incidents', 'error_message', 'text', NULL, true, '''unknown'''),
            ('incidents', 'error_type', 'varchar(50)', NULL, false, NULL),
            ('incidents', 'stack_trace', 'text', NULL, false, NULL),
            ('incidents', 'endpoint', 'varchar(500)', NULL, false, NULL),
            ('incidents', 'context', 'jsonb', NULL, false, NULL),
            ('incidents', 'error_knowledge_id', 'uuid', NULL, false, NULL),
            ('incidents', 'root_cause_description', 'text', NULL, false, NULL),
            ('incidents', 'fix_description', 'text', NULL, false, NULL),
            ('incidents', 'detected_at', 'timestamptz', 'now()', false, NULL),
            ('incidents', 'resolved_at', 'timestamptz', NULL, false, NULL),
            ('incidents', 'handled_by', 'varchar(50)', NULL, false, NULL),
            ('incidents', 'agents_spawned', 'text[]', NULL, false, NULL),
            ('incidents', 'time_to_resolution', 'interval', NULL, false, NULL),
            ('incidents', 'actions_taken', 'text[]', NULL, false, NULL),
            ('incidents', 'deployment_url', 'varchar(500)', NULL, false, NULL),
            ('incidents', 'updated_at', 'timestamptz', 'now()', false, NULL),
            ('incidents', 'environment', 'text', '''production''', true, NULL),
            ('incidents', 'fingerprint', 'text', '(''unfingerprinted:''::text || (gen_random_uuid())::text)', true, NULL),
            ('incidents', 'occurrences', 'bigint', '1', true, NULL),
            -- incidents.last_seen_at: step 6, where its older rows get a time of their own.

            ('monitoring_checks', 'id', 'uuid', 'gen_random_uuid()', true, NULL),
            ('monitoring_checks', 'check_id', 'varchar(50)', NULL, true, '''CHK-'' || gen_random_uuid()'),
            ('monitoring_checks', 'timestamp', 'timestamptz', 'now()', false, NULL),
            ('monitoring_checks', 'check_type', 'varchar(50)', NULL, false, NULL),
            ('monitoring_checks', 'target', 'varchar(255)', NULL, false, NULL),
            ('monitoring_checks', 'application', 'varchar(100)', NULL, false, NULL),
            ('monitoring_checks', 'status', 'varchar(20)', NULL, false, NULL),
            ('monitoring_checks', 'http_status', 'int', NULL, false, NULL),
            ('monitoring_checks', 'response_time_ms', 'int', NULL, false, NULL),
            ('monitoring_checks', 'errors_detected', 'int', '0', false, NULL),
            ('monitoring_checks', 'error_details', 'jsonb', NULL, false, NULL),
            ('monitoring_checks', 'incident_created', 'uuid', NULL, false, NULL),

            ('agent_actions', 'id', 'uuid', 'gen_random_uuid()', true, NULL),
            ('agent_actions', 'timestamp', 'timestamptz', 'now()', false, NULL),
            ('agent_actions', 'agent_id', 'varchar(100)', NULL, true, '''unknown'''),
            ('agent_actions', 'agent_type', 'varchar(50)', NULL, false, NULL),
            ('agent_actions', 'action_type', 'varchar(100)', NULL, false, NULL),
            ('agent_actions', 'action_description', 'text', NULL, false, NULL),
            ('agent_actions', 'action_success', 'bool', NULL, false, NULL),
            ('agent_actions', 'incident_id', 'uuid', NULL, false, NULL),
            ('agent_actions', 'error_knowledge_id', 'uuid', NULL, false, NULL),
            ('agent_actions', 'safety_checks_passed', 'bool', NULL, false, NULL),
            ('agent_actions', 'action_details', 'jsonb', NULL, false, NULL),

            ('deployment_history', 'id', 'uuid', 'gen_random_uuid()', true, NULL),
            ('deployment_history', 'deployment_id', 'varchar(50)', NULL, true, '''DEP-'' || gen_random_uuid()'),
            ('deployment_history', 'timestamp', 'timestamptz', 'now()', false, NULL),
            ('deployment_history', 'application', 'varchar(100)', NULL, false, NULL),
            ('deployment_history', 'environment', 'varchar(20)', NULL, false, NULL),
            ('deployment_history', 'status', 'varchar(50)', NULL, false, NULL),
            ('deployment_history', 'incident_id', 'uuid', NULL, false, NULL),
            ('deployment_history', 'triggered_by', 'varchar(100)', NULL, false, NULL),
            ('deployment_history', 'previous_version', 'varchar(100)', NULL, false, NULL),
            ('deployment_history', 'new_version', 'varchar(100)', NULL, false, NULL),
            ('deployment_history', 'commit_sha', 'varchar(100)', NULL, false, NULL),
            ('deployment_history', 'started_at', 'timestamptz', NULL, false, NULL),
            ('deployment_history', 'completed_at', 'timestamptz', NULL, false, NULL),
            ('deployment_history', 'duration', 'interval', NULL, false, NULL),
            ('deployment_history', 'rollback_performed', 'bool', 'false', false, NULL),
            ('deployment_history', 'tests_passed', 'int', NULL, false, NULL),
            ('deployment_history', 'tests_failed', 'int', NULL, false, NULL),
            ('deployment_history', 'deployment_logs', 'text', NULL, false, NULL),

            ('security_events', 'id', 'uuid', 'gen_random_uuid()', true, NULL),
            ('security_events', 'event_id', 'varchar(50)', NULL, true, '''SEC-'' || gen_random_uuid()'),
            ('security_events', 'timestamp', 'timestamptz', 'now()', false, NULL),
            ('security_events', 'event_type', 'varchar(100)', NULL, false, NULL),
            ('security_events', 'severity', 'varchar(20)', NULL, false, NULL),
            ('security_events', 'status', 'varchar(50)', NULL, false, NULL),
            ('security_events', 'source_ip', 'varchar(45)', NULL, false, NULL),
            ('security_events', 'user_id', 'varchar(100)', NULL, false, NULL),
            ('security_events', 'description', 'text', NULL, false, NULL),
            ('security_events', 'action_taken', 'varchar(100)', NULL, false, NULL),
            ('security_events', 'incident_created', 'uuid', NULL, false, NULL),
            ('security_events', 'confidence_score', 'decimal', NULL, false, NULL),
            ('security_events', 'metadata', 'jsonb', NULL, false, NULL),

            ('system_config', 'value', 'jsonb', NULL, true, '''null''::jsonb'),
            ('system_config', 'description', 'text', NULL, false, NULL),
            ('system_config', 'updated_at', 'timestamptz', 'now()', false, NULL),
            ('system_config', 'updated_by', 'varchar(100)', NULL, false, NULL),

            ('email_tracking', 'id', 'uuid', 'gen_random_uuid()', true, NULL),
            ('email_tracking', 'email_id', 'varchar(100)', NULL, true, '''EML-'' || gen_random_uuid()'),
            ('email_tracking', 'incident_id', 'uuid', NULL, false, NULL),
            ('email_tracking', 'recipient', 'varchar(255)', NULL, false, NULL),
            ('email_tracking', 'subject', 'text', NULL, false, NULL),
            ('email_tracking', 'sent_at', 'timestamptz', 'now()', false, NULL),
            ('email_tracking', 'status', 'varchar(50)', NULL, false, NULL),
            ('email_tracking', 'delivered_at', 'timestamptz', NULL, false, NULL),
            ('email_tracking', 'opened_at', 'timestamptz', NULL, false, NULL),
            ('email_tracking', 'first_clicked_at', 'timestamptz', NULL, false, NULL),
            ('email_tracking', 'click_count', 'int', '0', false, NULL),
            ('email_tracking', 'metadata', 'jsonb', NULL, false, NULL),

            ('service_health_checks', 'id', 'uuid', 'gen_random_uuid()', true, NULL),
            ('service_health_checks', 'service_name', 'varchar(100)', NULL, true, '''unknown'''),
            ('service_health_checks', 'status', 'text', NULL, true, NULL),
            ('service_health_checks', 'latency_ms', 'int', NULL, false, NULL),
            ('service_health_checks', 'checked_at', 'timestamptz', 'now()', false, NULL),
            ('service_health_checks', 'error_message', 'text', NULL, false, NULL),
            ('service_health_checks', 'probe_details', 'jsonb', NULL, false, NULL),
            ('service_health_checks', 'created_at', 'timestamptz', 'now()', false, NULL),
            ('service_health_checks', 'environment', 'text', '''production''', true, NULL),
            ('service_health_checks', 'region', 'text', NULL, false, NULL),
            ('service_health_checks', 'tick', 'timestamptz', NULL, false, NULL),

            ('alert_events', 'id', 'uuid', 'gen_random_uuid()', true, NULL),
            ('alert_events', 'service_name', 'varchar(100)', NULL, true, '''unknown'''),
            ('alert_events', 'alert_type', 'text', NULL, true, NULL),
            ('alert_events', 'status', 'text', NULL, true, '''resolved'''),
            ('alert_events', 'message', 'text', NULL, false, NULL),
            ('alert_events', 'details', 'jsonb', NULL, false, NULL),
            ('alert_events', 'created_at', 'timestamptz', 'now()', false, NULL),
            ('alert_events', 'acknowledged_at', 'timestamptz', NULL, false, NULL),
            ('alert_events', 'resolved_at', 'timestamptz', NULL, false, NULL),
            ('alert_events', 'environment', 'text', '''production''', true, NULL),
            ('alert_events', 'incident_id', 'uuid', NULL, false, NULL)
        ) AS w (table_name, column_name, type, fallback, is_required, filler)
        LEFT JOIN pg_catalog.pg_attribute a
            ON a.attrelid = to_regclass(format('public.%I', w.table_name)) AND a.attname = w.column_name AND NOT a.attisdropped
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LOOP
        IF want.is_missing THEN
            -- Filled by the ALTER itself: that needs no UPDATE, which agent_actions would refuse.
            EXECUTE format('ALTER TABLE public.%I ADD COLUMN %I %s', want.table_name, want.column_name, want.type)
                || coalesce(' DEFAULT ' || coalesce(want.fallback, want.filler), '');
            IF want.fallback IS NULL AND want.filler IS NOT NULL THEN
                EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I DROP DEFAULT', want.table_name, want.column_name);
            END IF;
        ELSE
            IF want.needs_type THEN
                EXECUTE format('ALTER TABLE public.%1$I ALTER COLUMN %2$I TYPE %3$s USING %2$I::%3$s',
                               want.table_name, want.column_name, want.type);
            END IF;
            IF want.needs_default THEN
                EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I SET DEFAULT %s',
                               want.table_name, want.column_name, want.fallback);
            END IF;
            IF want.needs_not_null AND want.table_name <> 'agent_actions'
               AND coalesce(want.fallback, want.filler) IS NOT NULL THEN
                EXECUTE format('UPDATE public.%1$I SET %2$I = %3$s WHERE %2$I IS NULL',
                               want.table_name, want.column_name, coalesce(want.fallback, want.filler));
            END IF;
        END IF;
        IF want.needs_not_null THEN
            BEGIN
                EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I SET NOT NULL', want.table_name, want.column_name);
            EXCEPTION WHEN not_null_violation THEN
                RAISE NOTICE '%.% stays nullable: older rows have no value there', want.table_name, want.column_name;
            END;
        END IF;
    END LOOP;
END
$$;

-- 4. The success rate becomes generated. What was recorded by hand stays under another name; its index would only
-- stand in the way of ours. On a table without the column, it is added.
DO $$
DECLARE
    index_name regclass;
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_attribute
               WHERE attrelid = 'public.error_knowledge'::regclass AND attname = 'success_rate'
                 AND NOT attisdropped AND attgenerated = '') THEN
        FOR index_name IN
            SELECT i.indexrelid::regclass
            FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = 'public.error_knowledge'::regclass AND a.attname = 'success_rate'
              AND i.indnkeyatts = 1 AND NOT i.indisunique
        LOOP
            EXECUTE format('DROP INDEX %s', index_name);
        END LOOP;
        ALTER TABLE public.error_knowledge RENAME COLUMN success_rate TO success_rate_recorded;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
                   WHERE attrelid = 'public.error_knowledge'::regclass AND attname = 'success_rate' AND NOT attisdropped) THEN
        ALTER TABLE public.error_knowledge ADD COLUMN success_rate DECIMAL GENERATED ALWAYS AS (
            CASE
                WHEN coalesce(success_count, 0)::numeric + coalesce(failure_count, 0)::numeric > 0
                THEN coalesce(success_count, 0)::numeric
                     / (coalesce(success_count, 0)::numeric + coalesce(failure_count, 0)::numeric)
                ELSE 0
            END
        ) STORED;
    END IF;
END
$$;

-- 5. Keys: primary, unique, and foreign ones with NO ACTION. A reference that leads nowhere stays, with a notice.
DO $$
DECLARE
    want record;
    old_name name;
    new_name name;
BEGIN
    FOR want IN
        SELECT w.*, format('public.%I', w.table_name)::regclass AS relation, a.attnum
        FROM (VALUES
            ('error_knowledge', 'id', true), ('error_knowledge', 'error_id', false),
            ('incidents', 'id', true), ('incidents', 'incident_id', false),
            ('monitoring_checks', 'id', true), ('monitoring_checks', 'check_id', false),
            ('agent_actions', 'id', true),
            ('deployment_history', 'id', true), ('deployment_history', 'deployment_id', false),
            ('security_events', 'id', true), ('security_events', 'event_id', false),
            ('system_config', 'key', true),
            ('email_tracking', 'id', true), ('email_tracking', 'email_id', false),
            ('service_health_checks', 'id', true),
            ('alert_events', 'id', true)
        ) AS w (table_name, column_name, is_primary)
        JOIN pg_catalog.pg_attribute a
            ON a.attrelid = format('public.%I', w.table_name)::regclass AND a.attname = w.column_name
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_index i
            WHERE i.indrelid = want.relation AND i.indisunique AND i.indpred IS NULL
              AND i.indnkeyatts = 1 AND i.indkey[0] = want.attnum
        ) THEN
            EXECUTE format('ALTER TABLE %s ADD %s (%I)', want.relation,
                CASE WHEN want.is_primary
                          AND NOT EXISTS (SELECT FROM pg_catalog.pg_index WHERE indrelid = want.relation AND indisprimary)
                     THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, want.column_name);
        END IF;
    END LOOP;

    FOR want IN
        SELECT w.*, format('public.%I', w.table_name)::regclass AS relation,
               format('public.%I', w.target_name)::regclass AS target, a.attnum
        FROM (VALUES
            ('incidents', 'error_knowledge_id', 'error_knowledge'),
            ('monitoring_checks', 'incident_created', 'incidents'),
            ('agent_actions', 'incident_id', 'incidents'),
            ('agent_actions', 'error_knowledge_id', 'error_knowledge'),
            ('deployment_history', 'incident_id', 'incidents'),
            ('security_events', 'incident_created', 'incidents'),
            ('email_tracking', 'incident_id', 'incidents'),
            ('alert_events', 'incident_id', 'incidents')
        ) AS w (table_name, column_name, target_name)
        JOIN pg_catalog.pg_attribute a
            ON a.attrelid = format('public.%I', w.table_name)::regclass AND a.attname = w.column_name
    LOOP
        -- An older key that cascades, sets NULL or points elsewhere.
        FOR old_name IN
            SELECT conname FROM pg_catalog.pg_constraint
            WHERE conrelid = want.relation AND contype = 'f' AND conkey = ARRAY[want.attnum]
              AND (confdeltype <> 'a' OR confupdtype <> 'a' OR confrelid <> want.target)
        LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', want.relation, old_name);
        END LOOP;
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_constraint
                       WHERE conrelid = want.relation AND contype = 'f' AND conkey = ARRAY[want.attnum]) THEN
            EXECUTE format('ALTER TABLE %s ADD FOREIGN KEY (%I) REFERENCES %s (id) NOT VALID',
                           want.relation, want.column_name, want.target);
        END IF;
        FOR new_name IN
            SELECT conname FROM pg_catalog.pg_constraint
            WHERE conrelid = want.relation AND contype = 'f' AND conkey = ARRAY[want.attnum] AND NOT convalidated
        LOOP
            BEGIN
                EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', want.relation, new_name);
            EXCEPTION WHEN foreign_key_violation THEN
                RAISE NOTICE '%.% holds for new rows only: older rows refer to something that is gone',
                    want.table_name, want.column_name;
            END;
        END LOOP;
    END LOOP;
END
$$;

-- 6. Values that the checks refuse, then the checks. What an incident or an alert said before is kept in its context
-- or its details.
DO $$
DECLARE
    checks constant jsonb := '[
        {"table_name": "incidents", "column_name": "status", "refuses_null": true,
         "allowed": ["detected", "acknowledged", "resolved"]},
        {"table_name": "incidents", "column_name": "severity", "refuses_null": false,
         "allowed": ["CRITICAL", "HIGH", "MEDIUM", "LOW"]},
        {"table_name": "service_health_checks", "column_name": "status", "refuses_null": false,
         "allowed": ["healthy", "degraded", "down"]},
        {"table_name": "alert_events", "column_name": "alert_type", "refuses_null": false,
         "allowed": ["service_down", "service_degraded", "recovery", "certificate_expiring"]},
        {"table_name": "alert_events", "column_name": "status", "refuses_null": false,
         "allowed": ["active", "acknowledged", "resolved"]}]';
    want record;
    present record;
    is_older boolean := to_regclass('public.alert_events_unresolved_key') IS NULL;
    silence text[];
    restore text[];
    command text;
BEGIN
    -- A check of the same column that lists other values goes: it would refuse ours. The server prints a check in its
    -- own words, so what counts is which values it names.
    FOR want IN
        SELECT * FROM jsonb_to_recordset(checks)
            AS c (table_name text, column_name text, refuses_null boolean, allowed text[])
    LOOP
        FOR present IN
            SELECT c.conname,
                   coalesce(v.named @> want.allowed AND v.named <@ want.allowed, false)
                   AND (v.definition LIKE '%IS NOT NULL%' OR NOT want.refuses_null) AS is_ours
            FROM pg_catalog.pg_constraint c
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum],
            LATERAL (
                SELECT pg_get_constraintdef(c.oid) AS definition,
                       (SELECT array_agg(m[1]) FROM regexp_matches(pg_get_constraintdef(c.oid), '''([^'']*)''', 'g') AS m) AS named
            ) AS v
            WHERE c.conrelid = format('public.%I', want.table_name)::regclass AND c.contype = 'c'
              AND a.attname = want.column_name
        LOOP
            IF NOT present.is_ours THEN
                EXECUTE format('ALTER TABLE public.%I DROP CONSTRAINT %I', want.table_name, present.conname);
                is_older := true;
            END IF;
        END LOOP;
    END LOOP;

    IF is_older THEN
        -- Somebody's own triggers must not take this for handling: many a table has one that sets updated_at.
        SELECT coalesce(array_agg(format('ALTER TABLE %s DISABLE TRIGGER %I', tgrelid::regclass, tgname)), '{}'),
               coalesce(array_agg(format('ALTER TABLE %s ENABLE %s TRIGGER %I', tgrelid::regclass,
                   CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, tgname)), '{}')
        INTO silence, restore
        FROM pg_catalog.pg_trigger
        WHERE tgrelid IN ('public.incidents'::regclass, 'public.alert_events'::regclass)
          AND NOT tgisinternal AND tgenabled <> 'D';
        FOREACH command IN ARRAY silence LOOP
            EXECUTE command;
        END LOOP;

        -- An older incident was last seen when it was detected, not when it was migrated.
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
                       WHERE attrelid = 'public.incidents'::regclass AND attname = 'last_seen_at' AND NOT attisdropped) THEN
            ALTER TABLE public.incidents ADD COLUMN last_seen_at TIMESTAMPTZ;
            UPDATE public.incidents SET last_seen_at = coalesce(detected_at, updated_at, now());
            ALTER TABLE public.incidents
                ALTER COLUMN last_seen_at SET DEFAULT now(),
                ALTER COLUMN last_seen_at SET NOT NULL;
        END IF;

        UPDATE public.incidents AS i
        SET status = n.status,
            severity = n.severity,
            context = CASE
                WHEN n.notes = '{}' THEN i.context
                WHEN i.context IS NULL OR jsonb_typeof(i.context) = 'object' THEN coalesce(i.context, '{}') || n.notes
                ELSE jsonb_build_object('previous_context', i.context) || n.notes
            END
        FROM (
            SELECT m.id, m.status, m.severity,
                   CASE WHEN m.status IS DISTINCT FROM m.old_status
                        THEN jsonb_build_object('previous_status', m.old_status) ELSE '{}' END
                   -- A severity in other letters is the same severity: only an unknown one is worth keeping.
                   || CASE WHEN m.severity IS DISTINCT FROM upper(btrim(m.old_severity))
                           THEN jsonb_build_object('previous_severity', m.old_severity) ELSE '{}' END AS notes
            FROM (
                SELECT o.id, o.status AS old_status, o.severity AS old_severity,
                       CASE
                           WHEN w.word IN ('resolved', 'closed', 'fixed', 'done', 'complete', 'completed', 'solved',
                                           'auto_resolved', 'autoresolved', 'cancelled', 'canceled', 'dismissed', 'ignored',
                                           'wont_fix', 'wontfix', 'duplicate', 'false_positive', 'rolled_back')
                           THEN 'resolved'
                           WHEN w.word IN ('acknowledged', 'ack', 'acked', 'investigating', 'in_progress', 'inprogress',
                                           'assigned', 'identified', 'analyzing', 'diagnosing', 'monitoring', 'mitigating',
                                           'mitigated', 'fixing', 'fix_in_progress', 'deploying', 'testing', 'escalated')
                           THEN 'acknowledged'
                           ELSE 'detected'
                       END AS status,
                       CASE WHEN upper(btrim(o.severity)) IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW')
                            THEN upper(btrim(o.severity)) ELSE 'MEDIUM' END AS severity
                FROM public.incidents o,
                LATERAL (SELECT regexp_replace(lower(btrim(o.status)), '[\s-]+', '_', 'g') AS word) AS w
            ) AS m
        ) AS n
        WHERE i.id = n.id AND (i.status IS DISTINCT FROM n.status OR i.severity IS DISTINCT FROM n.severity);

        UPDATE public.alert_events AS a
        SET status = n.status,
            details = CASE
                WHEN a.details IS NULL OR jsonb_typeof(a.details) = 'object' THEN coalesce(a.details, '{}')
                ELSE jsonb_build_object('previous_details', a.details)
            END || jsonb_build_object('previous_status', a.status)
        FROM (
            SELECT o.id,
                   CASE WHEN w.word IN ('active', 'open', 'firing', 'triggered', 'new', 'pending') THEN 'active'
                        WHEN w.word IN ('acknowledged', 'ack', 'acked', 'investigating', 'in_progress') THEN 'acknowledged'
                        ELSE 'resolved' END AS status
            FROM public.alert_events o,
            LATERAL (SELECT regexp_replace(lower(btrim(o.status)), '[\s-]+', '_', 'g') AS word) AS w
        ) AS n
        WHERE a.id = n.id AND a.status IS DISTINCT FROM n.status;

        -- One unresolved alert per service and type, the newest; a recovery is never unresolved; and an alert of a type
        -- that the check refuses could never be updated again, so it is resolved while that is still possible.
        UPDATE public.alert_events AS a
        SET status = 'resolved',
            resolved_at = coalesce(a.resolved_at, CASE WHEN a.alert_type = 'recovery' THEN a.created_at END, now()),
            details = CASE
                WHEN a.details IS NULL OR jsonb_typeof(a.details) = 'object' THEN coalesce(a.details, '{}')
                ELSE jsonb_build_object('previous_details', a.details)
            -- The word that the alert came with, where the statement above has already noted one.
            END || jsonb_build_object('previous_status', coalesce(a.details ->> 'previous_status', a.status))
        FROM (
            SELECT id, row_number() OVER (PARTITION BY service_name, environment, alert_type
                                          ORDER BY created_at DESC NULLS LAST, id DESC) AS place
            FROM public.alert_events
            WHERE status <> 'resolved'
        ) AS n
        WHERE a.id = n.id
          AND (n.place > 1 OR a.alert_type IS NULL
               OR a.alert_type NOT IN ('service_down', 'service_degraded', 'certificate_expiring'));

        ALTER TABLE public.incidents ALTER COLUMN severity SET NOT NULL;
        ALTER TABLE public.alert_events ALTER COLUMN status SET NOT NULL;

        FOREACH command IN ARRAY restore LOOP
            EXECUTE command;
        END LOOP;
    END IF;

    -- NOT VALID first: the check holds for every new row, even where an older one can't be brought to it.
    FOR want IN
        SELECT * FROM jsonb_to_recordset(checks)
            AS c (table_name text, column_name text, refuses_null boolean, allowed text[])
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint c
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
            WHERE c.conrelid = format('public.%I', want.table_name)::regclass AND c.contype = 'c'
              AND a.attname = want.column_name
        ) THEN
            EXECUTE format('ALTER TABLE public.%I ADD CONSTRAINT %I CHECK (%s%I IN (%s)) NOT VALID',
                want.table_name, want.table_name || '_' || want.column_name || '_check',
                CASE WHEN want.refuses_null THEN format('%I IS NOT NULL AND ', want.column_name) ELSE '' END,
                want.column_name,
                (SELECT string_agg(quote_literal(word), ', ') FROM unnest(want.allowed) AS word));
        END IF;
        FOR present IN
            SELECT c.conname
            FROM pg_catalog.pg_constraint c
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
            WHERE c.conrelid = format('public.%I', want.table_name)::regclass AND c.contype = 'c'
              AND a.attname = want.column_name AND NOT c.convalidated
        LOOP
            BEGIN
                EXECUTE format('ALTER TABLE public.%I VALIDATE CONSTRAINT %I', want.table_name, present.conname);
            EXCEPTION WHEN check_violation THEN
                RAISE NOTICE '% holds for new rows only: older rows have other values', present.conname;
            END;
        END LOOP;
    END LOOP;
END
$$;
