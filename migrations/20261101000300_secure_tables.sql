-- What: enables row level security on every table of ours and takes the tables from Supabase's browser roles.
-- Why: Supabase exposes the schema public over REST. RLS without a policy shows nobody but the owner and the
-- service role a row; the grants go too, because RLS does not cover TRUNCATE and an older policy may say "all".
-- It comes right after the tables, so that a failure further on leaves nothing open.

ALTER TABLE public.error_knowledge ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.incidents ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.monitoring_checks ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.agent_actions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.deployment_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.security_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.system_config ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.email_tracking ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.service_health_checks ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.alert_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.services ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.inbound_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.event_outbox ENABLE ROW LEVEL SECURITY;
-- The history of `watchkeeper migrate`; psql and the Supabase CLI keep none in this schema.
ALTER TABLE IF EXISTS public.watchkeeper_migrations ENABLE ROW LEVEL SECURITY;

DO $$
DECLARE
    tables text := (
        SELECT string_agg(format('public.%I', name), ', ')
        FROM unnest(ARRAY['error_knowledge', 'incidents', 'monitoring_checks', 'agent_actions', 'deployment_history',
                          'security_events', 'system_config', 'email_tracking', 'service_health_checks', 'alert_events',
                          'services', 'inbound_deliveries', 'event_outbox', 'watchkeeper_migrations']) AS name
        WHERE to_regclass(format('public.%I', name)) IS NOT NULL
    );
    role_name name;
BEGIN
    -- From PUBLIC as well: every role has what PUBLIC has.
    EXECUTE format('REVOKE ALL ON TABLE %s FROM PUBLIC', tables);
    FOR role_name IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', tables, role_name);
    END LOOP;
END
$$;
