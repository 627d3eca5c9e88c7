-- Operators' switches, and the default interval in seconds. A switch with an invalid value stops the probe: fail safe.
WITH switches AS (
    SELECT
        CASE
            WHEN (
                SELECT value -> 'enabled' IS DISTINCT FROM 'false'::jsonb
                FROM public.system_config WHERE key = 'agent_kill_switch'
            ) THEN 'agent_kill_switch'
            WHEN (
                SELECT value -> 'enabled' IS DISTINCT FROM 'true'::jsonb
                FROM public.system_config WHERE key = 'agent_monitoring_enabled'
            ) THEN 'agent_monitoring_enabled'
        END AS stopped_by,
        greatest(60, coalesce((
            SELECT CASE WHEN jsonb_typeof(value -> 'value') = 'number' THEN least((value ->> 'value')::numeric, 86400) END
            FROM public.system_config WHERE key = 'monitoring_interval_seconds'
        ), 60)) AS default_interval
)
