-- What: the role `watchkeeper_agent`, which the functions log in as: it may read and write the rows of our tables, and
-- nothing else (no DDL, no other schema, not the migration history).
-- Why: until now every function held the owner's password. Row level security shows a role that is not the owner no row
-- without a policy, so each table has one for it.
--
-- The role is made without a login; a person gives it one: ALTER ROLE watchkeeper_agent LOGIN PASSWORD '…'. Where this
-- migration may not make roles, nothing fails: the warning says what a person runs.
--
-- A later migration that makes a table ends with SELECT public.grant_to_agent('that_table'), one that makes a function which
-- the functions call replaces this one with a longer list of them. A test fails where either was forgotten.

CREATE OR REPLACE FUNCTION public.grant_to_agent(VARIADIC tables text[] DEFAULT '{}') RETURNS SETOF text
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = ''
AS $$
DECLARE
    agent CONSTANT name := 'watchkeeper_agent';
    has_agent boolean := EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = agent);
    called CONSTANT text[] := ARRAY['record_reports'];
    table_name text;
    ours record;
BEGIN
    IF NOT has_agent THEN
        BEGIN
            CREATE ROLE watchkeeper_agent NOLOGIN;
            has_agent := true;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN has_agent := true;
            WHEN insufficient_privilege THEN NULL;
        END;
    END IF;
    -- The policy also marks a table as ours: schema public may hold others. Without the role it is the owner's, who needs none.
    FOREACH table_name IN ARRAY tables LOOP
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_policies
            WHERE schemaname = 'public' AND tablename = table_name AND policyname = agent
        ) THEN
            EXECUTE format('CREATE POLICY %I ON public.%I TO CURRENT_USER USING (true) WITH CHECK (true)', agent, table_name);
        END IF;
    END LOOP;
    IF NOT has_agent THEN
        RETURN NEXT 'CREATE ROLE watchkeeper_agent NOLOGIN;  -- as a role that may make roles';
        RETURN NEXT 'SELECT public.grant_to_agent();  -- as the owner of the tables; or run `watchkeeper migrate` again';
        RETURN;
    END IF;
    GRANT USAGE ON SCHEMA public TO watchkeeper_agent;
    FOR ours IN
        SELECT tablename, roles FROM pg_catalog.pg_policies
        WHERE schemaname = 'public' AND policyname = agent ORDER BY tablename
    LOOP
        IF ours.roles <> ARRAY[agent] THEN
            EXECUTE format('ALTER POLICY %I ON public.%I TO watchkeeper_agent', agent, ours.tablename);
        END IF;
        -- The audit is append-only.
        EXECUTE format('GRANT SELECT, INSERT, DELETE%s ON TABLE public.%I TO watchkeeper_agent',
            CASE WHEN ours.tablename <> 'agent_actions' THEN ', UPDATE' ELSE '' END, ours.tablename);
    END LOOP;
    FOR ours IN
        SELECT sequence.relname AS name
        FROM pg_catalog.pg_policy AS policy
        JOIN pg_catalog.pg_depend AS owned ON owned.refobjid = policy.polrelid AND owned.deptype IN ('a', 'i')
        JOIN pg_catalog.pg_class AS sequence ON sequence.oid = owned.objid AND sequence.relkind = 'S'
        WHERE policy.polname = agent AND sequence.relnamespace = 'public'::regnamespace
        ORDER BY sequence.relname
    LOOP
        EXECUTE format('GRANT USAGE ON SEQUENCE public.%I TO watchkeeper_agent', ours.name);
    END LOOP;
    FOR ours IN
        SELECT oid::regprocedure AS signature FROM pg_catalog.pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proname = ANY (called) ORDER BY oid
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO watchkeeper_agent', ours.signature);
    END LOOP;
    -- What this role makes later. (A policy can't be had by default: hence this function.)
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO watchkeeper_agent;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO watchkeeper_agent;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO watchkeeper_agent;
    IF to_regclass('public.watchkeeper_migrations') IS NOT NULL THEN
        REVOKE ALL ON TABLE public.watchkeeper_migrations FROM watchkeeper_agent;
    END IF;
    REVOKE ALL ON FUNCTION public.grant_to_agent(text[]) FROM watchkeeper_agent;
    IF has_schema_privilege(agent, 'public', 'CREATE') THEN
        RETURN NEXT 'REVOKE CREATE ON SCHEMA public FROM PUBLIC;  -- as the owner of the schema: every role may make tables in it';
    END IF;
END
$$;
COMMENT ON FUNCTION public.grant_to_agent(text[]) IS
    'Opens these tables, and all that were opened before, to watchkeeper_agent; gives what is left for a person to run.';

DO $$
DECLARE
    role_name name;
    statement text;
BEGIN
    REVOKE ALL ON FUNCTION public.grant_to_agent(text[]) FROM PUBLIC;
    FOR role_name IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION public.grant_to_agent(text[]) FROM %I', role_name);
    END LOOP;
    FOR statement IN
        SELECT public.grant_to_agent(
            'agent_actions', 'alert_events', 'applications', 'check_ins', 'circuit_breakers', 'deployment_history',
            'email_tracking', 'error_knowledge', 'escalations', 'event_outbox', 'inbound_deliveries', 'incident_occurrences',
            'incident_samples', 'incident_users', 'incidents', 'intake_counters', 'monitoring_checks', 'notification_groups',
            'notification_members', 'notification_receivers', 'notifications', 'quota_counters', 'security_events',
            'service_claims', 'service_daily', 'service_health_checks', 'service_heartbeats', 'service_hourly', 'services',
            'silences', 'system_config'
        )
    LOOP
        RAISE WARNING 'left for a person to run: %', statement;
    END LOOP;
END
$$;
