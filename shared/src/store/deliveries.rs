//! `inbound_deliveries`: the keys of what was taken in. They are written by the statements that take it in.

use chrono::TimeDelta;

/// The delivery of a report may be repeated this long: a queue keeps a message for 14 days, and what lies in its dead
/// letters for 14 more is sent again by people.
pub const KEEP_REPORTS: TimeDelta = TimeDelta::days(30);

/// Those of steps are few. Sentry resolves by itself what it has not seen for up to 30 days, so a step may report
/// something that old, and its key is kept for longer.
pub const KEEP_STEPS: TimeDelta = TimeDelta::days(90);
