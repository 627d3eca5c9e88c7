//! A message in Slack's Block Kit. External text is `plain_text` only, where nothing is markup and no emoji is drawn, and is
//! escaped all the same: `<!channel>` and `<@U…>` call people wherever Slack reads them.

use serde_json::{Value, json};
use shared::slack_buttons::Button;

use crate::channel::text::escaped;
use crate::channel::wording::{self, Fact};
use crate::notification::{Notification, NotificationKind, Problem, ProblemState};

/// Slack's limits.
const HEADER: usize = 150;
const SECTION: usize = 3_000;
const FIELD: usize = 2_000;
const FIELDS: usize = 10;
const CONTEXT_ELEMENTS: usize = 10;
/// The text that notifications show.
const SUMMARY: usize = 1_000;

/// Whether people can react to a message in Slack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Buttons {
    /// It comes from a bot, whose app receives the clicks.
    Offered,
    /// An incoming webhook receives no clicks.
    None,
}

/// The whole message.
pub(super) fn message(notification: &Notification, buttons: Buttons) -> Value {
    let mut blocks = vec![json!({"type": "header", "text": plain(&wording::loud_headline(notification), HEADER)})];
    let only = wording::only_problem(notification);
    match only {
        Some(problem) => blocks.extend(one(problem)),
        None => blocks.extend(notification.problems.iter().map(|problem| section(&wording::entry(problem)))),
    }
    blocks.extend(context(notification));
    if let (Buttons::Offered, Some(problem)) = (buttons, only) {
        blocks.extend(actions(problem));
    }
    whole(&wording::loud_headline(notification), blocks)
}

/// What is new, for those who have the whole message.
pub(super) fn news(notification: &Notification) -> Value {
    let news = wording::news(notification);
    let mut blocks = vec![section(&news)];
    blocks.extend(links(notification).map(|links| json!({"type": "context", "elements": links})));
    whole(&news, blocks)
}

/// Whether a message is only news to those who know of the problem.
pub(super) fn is_news(notification: &Notification) -> bool {
    let is_later = matches!(
        notification.kind,
        NotificationKind::Repeat | NotificationKind::Acknowledged | NotificationKind::Resolved | NotificationKind::Heal
    );
    is_later && wording::only_problem(notification).is_some()
}

fn one(problem: &Problem) -> Vec<Value> {
    let field = |Fact { label, value }: &Fact| plain(&format!("{label}\n{value}"), FIELD);
    let fields: Vec<_> = wording::facts(problem).iter().take(FIELDS).map(field).collect();
    let mut blocks = vec![json!({"type": "section", "fields": fields})];
    blocks.extend(wording::message(problem, SECTION).map(|message| section(&message)));
    blocks
}

/// The links, the remarks and the time, in small letters.
fn context(notification: &Notification) -> Option<Value> {
    let mut elements = links(notification).unwrap_or_default();
    elements.extend(wording::remarks(notification).iter().map(|remark| plain(remark, SUMMARY)));
    elements.push(plain(&format!("Watchkeeper, {}", wording::instant(notification.at)), SUMMARY));
    elements.truncate(CONTEXT_ELEMENTS);
    Some(json!({"type": "context", "elements": elements}))
}

/// Links to the problems. One element holds them all: there may be as many as elements.
fn links(notification: &Notification) -> Option<Vec<Value>> {
    let mut text = String::new();
    for problem in &notification.problems {
        let Some(url) = wording::link(problem) else { continue };
        let name = wording::reference(problem).unwrap_or_else(|| "more".to_owned());
        // In an address these have to be percent-encoded anyway.
        let url = url.replace('|', "%7C").replace('<', "%3C").replace('>', "%3E").replace('&', "&amp;");
        let link = format!("<{url}|{}>", escape(&name.replace(['|', '*', '_', '~', '`', ':'], " "), 100));
        if text.len() + link.len() + 3 > SECTION {
            break;
        }
        if !text.is_empty() {
            text.push_str(" · ");
        }
        text.push_str(&link);
    }
    (!text.is_empty()).then(|| vec![json!({"type": "mrkdwn", "text": text})])
}

/// What can be done about a problem that is not over.
fn actions(problem: &Problem) -> Option<Value> {
    let value = match (&problem.incident_id, problem.alert_id) {
        (Some(incident), _) if is_id(incident) => incident.clone(),
        (None, Some(alert)) => format!("alert:{alert}"),
        _ => return None,
    };
    let button = |button: Button| {
        let text = json!({"type": "plain_text", "text": button.label(), "emoji": false});
        json!({"type": "button", "action_id": button.action_id(), "text": text, "value": value})
    };
    let mut acknowledge = button(Button::Acknowledge);
    acknowledge["style"] = json!("primary");
    let resolve = button(Button::Resolve);
    match problem.state {
        ProblemState::Firing => Some(json!({"type": "actions", "elements": [acknowledge, resolve]})),
        ProblemState::Acknowledged => Some(json!({"type": "actions", "elements": [resolve]})),
        ProblemState::Resolved => None,
    }
}

/// Whether it can be an incident's id: what comes back with a button is looked up by it.
fn is_id(text: &str) -> bool {
    text.len() <= 100 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": plain(text, SECTION)})
}

fn plain(text: &str, limit: usize) -> Value {
    // Slack refuses a text that is empty.
    let text = if text.is_empty() { "-" } else { text };
    json!({"type": "plain_text", "text": escape(text, limit), "emoji": false})
}

/// A message of these blocks; the text is what notifications show, where nothing is to be markup either.
fn whole(text: &str, blocks: Vec<Value>) -> Value {
    json!({
        "text": escape(text, SUMMARY),
        "blocks": blocks,
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn escape(text: &str, limit: usize) -> String {
    escaped(text, limit, write)
}

/// Slack's three control characters, as its documentation escapes them.
fn write(letter: char, into: &mut String) {
    match letter {
        '&' => into.push_str("&amp;"),
        '<' => into.push_str("&lt;"),
        '>' => into.push_str("&gt;"),
        _ => into.push(letter),
    }
}
