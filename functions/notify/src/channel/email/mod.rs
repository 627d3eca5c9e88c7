//! E-mail: over SMTP, or over SendGrid's HTTP API.

mod content;
mod sendgrid;
mod server;
mod smtp;

use chrono::{DateTime, Utc};

pub use self::server::SmtpServer;
use super::config::{EmailConfig, EmailWay};
use super::http::Http;
use super::{Delivery, SendError, Sent};
pub(super) use content::EmailContent;

/// Sends a message to these addresses, as one e-mail.
pub(super) async fn send(
    http: &Http,
    config: &EmailConfig,
    to: &[String],
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<Sent, SendError> {
    let content = EmailContent::of(delivery, &config.from);
    let status = match &config.way {
        EmailWay::Smtp(server) => smtp::send(server, &content, &config.from, to, now).await?,
        EmailWay::SendGrid { key, api } => {
            let account = sendgrid::Account { http, key, api };
            sendgrid::send(&account, &content, (&config.from, to), delivery, now).await?
        }
    };
    Ok(Sent { status: Some(status), remote: Some(content.remote()) })
}

/// The whole e-mail, as SMTP carries it.
#[cfg(test)]
pub(super) fn formatted(content: &EmailContent, from: &str, to: &[String], now: DateTime<Utc>) -> Vec<u8> {
    smtp::message(content, from, to, now).map(|message| message.formatted()).unwrap_or_default()
}
