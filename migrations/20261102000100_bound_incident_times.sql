-- What: every incident has a beginning that a calendar knows.
-- Why: lists are paged by it; one row without it (or at infinity) would be skipped, or take a whole page down. The column
-- itself stays nullable, as the required tables say: the constraint does what NOT NULL would.

DO $$
DECLARE
    -- Somebody's own triggers (an updated_at, say) are not meant for this.
    switched_off text[];
    trigger_name text;
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_constraint
        WHERE conname = 'incidents_detected_at_check' AND conrelid = 'public.incidents'::regclass
    ) THEN
        RETURN;
    END IF;
    SELECT coalesce(array_agg(tgname), '{}') INTO switched_off
    FROM pg_catalog.pg_trigger
    WHERE tgrelid = 'public.incidents'::regclass AND NOT tgisinternal AND tgenabled = 'O';
    FOREACH trigger_name IN ARRAY switched_off LOOP
        EXECUTE format('ALTER TABLE public.incidents DISABLE TRIGGER %I', trigger_name);
    END LOOP;
    UPDATE public.incidents
    SET detected_at = CASE WHEN isfinite(last_seen_at) THEN last_seen_at ELSE now() END
    WHERE detected_at IS NULL OR detected_at NOT BETWEEN '0001-01-01 00:00:00Z' AND '9999-12-31 23:59:59Z';
    FOREACH trigger_name IN ARRAY switched_off LOOP
        EXECUTE format('ALTER TABLE public.incidents ENABLE TRIGGER %I', trigger_name);
    END LOOP;
    ALTER TABLE public.incidents ADD CONSTRAINT incidents_detected_at_check CHECK (
        detected_at IS NOT NULL AND detected_at BETWEEN '0001-01-01 00:00:00Z' AND '9999-12-31 23:59:59Z'
    );
END
$$;
