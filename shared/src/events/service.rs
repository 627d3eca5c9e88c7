//! Events whose subject is a service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::ServiceState;

/// A service went from one state to another. Complete in the outbox: the service may be removed before it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStateChanged {
    /// The service.
    pub service: String,
    /// Its environment.
    pub environment: String,
    /// The state before.
    pub from: ServiceState,
    /// The state now.
    pub to: ServiceState,
    /// Since when.
    pub changed_at: DateTime<Utc>,
}
