-- What: lz4 for the large texts of incidents, and free room on their pages.
-- Why: see each. Neither rewrites the table: both count for rows written from now on. A value that somebody has
-- already chosen stays.

-- Stack traces and contexts are the bulk of the database, and lz4 compresses them at a fraction of pglz's CPU time.
-- Servers built without lz4 (the embedded one) keep pglz.
DO $$
DECLARE
    column_name name;
BEGIN
    FOR column_name IN
        SELECT attname FROM pg_catalog.pg_attribute
        WHERE attrelid = 'public.incidents'::regclass AND attname IN ('error_message', 'stack_trace', 'context')
          AND attcompression = ''
    LOOP
        EXECUTE format('ALTER TABLE public.incidents ALTER COLUMN %I SET COMPRESSION lz4', column_name);
    END LOOP;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this server has no lz4: large texts stay compressed with pglz';
END
$$;

-- One more occurrence of an open incident updates its row in place. With room on the page the new version stays there,
-- and none of the table's many indexes is touched (HOT).
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_class c, unnest(c.reloptions) AS option
        WHERE c.oid = 'public.incidents'::regclass AND option LIKE 'fillfactor=%'
    ) THEN
        ALTER TABLE public.incidents SET (fillfactor = 85);
    END IF;
END
$$;
