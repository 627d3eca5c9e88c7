-- What: what an incident keeps of its many occurrences: counts that wait, samples, people, releases, its coming back; and the
-- answer of a delivery beside its key.
-- Why: a storm of one error must not queue for one row: whoever finds the incident's row taken leaves its count in
-- `incident_occurrences` and goes on.

ALTER TABLE public.incidents ADD COLUMN IF NOT EXISTS first_release varchar(250);
ALTER TABLE public.incidents ADD COLUMN IF NOT EXISTS last_release varchar(250);
ALTER TABLE public.incidents ADD COLUMN IF NOT EXISTS user_count bigint NOT NULL DEFAULT 0;
ALTER TABLE public.incidents ADD COLUMN IF NOT EXISTS reopened_at timestamptz;
ALTER TABLE public.incidents ADD COLUMN IF NOT EXISTS reopen_count int NOT NULL DEFAULT 0;

-- Find the open incident of an error, and the one that was resolved last. Only the fingerprint leads, and the predicates are
-- no other index's: plans are kept, and must not fall for an index that reads all incidents of an application or a status.
CREATE INDEX IF NOT EXISTS idx_incidents_open ON public.incidents (fingerprint) WHERE status <> 'resolved';
CREATE INDEX IF NOT EXISTS idx_incidents_resolved
    ON public.incidents (fingerprint, resolved_at DESC NULLS LAST) WHERE resolved_at IS NOT NULL;

ALTER TABLE public.inbound_deliveries ADD COLUMN IF NOT EXISTS incident uuid;
ALTER TABLE public.inbound_deliveries ADD COLUMN IF NOT EXISTS created boolean NOT NULL DEFAULT false;
ALTER TABLE public.inbound_deliveries ADD COLUMN IF NOT EXISTS severity text;
ALTER TABLE public.inbound_deliveries ADD COLUMN IF NOT EXISTS category text;
ALTER TABLE public.inbound_deliveries ALTER COLUMN action_id DROP NOT NULL;

COMMENT ON COLUMN public.inbound_deliveries.incident IS
    'The incident that counts it; no foreign key, because each table has its own retention. With created, severity and
    category it is the answer that a repetition of the delivery gets.';
COMMENT ON COLUMN public.inbound_deliveries.action_id IS
    'The id of the agent_actions row of this delivery, where it has one: a report that only counts has none. No foreign key.';

-- No foreign key on purpose: its check would mark the incident's row with every insert, which is the contention that this
-- table is there to avoid. Rows live for a second or a minute; what a deleted incident leaves, its trigger removes.
CREATE TABLE IF NOT EXISTS public.incident_occurrences (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident     uuid NOT NULL,
    occurrences  bigint NOT NULL CONSTRAINT incident_occurrences_occurrences_check CHECK (occurrences > 0),
    new_users    bigint NOT NULL DEFAULT 0,
    release      varchar(250),
    last_seen_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_incident_occurrences_incident ON public.incident_occurrences (incident);
COMMENT ON TABLE public.incident_occurrences IS
    'Occurrences that are counted but not yet folded into incidents.occurrences: readers add them.';

-- No foreign key here and below: see incident_occurrences.
CREATE TABLE IF NOT EXISTS public.incident_samples (
    incident      uuid NOT NULL,
    position      bigint NOT NULL CONSTRAINT incident_samples_position_check CHECK (position >= 0),
    received_at   timestamptz NOT NULL,
    delivery_key  text NOT NULL,
    severity      text NOT NULL,
    environment   text NOT NULL,
    error_message text NOT NULL,
    stack_trace   text,
    release       varchar(250),
    context       jsonb,
    PRIMARY KEY (incident, position)
);
COMMENT ON COLUMN public.incident_samples.position IS
    'Which occurrence it shows: the first, each power of two; 0 = the last one, as of a second ago.';

CREATE TABLE IF NOT EXISTS public.incident_users (
    incident      uuid NOT NULL,
    user_key      text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    PRIMARY KEY (incident, user_key)
);
COMMENT ON TABLE public.incident_users IS
    'Whom an incident met: hashes, at most 10,000 of an incident (incidents.user_count counts them).';

ALTER TABLE public.incident_occurrences ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.incident_samples ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.incident_users ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION public.forget_incident() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = public, pg_temp
AS $$
BEGIN
    DELETE FROM public.incident_occurrences WHERE incident = OLD.id;
    DELETE FROM public.incident_samples WHERE incident = OLD.id;
    DELETE FROM public.incident_users WHERE incident = OLD.id;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER incidents_forget
    AFTER DELETE ON public.incidents FOR EACH ROW EXECUTE FUNCTION public.forget_incident();

REVOKE ALL ON FUNCTION public.forget_incident() FROM PUBLIC;

DO $$
DECLARE
    tables CONSTANT text := 'public.incident_occurrences, public.incident_samples, public.incident_users';
    role_name name;
BEGIN
    EXECUTE format('REVOKE ALL ON TABLE %s FROM PUBLIC', tables);
    REVOKE ALL ON SEQUENCE public.incident_occurrences_id_seq FROM PUBLIC;
    FOR role_name IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION public.forget_incident() FROM %I', role_name);
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', tables, role_name);
        EXECUTE format('REVOKE ALL ON SEQUENCE public.incident_occurrences_id_seq FROM %I', role_name);
    END LOOP;
END
$$;
