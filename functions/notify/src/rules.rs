//! What decides about notifications, as of now: routes, configured receivers, silences. Read once for a batch or a sweep.

use chrono::{DateTime, Utc};
use shared::model::{Routing, Silence};
use shared::store::notifications::settings::find_settings;
use shared::store::{StoreError, chain};

use crate::App;
use crate::routing::Configured;

/// What decides about notifications.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) routing: Routing,
    pub(crate) configured: Configured,
    /// Those in force now.
    pub(crate) silences: Vec<Silence>,
    /// Where Watchkeeper answers, for links.
    pub(crate) public_url: Option<String>,
}

impl Rules {
    pub(crate) async fn load(app: &App, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let found = app.store.run(|client| async move { find_settings(&client, now).await }).await?;
        let routing = found.routing.map(serde_json::from_value).transpose().unwrap_or_else(|error| {
            tracing::error!(error = %chain(&error), "{} can't be read: the built-in routes apply", Routing::KEY);
            None
        });
        Ok(Self {
            routing: routing.unwrap_or_default(),
            configured: Configured::new(app.channels.configured(), found.notification_email.as_deref()),
            silences: found.silences,
            public_url: app.public_url.clone(),
        })
    }
}
