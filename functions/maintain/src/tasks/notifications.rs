//! Notifications that are sent, failed or skipped, and whose group has no members: of what is open it stays known who
//! was notified. After the groups, so that one run deletes both.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "notifications", keep: Keep::As(&keep::NOTIFICATIONS), rows: retention::NOTIFICATIONS };
