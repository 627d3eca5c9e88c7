//! Text messages, over Twilio. Each part of a message costs money: it says how severe, what, where, and where more is shown.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use reqwest::header::CONTENT_TYPE;
use secrecy::ExposeSecret as _;
use serde_json::json;
use url::form_urlencoded::Serializer;

use super::config::SmsConfig;
use super::http::Http;
use super::text::line;
use super::{Delivery, SendError, Sent, wording};
use crate::notification::Notification;

/// Twilio's code for a sender whose queue is full: it has status 400, and passes.
const QUEUE_IS_FULL: i64 = 21_611;

pub(super) async fn send(
    http: &Http,
    config: &SmsConfig,
    to: &str,
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<Sent, SendError> {
    let address = config.api.under(&format!("/2010-04-01/Accounts/{}/Messages.json", config.account));
    let from = if is_messaging_service(&config.from) { "MessagingServiceSid" } else { "From" };
    let form = Serializer::new(String::new())
        .append_pair("To", to)
        .append_pair(from, &config.from)
        .append_pair("Body", &text(&delivery.notification))
        .finish();
    let request = http
        .post(&address)
        .basic_auth(&config.account, Some(config.token.expose_secret()))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form);
    let answer = http.answer("Twilio", &address, request, now).await?;
    let said = answer.json();
    if answer.status.is_success() {
        return Ok(answer.sent(said["sid"].as_str().map(|sid| json!({"sid": sid}))));
    }
    let status = answer.status.as_u16();
    match (said["code"].as_i64(), said["message"].as_str()) {
        (Some(QUEUE_IS_FULL), _) => Err(SendError::Later {
            what: "Twilio's queue of this sender is full".to_owned(),
            status: Some(status),
            after: answer.after,
        }),
        (Some(code), Some(message)) => {
            Err(answer.judged(format!("Twilio answered {status}: {code} {}", line(message, 200))))
        }
        _ => Err(answer.refusal("Twilio")),
    }
}

/// Whether a sender is a messaging service's id, and no name that begins like one.
fn is_messaging_service(from: &str) -> bool {
    from.strip_prefix("MG").is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The text of a message: two parts of 153 letters of the telephones' own alphabet, or three of 67 of any other.
#[must_use]
pub fn text(notification: &Notification) -> String {
    let mut head = plainer(&wording::loud_headline(notification));
    let mut tail = String::new();
    if let Some(problem) = wording::only_problem(notification) {
        // Writing into a String can't fail.
        let _ = write!(head, ": {}", plainer(&wording::place(problem)));
    }
    let more = notification.problems.first().and_then(|problem| {
        wording::link(problem).filter(|link| link.len() <= MAX_LINK).or_else(|| wording::reference(problem))
    });
    if let Some(more) = more {
        let _ = write!(tail, " {}", line(&more, MAX_LINK));
    }
    fitted(&head, &tail)
}

/// A longer link would leave no room for anything else.
const MAX_LINK: usize = 120;

/// The head, cut so that it fits together with the tail.
fn fitted(head: &str, tail: &str) -> String {
    let whole = format!("{head}{tail}");
    if fits(&whole) {
        return whole;
    }
    let head: Vec<char> = head.chars().take(Alphabet::Gsm.room()).collect();
    for length in (0..head.len()).rev() {
        let beginning: String = head[..length].iter().collect();
        let cut = format!("{}...{tail}", beginning.trim_end());
        if fits(&cut) {
            return cut;
        }
    }
    // The tail alone does not fit: it is in letters that take more room.
    line(tail, Alphabet::Any.room())
}

#[derive(Clone, Copy)]
enum Alphabet {
    Gsm,
    Any,
}

impl Alphabet {
    /// How much of it a message may have: seven-bit letters of two parts, or UTF-16 units of three.
    fn room(self) -> usize {
        match self {
            Self::Gsm => 2 * 153,
            Self::Any => 3 * 67,
        }
    }
}

fn fits(text: &str) -> bool {
    let gsm: Option<usize> = text.chars().map(gsm_length).sum();
    match gsm {
        Some(length) => length <= Alphabet::Gsm.room(),
        None => super::text::units(text) <= Alphabet::Any.room(),
    }
}

/// How many places a letter takes in the telephones' own alphabet (GSM 03.38), if it is in it.
fn gsm_length(letter: char) -> Option<usize> {
    const LETTERS: &str = "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà\n\r";
    match letter {
        '0'..='9' | 'A'..='Z' | 'a'..='z' => Some(1),
        '^' | '{' | '}' | '\\' | '[' | '~' | ']' | '|' | '€' => Some(2),
        _ => LETTERS.contains(letter).then_some(1),
    }
}

/// The text with what is only a finer form of a plain sign made plain: one such sign would cost half of the room.
fn plainer(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\u{2018}' | '\u{2019}' | '\u{201A}' | '`' | '´' => plain.push('\''),
            '\u{201C}' | '\u{201D}' | '\u{201E}' | '«' | '»' => plain.push('"'),
            '\u{2010}'..='\u{2015}' | '−' => plain.push('-'),
            '…' => plain.push_str("..."),
            '·' | '•' => plain.push('*'),
            '→' => plain.push_str("->"),
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_before_its_link() {
        let link = " https://watch.example.com/api/incidents/INC-1";
        assert_eq!(fitted("short", link), format!("short{link}"));
        let long = fitted(&"x".repeat(1_000), link);
        assert!(long.ends_with(&format!("x...{link}")) && long.chars().count() == 306, "{long}");
        let brackets = fitted(&"[".repeat(1_000), link);
        assert!(gsm_length('[') == Some(2) && brackets.chars().count() < 200, "{brackets}");
    }

    #[test]
    fn letters_of_other_alphabets_take_more_room() {
        let text = fitted(&"я".repeat(1_000), " https://w.example.com/1");
        assert_eq!(text.chars().count(), 201);
        let emoji = fitted(&"😀".repeat(1_000), " https://w.example.com/1");
        assert!(super::super::text::units(&emoji) <= 201 && emoji.contains("😀..."), "{emoji}");
    }

    #[test]
    fn fine_signs_are_made_plain() {
        assert_eq!(plainer("it’s “down” – again… → page"), "it's \"down\" - again... -> page");
    }
}
