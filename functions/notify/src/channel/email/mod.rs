//! E-mail: over SMTP, or over SendGrid's HTTP API.

mod letter;
mod sendgrid;
mod server;
mod smtp;

use chrono::{DateTime, Utc};

pub use self::server::SmtpServer;
use super::config::{EmailConfig, EmailWay};
use super::http::Http;
use super::{Delivery, SendError, Sent};
pub(super) use letter::Letter;

/// Sends a message to these addresses, as one e-mail.
pub(super) async fn send(
    http: &Http,
    config: &EmailConfig,
    to: &[String],
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<Sent, SendError> {
    let letter = Letter::of(delivery, &config.from);
    let status = match &config.way {
        EmailWay::Smtp(server) => smtp::send(server, &letter, &config.from, to, now).await?,
        EmailWay::SendGrid { key, api } => {
            let account = sendgrid::Account { http, key, api };
            sendgrid::send(&account, &letter, (&config.from, to), delivery, now).await?
        }
    };
    Ok(Sent { status: Some(status), remote: Some(letter.remote()) })
}

/// The whole e-mail, as SMTP carries it.
#[cfg(test)]
pub(super) fn formatted(letter: &Letter, from: &str, to: &[String], now: DateTime<Utc>) -> Vec<u8> {
    smtp::message(letter, from, to, now).map(|message| message.formatted()).unwrap_or_default()
}
