-- What: makes agent_actions append-only: no UPDATE, no TRUNCATE, no DELETE of a row younger than 90 days.
-- Why: it is the audit of what an autonomous agent did. Triggers, because they hold for the table's owner too, which
-- neither grants nor RLS do. It comes after the upgrade of older tables, so that nothing there can trip over it.

-- The triggers decide when; this only refuses. The owner of the table needs EXECUTE to create them, their users don't.
CREATE OR REPLACE FUNCTION public.refuse_agent_actions_change() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = ''
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'agent_actions is append-only: a row may be deleted only when it is 90 days old, and % is younger', OLD.id
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RAISE EXCEPTION 'agent_actions is append-only: % is refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;

REVOKE ALL ON FUNCTION public.refuse_agent_actions_change() FROM PUBLIC;

DO $$
DECLARE
    role_name name;
BEGIN
    FOR role_name IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION public.refuse_agent_actions_change() FROM %I', role_name);
    END LOOP;
END
$$;

CREATE OR REPLACE TRIGGER agent_actions_refuse_update
    BEFORE UPDATE ON public.agent_actions
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_agent_actions_change();

CREATE OR REPLACE TRIGGER agent_actions_refuse_truncate
    BEFORE TRUNCATE ON public.agent_actions
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_agent_actions_change();

-- In the WHEN clause, so that deleting old rows by the thousand calls nothing. Without a time, a row has no known age.
CREATE OR REPLACE TRIGGER agent_actions_refuse_young_delete
    BEFORE DELETE ON public.agent_actions
    FOR EACH ROW
    WHEN (OLD."timestamp" IS NULL OR OLD."timestamp" > now() - interval '90 days')
    EXECUTE FUNCTION public.refuse_agent_actions_change();

-- ALWAYS: also with session_replication_role = replica, which switches ordinary triggers off.
ALTER TABLE public.agent_actions
    ENABLE ALWAYS TRIGGER agent_actions_refuse_update,
    ENABLE ALWAYS TRIGGER agent_actions_refuse_truncate,
    ENABLE ALWAYS TRIGGER agent_actions_refuse_young_delete;
