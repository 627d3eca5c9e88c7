//! The content of an e-mail, for each way to send it: subject, text, the same as HTML, and the ids by which mail programs put the
//! messages about one problem together.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::channel::Delivery;
use crate::channel::text::{block, line};
use crate::channel::wording::{self, Fact, Mood};
use crate::notification::{Notification, Problem};

/// Mail programs show less.
const SUBJECT: usize = 200;
/// The error's own words.
const MESSAGE: usize = 4_000;
/// The name that e-mails come under.
pub(super) const SENDER: &str = "Watchkeeper";

/// An e-mail without its addresses.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::channel) struct EmailContent {
    pub(in crate::channel) subject: String,
    pub(in crate::channel) text: String,
    pub(in crate::channel) html: String,
    /// The same however often it is sent: who has it already need not show it again.
    pub(super) message_id: String,
    /// An id that all messages about the problem refer to, and none has.
    pub(super) thread: String,
}

impl EmailContent {
    pub(in crate::channel) fn of(delivery: &Delivery, from: &str) -> Self {
        let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let thread = Uuid::new_v5(&Uuid::NAMESPACE_OID, delivery.dedup_key.as_bytes());
        Self {
            subject: subject(&delivery.notification),
            text: text(&delivery.notification),
            html: html(&delivery.notification),
            message_id: format!("<{}@watchkeeper.{domain}>", delivery.id),
            thread: format!("<{thread}@watchkeeper.{domain}>"),
        }
    }

    /// What the message is called afterwards.
    pub(super) fn remote(&self) -> Value {
        json!({"subject": self.subject, "message_id": self.message_id})
    }
}

/// `[CRITICAL] TypeError: x is undefined — shop (production)`.
fn subject(notification: &Notification) -> String {
    let headline = verbatim(&wording::loud_headline(notification));
    match wording::only_problem(notification) {
        Some(problem) => {
            let place = format!(" — {} ({})", line(&problem.application, 60), line(&problem.environment, 40));
            let place = verbatim(&place);
            line(&headline, SUBJECT - crate::channel::text::units(&place)) + &place
        }
        None => line(&headline, SUBJECT),
    }
}

/// In a header `=?utf-8?q?…?=` is shown as what it stands for (RFC 2047): an error's text is to be shown as it is.
fn verbatim(text: &str) -> String {
    text.replace("=?", "= ?")
}

fn text(notification: &Notification) -> String {
    let mut text = format!("{}\n", wording::loud_headline(notification));
    for problem in &notification.problems {
        text.push('\n');
        if wording::only_problem(notification).is_none() {
            text.push_str(&format!("{}\n", wording::title(problem)));
        }
        for Fact { label, value } in wording::facts(problem) {
            text.push_str(&format!("{label}: {value}\n"));
        }
        if let Some(message) = message(problem) {
            text.push_str(&format!("\n{message}\n\n"));
        }
        if let Some(url) = wording::link(problem) {
            text.push_str(&format!("More: {url}\n"));
        }
    }
    for remark in wording::remarks(notification) {
        text.push_str(&format!("\n{remark}\n"));
    }
    text.push_str(&format!("\n-- \nWatchkeeper, {}\n", wording::instant(notification.at)));
    text
}

/// The same as HTML: no script, no style sheet, nothing that is fetched.
fn html(notification: &Notification) -> String {
    let colour = Mood::of(notification).colour();
    let mut html = format!(
        "<!doctype html><html><head><meta charset=\"utf-8\"></head>\
         <body style=\"font-family:sans-serif;color:#1d2939\"><h2 style=\"color:#{colour:06x}\">{}</h2>",
        escape(&wording::loud_headline(notification))
    );
    for problem in &notification.problems {
        if wording::only_problem(notification).is_none() {
            html.push_str(&format!("<h3>{}</h3>", escape(&wording::title(problem))));
        }
        html.push_str("<table cellpadding=\"4\">");
        for Fact { label, value } in wording::facts(problem) {
            let label = escape(label);
            html.push_str(&format!("<tr><td><b>{label}</b></td><td>{}</td></tr>", escape(&value)));
        }
        html.push_str("</table>");
        if let Some(message) = message(problem) {
            html.push_str(&format!("<pre style=\"white-space:pre-wrap\">{}</pre>", escape(&message)));
        }
        if let Some(url) = wording::link(problem) {
            let name = wording::reference(problem).unwrap_or_else(|| "More".to_owned());
            html.push_str(&format!("<p><a href=\"{}\">{}</a></p>", escape(&url), escape(&name)));
        }
    }
    for remark in wording::remarks(notification) {
        html.push_str(&format!("<p>{}</p>", escape(&remark)));
    }
    html.push_str(&format!("<p><small>Watchkeeper, {}</small></p></body></html>\n", wording::instant(notification.at)));
    html
}

/// The error's own words with their lines, where they say more than the title.
fn message(problem: &Problem) -> Option<String> {
    wording::message(problem, MESSAGE)?;
    Some(block(problem.message.as_deref()?, MESSAGE))
}

/// What has a meaning in HTML, in text and in attributes.
fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(letter),
        }
    }
    html
}
