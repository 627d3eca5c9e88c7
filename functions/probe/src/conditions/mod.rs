//! Conditions on an answer, in a small language with bounded cost: no loops, no user functions, one comparison each.
//!
//! ```text
//! [STATUS] == any(200, 204)          [BODY].db.ok == true           [BODY].items[0].name == pat(john*)
//! len([BODY].items) > 0              has([BODY].error) == false     [BODY] == pat(*ok*)
//! [HEADER].content-type == pat(*json*)                              [RESPONSE_TIME] < 500ms
//! [CERTIFICATE_EXPIRATION] > 14d     [CONNECTED] == true            [IP] == any(192.0.2.1, 192.0.2.2)
//! [DNS_RCODE] == NOERROR             [ANSWER] == pat(*.mail.example)
//! ```
//!
//! Operators: `==`, `!=`, `<`, `<=`, `>`, `>=`. A text may be in double quotes. In a pattern, `*` matches anything. A
//! missing field equals nothing.

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

/// The most characters of the seen value that are reported.
const SEEN_CHARS: usize = 100;

/// Parsed conditions.
#[derive(Debug, Clone, Default)]
pub struct Conditions(Vec<Condition>);

/// Why a condition can't be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("condition {condition:?}, character {position}: {problem}")]
pub struct ConditionError {
    /// The condition, or its beginning.
    pub condition: String,
    /// The position, counted in characters from 1.
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

/// What is applied to the left side before the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    None,
    Len,
    Has,
}

/// The value that a condition is about.
#[derive(Debug, Clone, PartialEq)]
enum Subject {
    Status,
    Body(Vec<PathStep>),
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
enum PathStep {
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

/// The values of an answer that conditions can use.
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

/// The value that was seen instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A value that we measured.
    Value(String),
    /// A value from the target, which may contain anything.
    Said(String),
    /// No value, and why.
    Nothing(&'static str),
}

impl Broken<'_> {
    /// For people: `[BODY].db.ok == true, but it is false`. A value from the target is passed through `redact`, then
    /// cut.
    #[must_use]
    pub fn describe(self, redact: impl FnOnce(String) -> String) -> String {
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
    /// Parses each condition.
    ///
    /// # Errors
    /// The first condition that can't be parsed: which one, where, and what was expected.
    pub fn parse(conditions: &[String]) -> Result<Self, ConditionError> {
        conditions.iter().map(|condition| parse::condition(condition)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a service of this kind has the values that the conditions use.
    ///
    /// # Errors
    /// The first condition on a value that this kind does not have.
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
    pub fn use_status(&self) -> bool {
        self.0.iter().any(|condition| condition.subject == Subject::Status)
    }

    /// Whether one of them is about the code of a DNS answer.
    #[must_use]
    pub fn use_dns_code(&self) -> bool {
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
