//! What must hold of an answer, in a small language whose cost is bounded: no loops, no functions of the user's own, one
//! comparison each.
//!
//! ```text
//! [STATUS] == any(200, 204)          [BODY].db.ok == true           [BODY].items[0].name == pat(john*)
//! len([BODY].items) > 0              has([BODY].error) == false     [BODY] == pat(*ok*)
//! [HEADER].content-type == pat(*json*)                              [RESPONSE_TIME] < 500ms
//! [CERTIFICATE_EXPIRATION] > 14d     [CONNECTED] == true            [IP] == any(192.0.2.1, 192.0.2.2)
//! [DNS_RCODE] == NOERROR             [ANSWER] == pat(*.mail.example)
//! ```
//!
//! Operators: `==`, `!=`, `<`, `<=`, `>`, `>=`. A text may stand in double quotes. In a pattern, `*` stands for anything.
//! A field that is not there is unlike everything.

mod evaluate;
mod parse;
mod pattern;

use std::net::IpAddr;
use std::time::Duration;

use chrono::TimeDelta;
use hyper::HeaderMap;
use shared::model::Kind;
use shared::model::text::first_chars;

use pattern::Pattern;

/// As much of the value that was seen is told.
const SEEN_CHARS: usize = 100;

/// Conditions that were understood.
#[derive(Debug, Clone, Default)]
pub struct Conditions(Vec<Condition>);

/// Why a condition was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("condition {condition:?}, character {position}: {problem}")]
pub struct ConditionError {
    /// The condition, or its beginning.
    pub condition: String,
    /// Where, counted in characters from 1.
    pub position: usize,
    /// What is wrong, or was expected.
    pub problem: String,
}

/// One comparison.
#[derive(Debug, Clone)]
struct Condition {
    text: String,
    function: Function,
    subject: Subject,
    operator: Operator,
    right: Right,
}

/// What is made of the left side before it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    None,
    Len,
    Has,
}

/// What a condition is about.
#[derive(Debug, Clone, PartialEq)]
enum Subject {
    Status,
    Body(Vec<Step>),
    Header(String),
    ResponseTime,
    CertificateExpiration,
    Connected,
    Ip,
    DnsCode,
    Answer,
}

/// A step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is compared with.
#[derive(Debug, Clone)]
enum Right {
    /// One of these.
    Any(Vec<Term>),
    /// A number; durations are in milliseconds.
    Number(f64),
}

#[derive(Debug, Clone)]
enum Term {
    Text { text: String, number: Option<f64> },
    Pattern(Pattern),
}

/// What an answer has that conditions may speak of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer<'a> {
    /// `[STATUS]`.
    pub status: Option<u16>,
    /// `[HEADER]`.
    pub headers: Option<&'a HeaderMap>,
    /// `[BODY]`.
    pub body: Option<&'a str>,
    /// `[RESPONSE_TIME]`.
    pub response_time: Duration,
    /// `[CERTIFICATE_EXPIRATION]`: how long until then.
    pub certificate_left: Option<TimeDelta>,
    /// `[CONNECTED]`.
    pub connected: bool,
    /// `[IP]`.
    pub address: Option<IpAddr>,
    /// `[DNS_RCODE]`.
    pub dns_code: Option<&'a str>,
    /// `[ANSWER]`: the records.
    pub records: &'a [String],
}

/// A condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken<'a> {
    /// The condition.
    pub condition: &'a str,
    /// The value that was seen.
    pub seen: Seen,
}

/// What was seen instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// This value, which we measured.
    Value(String),
    /// This value, which the target said, whatever it holds.
    Said(String),
    /// Nothing: why there is no value.
    Nothing(&'static str),
}

impl Broken<'_> {
    /// For a person: `[BODY].db.ok == true, but it is false`. What the target said passes through `redact` first, and only
    /// its beginning is told.
    #[must_use]
    pub fn told(self, redact: impl FnOnce(String) -> String) -> String {
        let condition = self.condition;
        let value = match self.seen {
            Seen::Nothing(why) => return format!("{condition}, but {why}"),
            Seen::Value(value) => value,
            Seen::Said(value) => redact(value),
        };
        if value.is_empty() {
            return format!("{condition}, but it is empty");
        }
        let shown = first_chars(&value, SEEN_CHARS);
        let more = if shown.len() < value.len() { "…" } else { "" };
        format!("{condition}, but it is {shown}{more}")
    }
}

impl Conditions {
    /// Understands each condition.
    ///
    /// # Errors
    /// The first that is none: which, where, and what was expected.
    pub fn parse(conditions: &[String]) -> Result<Self, ConditionError> {
        conditions.iter().map(|condition| parse::condition(condition)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a service of this kind has what the conditions speak of.
    ///
    /// # Errors
    /// The first condition that could never hold.
    pub fn check_kind(&self, kind: Kind) -> Result<(), ConditionError> {
        let misfit = self.0.iter().find(|condition| !condition.subject.is_of(kind));
        misfit.map_or(Ok(()), |condition| {
            Err(ConditionError {
                condition: condition.text.clone(),
                position: 1,
                problem: format!("a service of the kind {kind} has no such value"),
            })
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the body has to be read.
    #[must_use]
    pub fn need_body(&self) -> bool {
        self.0.iter().any(|condition| matches!(condition.subject, Subject::Body(_)))
    }

    /// Whether one of them is about the status.
    #[must_use]
    pub fn speak_of_status(&self) -> bool {
        self.0.iter().any(|condition| condition.subject == Subject::Status)
    }

    /// Whether one of them is about the code of a DNS answer.
    #[must_use]
    pub fn speak_of_dns_code(&self) -> bool {
        self.0.iter().any(|condition| condition.subject == Subject::DnsCode)
    }

    /// The first condition that does not hold, if there is one.
    #[must_use]
    pub fn first_broken(&self, answer: &Answer<'_>) -> Option<Broken<'_>> {
        evaluate::first_broken(&self.0, answer)
    }
}

impl Subject {
    fn is_of(&self, kind: Kind) -> bool {
        match self {
            Self::Status | Self::Body(_) | Self::Header(_) => kind == Kind::Http,
            Self::CertificateExpiration => matches!(kind, Kind::Http | Kind::Tls),
            Self::Ip => matches!(kind, Kind::Http | Kind::Tcp | Kind::Tls),
            Self::DnsCode | Self::Answer => kind == Kind::Dns,
            Self::ResponseTime | Self::Connected => kind != Kind::Heartbeat,
        }
    }
}

#[cfg(test)]
mod tests;
