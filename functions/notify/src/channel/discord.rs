//! Discord: a webhook, and one embed per message. External text is escaped, and calls no one: mentions
//! are switched off for the whole message.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use shared::address::Address;
use url::{Host, Url};

use super::http::{Answer, Http};
use super::text::{escaped, line, units};
use super::wording::{self, Mood};
use super::{Delivery, SendError, Sent};
use crate::notification::Notification;

/// Discord's limits; of all texts together, [`TOTAL`].
const TITLE: usize = 256;
const DESCRIPTION: usize = 4_096;
const FOOTER: usize = 2_048;
const TOTAL: usize = 6_000;
/// Discord takes 1,024, but not of all the fields that there are.
const FIELD: usize = 350;
/// Beside the fields.
const MESSAGE: usize = 2_000;

pub(super) async fn send(
    http: &Http,
    address: &Address,
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<Sent, SendError> {
    let address = &address.with_query("wait", "true");
    let body = json!({"embeds": [embed(&delivery.notification)], "allowed_mentions": {"parse": []}});
    let answer = http.answer("Discord", address, http.post(address).json(&body), now).await?;
    if !answer.status.is_success() {
        return Err(refusal(&answer));
    }
    let message = answer.json();
    let remote = message["id"].as_str().map(|id| json!({"id": id, "channel_id": message["channel_id"]}));
    Ok(answer.sent(remote))
}

/// Discord says how long to wait in its body too.
fn refusal(answer: &Answer) -> SendError {
    let retry_after =
        answer.json()["retry_after"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match answer.refusal("Discord") {
        SendError::Later { what, status, after } => SendError::Later { what, status, after: after.max(retry_after) },
        other => other,
    }
}

pub(super) fn embed(notification: &Notification) -> Value {
    let only = wording::only_problem(notification);
    let mut embed = json!({
        "title": escape(&wording::loud_headline(notification), TITLE),
        "color": Mood::of(notification).colour(),
        "timestamp": notification.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "footer": {"text": footer(notification)},
    });
    match only {
        Some(problem) => {
            let facts = wording::facts(problem);
            let field = |fact: &wording::Fact| json!({"name": fact.label, "value": escape(&fact.value, FIELD)});
            embed["fields"] = facts.iter().map(field).collect();
            if let Some(message) = wording::message(problem, MESSAGE) {
                embed["description"] = json!(escape(&message, MESSAGE));
            }
            if let Some(url) = wording::link(problem).filter(|url| is_address(url)) {
                embed["url"] = json!(url);
            }
        }
        None if !notification.problems.is_empty() => embed["description"] = json!(list(notification, room(&embed))),
        None => {}
    }
    embed
}

/// Whether Discord takes it for an address: a host without a dot (`localhost`) is none, and costs the whole message.
fn is_address(url: &str) -> bool {
    match Url::parse(url).as_ref().map(Url::host) {
        Ok(Some(Host::Domain(name))) => name.contains('.'),
        Ok(host) => host.is_some(),
        Err(_) => false,
    }
}

/// The problems, one a line, as many as there is room for.
fn list(notification: &Notification, room: usize) -> String {
    let mut list = String::new();
    for problem in &notification.problems {
        let mut entry = escape(&wording::entry(problem), DESCRIPTION / Notification::PROBLEMS);
        if let (Some(url), Some(name)) = (wording::link(problem), wording::reference(problem)) {
            // In an address the brackets have to be percent-encoded anyway.
            let url = url.replace('(', "%28").replace(')', "%29");
            entry.push_str(&format!(" [{}]({url})", escape(&name, 100)));
        }
        if units(&list) + units(&entry) + 1 > room {
            break;
        }
        if !list.is_empty() {
            list.push('\n');
        }
        list.push_str(&entry);
    }
    list
}

fn room(embed: &Value) -> usize {
    let taken = |text: &Value| text.as_str().map_or(0, units);
    DESCRIPTION.min(TOTAL - taken(&embed["title"]) - taken(&embed["footer"]["text"]))
}

/// Footers are shown as they are: nothing is markup there.
fn footer(notification: &Notification) -> String {
    let mut footer = wording::remarks(notification);
    footer.push("Watchkeeper".to_owned());
    line(&footer.join(" · "), FOOTER / 4)
}

/// Every punctuation mark of ASCII may be escaped, so all are: no emphasis, links, quotes, emoji or mentions.
fn escape(text: &str, limit: usize) -> String {
    escaped(text, limit, |letter, into| {
        if letter.is_ascii_punctuation() && !matches!(letter, ',' | '.' | ';' | '%' | '\'' | '"' | '/' | '=' | '+') {
            into.push('\\');
        }
        into.push(letter);
    })
}
