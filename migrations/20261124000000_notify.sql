-- What: who was told of what, over which channel, and what became of it; silences; ladders of escalation; how often an event
-- was offered to the bus.
-- Why: telling is decided once per event, under the lock of its group, and each message is a row before it is sent: so two
-- invocations, a crash in between, or a channel that is away for an hour neither lose a message nor repeat one for nothing.

-- ---- the bus ----

ALTER TABLE public.event_outbox ADD COLUMN IF NOT EXISTS next_attempt_at timestamptz;
ALTER TABLE public.event_outbox ADD COLUMN IF NOT EXISTS claimed_until timestamptz;
COMMENT ON COLUMN public.event_outbox.next_attempt_at IS
    'When it is offered to the bus again; NULL: it was not refused yet.';

-- What has become worse is told to more people. Only then: a repetition that is as bad fires nothing.
CREATE OR REPLACE FUNCTION public.tell_worse_incident() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY INVOKER
    SET search_path = ''
AS $$
DECLARE
    event CONSTANT uuid := gen_random_uuid();
    levels CONSTANT text[] := ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'];
BEGIN
    IF array_position(levels, NEW.severity::text) > array_position(levels, OLD.severity::text) THEN
        INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
        VALUES (event, 'AlertEscalated', jsonb_build_object(
            'version', 1, 'id', event, 'reason', 'severity', 'incident_id', NEW.incident_id,
            'application', NEW.application, 'environment', NEW.environment, 'severity', NEW.severity,
            'escalated_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ), now());
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER incidents_tell_worse
    AFTER UPDATE OF severity ON public.incidents
    FOR EACH ROW
    WHEN (NEW.severity <> OLD.severity AND NEW.status <> 'resolved' AND OLD.status <> 'resolved')
    EXECUTE FUNCTION public.tell_worse_incident();

-- ---- what is told together, and what people know of it ----

CREATE TABLE IF NOT EXISTS public.notification_groups (
    group_key     text PRIMARY KEY,
    route         text NOT NULL,
    settings      jsonb NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_told_at  timestamptz,
    due_at        timestamptz,
    told          text[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 70);

COMMENT ON COLUMN public.notification_groups.settings IS
    'The route as it was when something was last heard: receivers, waiting times, escalation.';
COMMENT ON COLUMN public.notification_groups.due_at IS
    'When it is decided again whether to tell something; NULL: when something is heard.';
COMMENT ON COLUMN public.notification_groups.told IS
    'Who knows of something in it that is not over: they are told when it is.';
CREATE INDEX IF NOT EXISTS idx_notification_groups_due_at
    ON public.notification_groups (due_at) WHERE due_at IS NOT NULL;
-- Those that are over for long.
CREATE INDEX IF NOT EXISTS idx_notification_groups_last_seen_at
    ON public.notification_groups (coalesce(last_told_at, first_seen_at));

CREATE TABLE IF NOT EXISTS public.notification_members (
    group_key  text NOT NULL REFERENCES public.notification_groups (group_key) ON DELETE CASCADE,
    subject    text NOT NULL,
    state      text NOT NULL
        CONSTRAINT notification_members_state_check CHECK (state IN ('firing', 'acknowledged', 'resolved')),
    told       text
        CONSTRAINT notification_members_told_check CHECK (told IN ('firing', 'acknowledged', 'resolved')),
    muted_by   text,
    details    jsonb NOT NULL,
    fired_at   timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    renewed    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (group_key, subject)
) WITH (fillfactor = 70);

COMMENT ON COLUMN public.notification_members.subject IS '"incident:INC-…" or "alert:UUID".';
COMMENT ON COLUMN public.notification_members.told IS 'What people know of it; NULL: nothing.';
COMMENT ON COLUMN public.notification_members.renewed IS
    'People think that somebody is on it, but it has ended since and come back.';
COMMENT ON COLUMN public.notification_members.muted_by IS 'Why nobody is told: "silence:UUID" or "parent:NAME".';
CREATE INDEX IF NOT EXISTS idx_notification_members_subject ON public.notification_members (subject);
CREATE INDEX IF NOT EXISTS idx_notification_members_muted_by
    ON public.notification_members (muted_by) WHERE muted_by IS NOT NULL;

-- ---- messages ----

CREATE TABLE IF NOT EXISTS public.notifications (
    id              uuid PRIMARY KEY,
    seq             bigint GENERATED ALWAYS AS IDENTITY,
    event_id        uuid NOT NULL,
    channel         text NOT NULL CONSTRAINT notifications_channel_check
        CHECK (channel IN ('slack', 'discord', 'email', 'sms', 'pagerduty', 'webhook')),
    recipient       text NOT NULL,
    kind            text NOT NULL CONSTRAINT notifications_kind_check
        CHECK (kind IN ('firing', 'repeat', 'acknowledged', 'resolved', 'escalated', 'heal', 'summary', 'digest')),
    group_key       text NOT NULL,
    dedup_key       text NOT NULL,
    content         jsonb NOT NULL,
    status          text NOT NULL DEFAULT 'pending' CONSTRAINT notifications_status_check
        CHECK (status IN ('pending', 'sending', 'sent', 'failed', 'skipped', 'digested')),
    attempts        int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    claimed_by      uuid,
    claimed_until   timestamptz,
    response_status int,
    last_error      text,
    remote          jsonb,
    digest_id       uuid,
    created_at      timestamptz NOT NULL,
    sent_at         timestamptz,
    replayed_at     timestamptz,
    CONSTRAINT notifications_event_id_channel_recipient_key UNIQUE (event_id, channel, recipient)
) WITH (fillfactor = 70);

COMMENT ON COLUMN public.notifications.seq IS
    'The order of a group''s messages: they are stored under its lock. Clocks of several writers have none.';
COMMENT ON COLUMN public.notifications.recipient IS
    'An address, a number, a Slack channel, or "default": whom the environment names. Never what opens a channel.';
COMMENT ON COLUMN public.notifications.remote IS
    'What the channel calls the message, so that it can be changed there: {"channel", "ts"} on Slack.';
CREATE INDEX IF NOT EXISTS idx_notifications_due
    ON public.notifications (channel, recipient, seq) WHERE status IN ('pending', 'sending');
CREATE INDEX IF NOT EXISTS idx_notifications_urgent
    ON public.notifications (channel, recipient, seq)
    WHERE status IN ('pending', 'sending') AND kind IN ('escalated', 'digest');
CREATE INDEX IF NOT EXISTS idx_notifications_failed ON public.notifications (created_at) WHERE status = 'failed';
CREATE INDEX IF NOT EXISTS idx_notifications_group_key
    ON public.notifications (group_key, channel, recipient, seq);
CREATE INDEX IF NOT EXISTS idx_notifications_dedup_key ON public.notifications (dedup_key);
CREATE INDEX IF NOT EXISTS idx_notifications_created_at ON public.notifications (created_at);
-- How many text messages went out today.
CREATE INDEX IF NOT EXISTS idx_notifications_sms
    ON public.notifications (sent_at) WHERE channel = 'sms' AND sent_at IS NOT NULL;

-- How each receiver fares: how many messages may go there now, and until when it wants to be left alone.
CREATE TABLE IF NOT EXISTS public.notification_receivers (
    channel       text NOT NULL CONSTRAINT notification_receivers_channel_check
        CHECK (channel IN ('slack', 'discord', 'email', 'sms', 'pagerduty', 'webhook')),
    recipient     text NOT NULL,
    seen_at       timestamptz,
    tokens        double precision,
    refilled_at   timestamptz,
    paused_until  timestamptz,
    failures      int NOT NULL DEFAULT 0,
    failing_since timestamptz,
    last_error    text,
    held_since    timestamptz,
    PRIMARY KEY (channel, recipient)
) WITH (fillfactor = 50);

COMMENT ON COLUMN public.notification_receivers.seen_at IS
    'When notify last said that this receiver is configured; NULL: only a route names it.';
COMMENT ON COLUMN public.notification_receivers.held_since IS
    'Since when messages wait because there are too many; they become one digest.';

-- ---- silences and ladders ----

CREATE TABLE IF NOT EXISTS public.silences (
    id         uuid PRIMARY KEY,
    matchers   jsonb NOT NULL,
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    author     text NOT NULL,
    comment    text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT silences_ends_at_check CHECK (ends_at >= starts_at)
);
CREATE INDEX IF NOT EXISTS idx_silences_ends_at ON public.silences (ends_at);

CREATE TABLE IF NOT EXISTS public.escalations (
    group_key  text PRIMARY KEY REFERENCES public.notification_groups (group_key) ON DELETE CASCADE,
    policy     text NOT NULL,
    steps      jsonb NOT NULL,
    next_step  int NOT NULL DEFAULT 0,
    next_at    timestamptz,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    ended_by   text
) WITH (fillfactor = 70);

COMMENT ON COLUMN public.escalations.steps IS 'The policy''s, as they were at the start: [{"after_seconds", "channels"}].';
COMMENT ON COLUMN public.escalations.next_at IS 'When the next step is due; NULL: there is none.';
COMMENT ON COLUMN public.escalations.ended_by IS 'Who acknowledged or resolved it.';
CREATE INDEX IF NOT EXISTS idx_escalations_next_at ON public.escalations (next_at) WHERE next_at IS NOT NULL;

-- ---- as the tables before them: nobody but the owner and the service role sees a row ----

ALTER TABLE public.notification_groups ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.notification_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.notifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.notification_receivers ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.silences ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.escalations ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON FUNCTION public.tell_worse_incident() FROM PUBLIC;

DO $$
DECLARE
    tables CONSTANT text := 'public.notification_groups, public.notification_members, public.notifications,
        public.notification_receivers, public.silences, public.escalations';
    role_name name;
BEGIN
    EXECUTE format('REVOKE ALL ON TABLE %s FROM PUBLIC', tables);
    REVOKE ALL ON SEQUENCE public.notifications_seq_seq FROM PUBLIC;
    FOR role_name IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', tables, role_name);
        EXECUTE format('REVOKE ALL ON SEQUENCE public.notifications_seq_seq FROM %I', role_name);
        EXECUTE format('REVOKE ALL ON FUNCTION public.tell_worse_incident() FROM %I', role_name);
    END LOOP;
END
$$;
