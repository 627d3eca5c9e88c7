-- What: incidents that follow a group of Sentry's: one open incident per group, whatever the environment; and the mark
-- of an incident that was announced before any of its errors arrived.
-- Why: Sentry groups across environments, and tells of a new issue apart from its first event, in either order. A project
-- may be renamed meanwhile, so the application is no part of the key.

ALTER TABLE public.incidents ADD COLUMN IF NOT EXISTS announced_only boolean NOT NULL DEFAULT false;

CREATE UNIQUE INDEX IF NOT EXISTS incidents_open_upstream_key
    ON public.incidents (fingerprint)
    WHERE status <> 'resolved' AND fingerprint LIKE 'sentry:%';

-- Finds the newest incident of a group, also one that is over.
CREATE INDEX IF NOT EXISTS idx_incidents_upstream
    ON public.incidents (fingerprint, detected_at DESC)
    WHERE fingerprint LIKE 'sentry:%';
