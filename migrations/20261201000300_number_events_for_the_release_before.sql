-- What: a row of the outbox has `version` and `id` in its detail, whichever statement inserts it.
-- Why: the release before publishes the detail as it stands, and its consumers need both. Its functions may run beside the new
-- ones during a deployment, after a rollback, or in another region. A later release drops this trigger.

CREATE OR REPLACE FUNCTION public.number_event() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = ''
AS $$
BEGIN
    NEW.detail := jsonb_build_object('version', 1, 'id', NEW.id) || NEW.detail;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER event_outbox_number_event
    BEFORE INSERT ON public.event_outbox
    FOR EACH ROW
    EXECUTE FUNCTION public.number_event();

REVOKE ALL ON FUNCTION public.number_event() FROM PUBLIC;
DO $$
DECLARE
    role_name name;
BEGIN
    FOR role_name IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION public.number_event() FROM %I', role_name);
    END LOOP;
END
$$;
