-- What: turns on pgvector, and uuid-ossp where the server has it.
-- Why: error_knowledge finds solutions by vector similarity. Ids come from the core's gen_random_uuid();
-- uuid-ossp is only for older defaults and for people's own queries, so its absence is no error.

DO $$
DECLARE
    -- Supabase keeps extensions in a schema of their own, which its API does not expose.
    target name := coalesce((SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = 'extensions'), 'public');
    major int := current_setting('server_version_num')::int / 10000;
    version text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'vector') THEN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'vector') THEN
            RAISE EXCEPTION 'pgvector is not installed on this server: on Supabase enable the extension "vector" under Database > Extensions, elsewhere install the package (Debian: apt-get install postgresql-%-pgvector, or https://github.com/pgvector/pgvector#installation), then run the migration again', major
                USING ERRCODE = 'feature_not_supported';
        END IF;
        EXECUTE format('CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA %I', target);
    END IF;

    -- pgvector has HNSW since 0.5.0; an older one would fail much later and less clearly.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_am WHERE amname = 'hnsw') THEN
        SELECT extversion INTO version FROM pg_catalog.pg_extension WHERE extname = 'vector';
        RAISE EXCEPTION 'pgvector % has no HNSW index: install 0.5.0 or newer, run ALTER EXTENSION vector UPDATE, then run the migration again', version
            USING ERRCODE = 'feature_not_supported';
    END IF;

    IF EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'uuid-ossp' AND installed_version IS NULL) THEN
        BEGIN
            EXECUTE format('CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA %I', target);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'uuid-ossp stays off: this role may not create it, and nothing here needs it';
        END;
    END IF;
END
$$;
