-- Lists show what is open first. Open incidents are few and are found by idx_incidents_open; those that are over are read in
-- the order in which they ended. No index holds updated_at or last_seen_at: each repetition of an error changes them, and
-- an index on one would end HOT updates of incidents.
CREATE INDEX IF NOT EXISTS idx_incidents_ended
    ON public.incidents (coalesce(resolved_at, detected_at) DESC, id DESC)
    WHERE status = 'resolved';
CREATE INDEX IF NOT EXISTS idx_alert_events_page
    ON public.alert_events ((status <> 'resolved') DESC, created_at DESC, id DESC);
