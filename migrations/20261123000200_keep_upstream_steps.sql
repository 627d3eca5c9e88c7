-- What: a delivery may keep a note of what it told; an incident knows up to when another system's word on it was heard.
-- Why: what is authentic but means nothing to us yet must not be lost; and deliveries come in any order, so that an old
-- "resolved" must not close what was reopened after it.

ALTER TABLE public.inbound_deliveries ADD COLUMN IF NOT EXISTS note jsonb;

COMMENT ON COLUMN public.inbound_deliveries.note IS
    'What a delivery told that is no error: its kind, and where that is unknown the delivery itself, bounded.';

ALTER TABLE public.incidents ADD COLUMN IF NOT EXISTS upstream_changed_at timestamptz;

COMMENT ON COLUMN public.incidents.upstream_changed_at IS
    'The newest instant, by the other system''s clock, of which its word on the status was heard.';
