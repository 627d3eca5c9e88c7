//! What operators configure for notifications: routes, the address for e-mails, silences.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::model::{Routing, Silence};
use crate::store::row::column;
use crate::store::{Client, StoreError};

/// `system_config`'s address for e-mails without a recipient, as `{"email": …}`.
pub const NOTIFICATION_EMAIL: &str = "notification_email";

/// What operators configure for notifications.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NotificationSettings {
    /// [`Routing::KEY`], as it is written there.
    pub routing: Option<Value>,
    /// [`NOTIFICATION_EMAIL`].
    pub notification_email: Option<String>,
    /// The active silences.
    pub silences: Vec<Silence>,
}

/// What operators have configured, as of now.
///
/// # Errors
/// Any store error.
pub async fn find_settings(client: &Client, now: DateTime<Utc>) -> Result<NotificationSettings, StoreError> {
    let config = "SELECT key::text AS key, value FROM public.system_config WHERE key IN ($1, $2)";
    let active = "
        SELECT id, matchers, starts_at, ends_at, author, comment, created_at
        FROM public.silences
        WHERE ends_at > $1 AND starts_at <= $1
        ORDER BY ends_at DESC, id
        LIMIT 1000";
    let keys = [(&Routing::KEY as _, Type::TEXT), (&NOTIFICATION_EMAIL as _, Type::TEXT)];
    let at = [(&now as _, Type::TIMESTAMPTZ)];
    let (config, active) = tokio::try_join!(client.query_typed(config, &keys), client.query_typed(active, &at))?;
    let mut found = NotificationSettings::default();
    for row in config {
        let value: Value = column(&row, "value")?;
        match column::<&str>(&row, "key")? {
            NOTIFICATION_EMAIL => {
                let email = value.get("email").and_then(Value::as_str).map(str::trim);
                found.notification_email = email.filter(|email| !email.is_empty()).map(str::to_owned);
            }
            _ => found.routing = Some(value),
        }
    }
    for row in active {
        let id: Uuid = column(&row, "id")?;
        let matchers = match serde_json::from_value(column(&row, "matchers")?) {
            Ok(matchers) => matchers,
            // An invalid row must not silence everything.
            Err(error) => {
                tracing::error!(silence.id = %id, %error, "silence {id} can't be parsed, and mutes nothing");
                continue;
            }
        };
        found.silences.push(Silence {
            id,
            matchers,
            starts_at: column(&row, "starts_at")?,
            ends_at: column(&row, "ends_at")?,
            author: column(&row, "author")?,
            comment: column(&row, "comment")?,
            created_at: column(&row, "created_at")?,
        });
    }
    Ok(found)
}
