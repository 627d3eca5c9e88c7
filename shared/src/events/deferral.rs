//! The event that carries deferred records.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Reports, Sentry steps, check-ins and heartbeats wait for a database that is unavailable. Never in the outbox, which is in
/// that database: `defer` puts it on the bus, and packs and unpacks the records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportDeferred {
    /// The records as a JSON array, where they fit …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Value>,
    /// … or the same array, gzip in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_gzip: Option<String>,
}
