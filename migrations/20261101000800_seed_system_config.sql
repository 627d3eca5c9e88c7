-- What: the nine switches and limits with their first values.
-- Why: the agent starts careful: it monitors, and fixes nothing by itself. A value that an operator has set stays.

INSERT INTO public.system_config (key, value, description) VALUES
    ('agent_kill_switch',               '{"enabled": false}', 'Stops probing, healing, fixing and maintenance at once'),
    ('agent_monitoring_enabled',        '{"enabled": true}',  'Probing and log scans'),
    ('agent_auto_fix_enabled',          '{"enabled": false}', 'Code fixes, always as draft pull requests'),
    ('monitoring_interval_seconds',     '{"value": 60}',      'Default time between two checks of a service'),
    ('max_deployments_per_hour',        '{"value": 10}',      'Most deployments that the agent may start in an hour'),
    ('require_human_approval_critical', '{"enabled": true}',  'A person approves actions on critical incidents'),
    ('notification_email',              '{"email": null}',    'Where notices by email go; null sends none'),
    ('deployment_window_start',         '{"hour": 9}',        'First hour of the day in which the agent may deploy'),
    ('deployment_window_end',           '{"hour": 21}',       'Hour of the day from which the agent may not deploy')
ON CONFLICT (key) DO NOTHING;
