-- What: an incident that is opened again as a worse one is told as worse, too.
-- Why: its reopening leads to those who know of it already, where its end was not told yet: a silence held, or the news of it
-- was still on its way. Who knows already is not told twice.

CREATE OR REPLACE TRIGGER incidents_tell_worse
    AFTER UPDATE OF severity ON public.incidents
    FOR EACH ROW
    WHEN (NEW.severity <> OLD.severity AND NEW.status <> 'resolved')
    EXECUTE FUNCTION public.tell_worse_incident();
