//! E-mail over SMTP.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp;
use lettre::{Address, AsyncTransport as _, Message};

use super::content::{EmailContent, SENDER};
use super::server::SmtpServer;
use crate::channel::SendError;
use crate::channel::text::line;

/// One command gets this long; who waits for the message may give up earlier.
const COMMAND: Duration = Duration::from_secs(20);

/// Hands the e-mail over; the server's code for having taken it.
pub(super) async fn send(
    server: &SmtpServer,
    content: &EmailContent,
    from: &str,
    to: &[String],
    now: DateTime<Utc>,
) -> Result<u16, SendError> {
    let message = message(content, from, to, now).map_err(|what| SendError::Refused { what, status: None })?;
    let client = server
        .client(COMMAND)
        .ok_or_else(|| SendError::Refused { what: "SMTP_URL can't be used".to_owned(), status: None })?;
    let response = client.send(message).await.map_err(|error| refusal(&error))?;
    Ok(response.code().into())
}

pub(super) fn message(
    content: &EmailContent,
    from: &str,
    to: &[String],
    now: DateTime<Utc>,
) -> Result<Message, String> {
    let address = |text: &str| -> Result<Address, String> {
        text.parse().map_err(|_| format!("\"{}\" is not an e-mail address", line(text, 100)))
    };
    let mut message = Message::builder()
        .from(Mailbox::new(Some(SENDER.to_owned()), address(from)?))
        .subject(&content.subject)
        .date(now.into())
        .message_id(Some(content.message_id.clone()))
        .in_reply_to(content.thread.clone())
        .references(content.thread.clone())
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    for one in to {
        message = message.to(Mailbox::new(None, address(one)?));
    }
    message
        .multipart(MultiPart::alternative_plain_html(content.text.clone(), content.html.clone()))
        .map_err(|_| "the e-mail can't be put together".to_owned())
}

/// What the server's answer says of the message; without an answer it may be taken later.
fn refusal(error: &smtp::Error) -> SendError {
    use std::error::Error as _;
    let status = error.status().map(u16::from);
    let words = error.source().map(|source| line(&source.to_string(), 200)).unwrap_or_default();
    let what = match status {
        Some(code) => format!("the mail server answered {code}: {words}"),
        None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
        None if error.is_tls() => format!("no safe connection to the mail server: {words}"),
        None if words.is_empty() => "the mail server can't be reached".to_owned(),
        None => format!("the mail server can't be reached: {words}"),
    };
    if error.is_permanent() {
        SendError::Refused { what, status }
    } else {
        SendError::Later { what, status, after: None }
    }
}
