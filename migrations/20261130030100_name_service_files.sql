-- Which file of services configured a service: `watchkeeper apply --prune` removes only what came from the file of the same
-- name. NULL: configured by the environment, or by a version that kept no name; such a row belongs to the file that
-- applies it next.
ALTER TABLE public.services ADD COLUMN IF NOT EXISTS file_name varchar(100);
COMMENT ON COLUMN public.services.file_name IS 'The name of the file that configured it';
