-- What: incidents that follow a group of Sentry's: one open incident per group, whatever the environment; and the mark
-- of an incident that was announced before any of its errors arrived.
-- Why: Sentry groups across environments, and tells of a new issue apart from its first event, in either order.

ALTER TABLE public.incidents ADD COLUMN IF NOT EXISTS announced_only boolean NOT NULL DEFAULT false;

CREATE UNIQUE INDEX IF NOT EXISTS incidents_open_upstream_key
    ON public.incidents (application, fingerprint)
    WHERE status <> 'resolved' AND fingerprint LIKE 'sentry:%';
