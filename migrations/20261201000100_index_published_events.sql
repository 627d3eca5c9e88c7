-- What: an index on when events were published.
-- Why: `maintain` deletes what was published long ago, oldest first; the other index holds only what is not published yet.

CREATE INDEX IF NOT EXISTS idx_event_outbox_published_at
    ON public.event_outbox (published_at) WHERE published_at IS NOT NULL;
