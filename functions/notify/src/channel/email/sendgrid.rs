//! E-mail over SendGrid's HTTP API. The delivery's id goes along, and comes back with each of SendGrid's events.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::address::Address;

use super::content::{EmailContent, SENDER};
use crate::channel::http::Http;
use crate::channel::{Delivery, SendError};

/// Where SendGrid is, and what opens it.
pub(super) struct Account<'a> {
    pub(super) http: &'a Http,
    pub(super) key: &'a SecretString,
    pub(super) api: &'a Address,
}

/// Hands the e-mail over; the status of the answer.
pub(super) async fn send(
    account: &Account<'_>,
    content: &EmailContent,
    (from, to): (&str, &[String]),
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<u16, SendError> {
    let address = account.api.under("/v3/mail/send");
    let to: Vec<Value> = to.iter().map(|one| json!({"email": one})).collect();
    let body = json!({
        "personalizations": [{"to": to}],
        "from": {"email": from, "name": SENDER},
        "subject": content.subject,
        "content": [
            {"type": "text/plain", "value": content.text},
            {"type": "text/html", "value": content.html},
        ],
        "headers": {
            "Message-ID": content.message_id,
            "In-Reply-To": content.thread,
            "References": content.thread,
            "Auto-Submitted": "auto-generated",
        },
        "custom_args": {"notification_id": delivery.id},
    });
    let request = account.http.post(&address).bearer_auth(account.key.expose_secret()).json(&body);
    let answer = account.http.take("SendGrid", &address, request, now).await?;
    Ok(answer.status.as_u16())
}
