//! Groups without members, and those whose members are all resolved for long: their end is not notified any more.
//! A group that a silence still mutes stays, since its end is notified when the silence ends.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "notification_groups", keep: Keep::As(&keep::NOTIFICATIONS), rows: retention::NOTIFICATION_GROUPS };
