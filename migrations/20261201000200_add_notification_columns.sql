-- What: what notifications are sorted and matched by, as columns: of a member its labels, severity and environment; of a
-- notification its first problem.
-- Why: they were read out of JSON whose shape belongs to the code of notify. Binaries of the release before leave the columns
-- NULL: such a member is sorted last and evaluated once more, such a notification is listed without its title. So are all but
-- the newest thousand of before: to fill all of them would lock both tables for as long as that takes.

ALTER TABLE public.notification_members ADD COLUMN IF NOT EXISTS labels jsonb;
ALTER TABLE public.notification_members ADD COLUMN IF NOT EXISTS severity text;
ALTER TABLE public.notification_members ADD COLUMN IF NOT EXISTS environment text;
COMMENT ON COLUMN public.notification_members.labels IS 'What silences match.';

UPDATE public.notification_members
SET labels = details -> 'labels', severity = details #>> '{problem,severity}',
    environment = details #>> '{problem,environment}'
WHERE ctid = ANY (ARRAY(SELECT ctid FROM public.notification_members WHERE labels IS NULL LIMIT 1000));

ALTER TABLE public.notifications ADD COLUMN IF NOT EXISTS problem_state text;
ALTER TABLE public.notifications ADD COLUMN IF NOT EXISTS problem_severity text;
ALTER TABLE public.notifications ADD COLUMN IF NOT EXISTS problem_title text;
ALTER TABLE public.notifications ADD COLUMN IF NOT EXISTS incident_id text;
COMMENT ON COLUMN public.notifications.problem_state IS 'Of the first problem that it names, as the three columns after it.';

UPDATE public.notifications
SET problem_state = content #>> '{problems,0,state}', problem_severity = content #>> '{problems,0,severity}',
    problem_title = content #>> '{problems,0,title}', incident_id = content #>> '{problems,0,incident_id}'
WHERE id IN (SELECT id FROM public.notifications ORDER BY created_at DESC LIMIT 1000);
