//! Slack's incoming webhooks: they write a message and can't change it, so a change of a problem is
//! one more short message.

use chrono::{DateTime, Utc};
use shared::address::Address;

use super::blocks::{self, Buttons};
use crate::channel::http::Http;
use crate::channel::{Delivery, SendError, Sent};

pub(in crate::channel) async fn send(
    http: &Http,
    address: &Address,
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<Sent, SendError> {
    let notification = &delivery.notification;
    let message = if blocks::is_news(notification) {
        blocks::news(notification)
    } else {
        blocks::message(notification, Buttons::None)
    };
    Ok(http.take("Slack", address, http.post(address).json(&message), now).await?.sent(None))
}
