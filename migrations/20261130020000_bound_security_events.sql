-- What: counts refused requests by kind and ten minutes, and the rows of security_events that they make by kind and hour.
-- Why: a scan from many networks must not fill security_events, however many processes it meets; and a burst is seen
-- across all of them. Whoever adds to a counter locks its row, so that the cap is exact.

CREATE TABLE IF NOT EXISTS public.security_event_counts (
    event_type text NOT NULL,
    span       text NOT NULL
        CONSTRAINT security_event_counts_span_check CHECK (span IN ('ten_minutes', 'hour')),
    starts_at  timestamptz NOT NULL,
    count      bigint NOT NULL DEFAULT 0,
    batches    uuid[] NOT NULL DEFAULT '{}',
    CONSTRAINT security_event_counts_pkey PRIMARY KEY (event_type, span, starts_at)
);

COMMENT ON COLUMN public.security_event_counts.count IS
    'Of ten minutes: refusals. Of an hour: networks that asked for a row of security_events, those beyond the cap included.';
COMMENT ON COLUMN public.security_event_counts.batches IS
    'The batches that were added last: one that is sent again adds nothing.';

CREATE INDEX IF NOT EXISTS idx_security_event_counts_starts_at ON public.security_event_counts (starts_at);

ALTER TABLE public.security_event_counts ENABLE ROW LEVEL SECURITY;

DO $$
DECLARE
    role_name name;
BEGIN
    REVOKE ALL ON TABLE public.security_event_counts FROM PUBLIC;
    FOR role_name IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON TABLE public.security_event_counts FROM %I', role_name);
    END LOOP;
END
$$;

-- The role of the functions; its migration comes before this one.
DO $$
BEGIN
    IF to_regprocedure('public.grant_to_agent(text[])') IS NOT NULL THEN
        PERFORM public.grant_to_agent('security_event_counts');
    END IF;
END
$$;
