//! Slack as a bot: one message per problem, changed in place as the problem goes on, with what changed as replies in its
//! thread.

use chrono::{DateTime, Utc};
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::address::Address;

use super::blocks::{self, Buttons};
use crate::channel::http::{Answer, Http};
use crate::channel::text::line;
use crate::channel::{Delivery, SendError, Sent};
use crate::notification::NotificationKind;

/// A bot that writes to one channel.
pub(in crate::channel) struct Bot<'a> {
    pub(in crate::channel) http: &'a Http,
    pub(in crate::channel) token: &'a SecretString,
    pub(in crate::channel) api: &'a Address,
    pub(in crate::channel) channel: &'a str,
    pub(in crate::channel) now: DateTime<Utc>,
}

/// What Slack said to a call.
enum Said {
    Done(Answer, Value),
    /// The message or the channel that the call is about is not there any more, in Slack's words.
    Gone(&'static str),
}

/// Slack's words for what may go well later.
const PASSING: [&str; 10] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "team_added_to_org",
    "external_channel_migrating",
    "org_login_required",
    "update_failed",
];

/// Slack's words for a message that is not there, or can't be changed or replied to any more: also since its channel is closed,
/// where the next message goes to another.
const GONE: [&str; 9] = [
    "message_not_found",
    "cant_update_message",
    "edit_window_closed",
    "thread_not_found",
    "cannot_reply_to_message",
    "channel_not_found",
    "is_archived",
    "is_inactive",
    "not_in_channel",
];

impl Bot<'_> {
    /// Writes the first message of a problem; or changes it, and says in its thread what is new.
    pub(in crate::channel) async fn send(&self, delivery: &Delivery) -> Result<Sent, SendError> {
        let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
        let earlier = delivery.earlier.as_ref().filter(|_| goes_on(delivery.notification.kind));
        let first = earlier.and_then(|earlier| Some((text(earlier, "channel")?, text(earlier, "ts")?)));
        if let Some((channel, ts)) = first
            && let Some(answer) = self.change(delivery, &channel, &ts).await?
        {
            return Ok(answer.sent(Some(json!({"channel": channel, "ts": ts}))));
        }
        let mut message = blocks::message(&delivery.notification, Buttons::Offered);
        message["channel"] = json!(self.channel);
        // So that a message that was sent twice after a crash can be recognised.
        message["metadata"] = json!({
            "event_type": "watchkeeper_notice",
            "event_payload": {"id": delivery.id, "dedup_key": delivery.dedup_key},
        });
        match self.call("chat.postMessage", &message).await? {
            Said::Done(answer, said) => {
                let named = text(&said, "channel").zip(text(&said, "ts"));
                Ok(answer.sent(named.map(|(channel, ts)| json!({"channel": channel, "ts": ts}))))
            }
            Said::Gone(error) => {
                Err(SendError::Refused { what: format!("Slack refuses chat.postMessage: {error}"), status: Some(200) })
            }
        }
    }

    /// Changes the first message and replies to it; none when it is gone. A notification of a part of a group is a reply only:
    /// in the message's place it would hide the others.
    async fn change(&self, delivery: &Delivery, channel: &str, ts: &str) -> Result<Option<Answer>, SendError> {
        let message = blocks::message(&delivery.notification, Buttons::Offered);
        // Unlike a new message, a changed one would be searched for addresses and mentions.
        let change = json!({
            "channel": channel, "ts": ts, "text": message["text"], "blocks": message["blocks"], "parse": "none",
        });
        if !delivery.notification.is_part && matches!(self.call("chat.update", &change).await?, Said::Gone(_)) {
            return Ok(None);
        }
        let mut reply = blocks::news(&delivery.notification);
        reply["channel"] = json!(channel);
        reply["thread_ts"] = json!(ts);
        // A reply is seen by those who follow the thread; what is not acknowledged is for all.
        let is_for_all = matches!(
            delivery.notification.kind,
            NotificationKind::Firing | NotificationKind::Repeat | NotificationKind::Escalated
        );
        reply["reply_broadcast"] = json!(is_for_all);
        match self.call("chat.postMessage", &reply).await? {
            Said::Done(answer, _) => Ok(Some(answer)),
            Said::Gone(_) => Ok(None),
        }
    }

    async fn call(&self, method: &str, body: &Value) -> Result<Said, SendError> {
        let address = self.api.under(&format!("/{method}"));
        let request = self
            .http
            .post(&address)
            .bearer_auth(self.token.expose_secret())
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(body.to_string());
        let answer = self.http.take("Slack", &address, request, self.now).await?;
        let said = answer.json();
        if said["ok"] == json!(true) {
            return Ok(Said::Done(answer, said));
        }
        let status = Some(answer.status.as_u16());
        match said["error"].as_str() {
            Some(error) if let Some(gone) = GONE.into_iter().find(|gone| *gone == error) => Ok(Said::Gone(gone)),
            Some(error) if !PASSING.contains(&error) => {
                Err(SendError::Refused { what: format!("Slack refuses {method}: {}", line(error, 100)), status })
            }
            Some(error) => Err(SendError::Later {
                what: format!("Slack answered {}", line(error, 100)),
                status,
                after: answer.after,
            }),
            // An answer that was cut off: it was taken all the same.
            None if answer.begins_with(br#"{"ok":true"#) => Ok(Said::Done(answer, said)),
            None => {
                let what = format!("what answers {method} is not Slack");
                Err(SendError::Later { what, status, after: answer.after })
            }
        }
    }
}

/// Whether a message of this kind belongs to the one about the same problem that was there before.
fn goes_on(kind: NotificationKind) -> bool {
    !matches!(kind, NotificationKind::Summary | NotificationKind::Digest)
}
