//! The ways to people, and who is at their other end.
//!
//! Users: `notify` (sends), the operator's tool (reads routes from a file), `store` (rows).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Severity;

/// A kind of receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Slack, by bot token or by an incoming webhook.
    Slack,
    /// A Discord webhook.
    Discord,
    /// E-mail, over SMTP or `SendGrid`.
    Email,
    /// A text message, over Twilio.
    Sms,
    /// `PagerDuty`, Events API v2.
    PagerDuty,
    /// A signed webhook after the Standard Webhooks specification.
    Webhook,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 6] = [Self::Slack, Self::Discord, Self::Email, Self::Sms, Self::PagerDuty, Self::Webhook];

    /// The spelling in columns, files and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Discord => "discord",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::PagerDuty => "pagerduty",
            Self::Webhook => "webhook",
        }
    }

    /// The channel of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == text)
    }

    /// What differs by channel.
    #[must_use]
    pub const fn traits(self) -> ChannelTraits {
        // People read fewer than the one a second that Slack takes.
        const CHAT: ChannelTraits = ChannelTraits {
            pages: false,
            rate_limit: Some(RateLimit { burst: 20, count: 20, per: MINUTE }),
            digests: true,
            default_severities: &Severity::ALL,
            heal_runs: HealRuns::All,
            summaries: Summaries::All,
        };
        match self {
            Self::Slack | Self::Discord => CHAT,
            // A program reads it.
            Self::Webhook => ChannelTraits { rate_limit: None, ..CHAT },
            Self::Email => ChannelTraits {
                rate_limit: Some(RateLimit { burst: 20, count: 60, per: HOUR }),
                default_severities: &[Severity::Low, Severity::Medium],
                heal_runs: HealRuns::None,
                ..CHAT
            },
            // Each costs money.
            Self::Sms => ChannelTraits {
                pages: true,
                rate_limit: Some(RateLimit { burst: 5, count: 12, per: HOUR }),
                digests: true,
                default_severities: &[Severity::High, Severity::Critical],
                heal_runs: HealRuns::Failed,
                summaries: Summaries::Alone,
            },
            // Its Events API takes 120 a minute for one key, from all its users. A digest or a summary would open an incident
            // there that nothing resolves.
            Self::PagerDuty => ChannelTraits {
                pages: true,
                rate_limit: Some(RateLimit { burst: 60, count: 60, per: MINUTE }),
                digests: false,
                default_severities: &[Severity::High, Severity::Critical],
                heal_runs: HealRuns::Failed,
                summaries: Summaries::None,
            },
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// What differs by channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelTraits {
    /// Whether it wakes people: it gets nothing that is over, acknowledged, or can wait.
    pub pages: bool,
    /// The most notifications of one receiver; none = no limit.
    pub rate_limit: Option<RateLimit>,
    /// Whether throttled notifications become a digest. Else all wait for their turn, and what is over by then is skipped.
    pub digests: bool,
    /// What it gets where no route matches.
    pub default_severities: &'static [Severity],
    /// Which heal runs it gets.
    pub heal_runs: HealRuns,
    /// Whether it gets the summary of a silence.
    pub summaries: Summaries,
}

/// How many notifications a receiver may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// So many at once.
    pub burst: u32,
    /// So many …
    pub count: u32,
    /// … in this time.
    pub per: Duration,
}

/// Which heal runs a channel gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealRuns {
    /// All.
    All,
    /// Failed ones.
    Failed,
    /// None.
    None,
}

/// Which summaries of silences a channel gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summaries {
    /// All.
    All,
    /// Those that no other channel of the group gets.
    Alone,
    /// None.
    None,
}

impl fmt::Display for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A channel with a recipient: `slack`, `slack:#payments`, `email:ops@example.com`, `sms:+4915112345678`,
/// `pagerduty:DATABASE`. Without a name it is the one that the environment configures. The name of a `pagerduty`, `discord` or `webhook`
/// is that of a variable's end (`PAGERDUTY_ROUTING_KEY_DATABASE`): what opens those is a secret and stands in no file or row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receiver {
    channel: Channel,
    name: Option<String>,
}

/// Why a text names no receiver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiverError {
    /// The word before the colon is no channel.
    #[error("\"{0}\" is no channel: slack, discord, email, sms, pagerduty or webhook")]
    Channel(String),
    /// What follows the colon can't be reached over this channel.
    #[error("\"{name}\" is not {wanted}")]
    Name {
        /// What follows the colon.
        name: String,
        /// What should.
        wanted: &'static str,
    },
}

impl Receiver {
    /// The name of the recipient that the environment configures.
    pub const DEFAULT: &str = "default";
    /// The most characters of a name.
    const NAME_CHARS: usize = 254;

    /// The one that the environment configures.
    #[must_use]
    pub fn default_of(channel: Channel) -> Self {
        Self { channel, name: None }
    }

    /// The receiver of `CHANNEL` or `CHANNEL:NAME`.
    ///
    /// # Errors
    /// When there is no such channel, or it has no receiver of that name.
    pub fn parse(text: &str) -> Result<Self, ReceiverError> {
        let (channel, name) = match text.split_once(':') {
            Some((channel, name)) => (channel, Some(name)),
            None => (text, None),
        };
        let channel = Channel::parse(channel).ok_or_else(|| ReceiverError::Channel(channel.to_owned()))?;
        match name {
            None | Some(Self::DEFAULT) => Ok(Self::default_of(channel)),
            Some(name) => match refusal(channel, name) {
                None => Ok(Self { channel, name: Some(name.to_owned()) }),
                Some(wanted) => Err(ReceiverError::Name { name: name.to_owned(), wanted }),
            },
        }
    }

    /// Its channel.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Its recipient; none = the one that the environment configures.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Who, as rows name them: never empty, never a secret.
    #[must_use]
    pub fn recipient(&self) -> &str {
        self.name.as_deref().unwrap_or(Self::DEFAULT)
    }
}

/// What a name of this channel has to be, if this is none.
fn refusal(channel: Channel, name: &str) -> Option<&'static str> {
    let is_plain = |letter: char| !letter.is_control() && !letter.is_whitespace();
    let fits = !name.is_empty() && name.len() <= Receiver::NAME_CHARS && name.chars().all(is_plain);
    let (is_good, wanted) = match channel {
        Channel::Slack => (
            name.strip_prefix('#')
                .unwrap_or(name)
                .chars()
                .all(|it| it.is_alphanumeric() || matches!(it, '-' | '_' | '.'))
                && name.len() > 1,
            "a Slack channel (#payments, or its id)",
        ),
        Channel::Email => (is_address(name), "an e-mail address"),
        Channel::Sms => (is_number(name), "a telephone number (+ and 7 to 15 digits)"),
        Channel::Discord | Channel::PagerDuty | Channel::Webhook => (
            name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'),
            "the end of a variable's name (capitals, digits, _)",
        ),
    };
    (!fits || !is_good).then_some(wanted)
}

/// Enough to keep lists, names and header injection out; whether it exists, only sending shows.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    !local.is_empty()
        && local.bytes().all(is_local)
        && domain.bytes().all(is_domain)
        && !domain.starts_with(['.', '-'])
        && !domain.ends_with(['.', '-'])
        && domain.len() > 1
}

fn is_number(text: &str) -> bool {
    text.strip_prefix('+')
        .is_some_and(|digits| (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for Receiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => write!(formatter, "{}", self.channel),
            Some(name) => write!(formatter, "{}:{name}", self.channel),
        }
    }
}

impl Serialize for Receiver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Receiver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_written_as_it_is_read() {
        for text in [
            "slack",
            "slack:#payments",
            "slack:C024BE91L",
            "email:ops+night@shop.example.com",
            "sms:+4915112345678",
            "pagerduty:DATABASE_2",
            "webhook",
        ] {
            assert_eq!(Receiver::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Receiver::parse("email:default"), Ok(Receiver::default_of(Channel::Email)));
    }

    #[test]
    fn what_can_t_be_reached_is_refused_with_what_is_wanted() {
        for (text, part) in [
            ("", "no channel"),
            ("Slack", "no channel"),
            ("fax:1", "no channel"),
            ("slack:", "Slack channel"),
            ("slack:#", "Slack channel"),
            ("slack:<!channel>", "Slack channel"),
            ("email:ops", "e-mail"),
            ("email:ops@", "e-mail"),
            ("email:ops@example.com,eve@example.com", "e-mail"),
            ("email:ops@example.com\r\nBcc: eve@example.com", "e-mail"),
            ("email:Ops <ops@example.com>", "e-mail"),
            ("sms:0151123456", "telephone"),
            ("sms:+49 151 123", "telephone"),
            ("pagerduty:R0UTINGKEYinsmall", "variable"),
            ("webhook:https://example.com", "variable"),
        ] {
            let refused = Receiver::parse(text).unwrap_err().to_string();
            assert!(refused.contains(part), "{text:?}: {refused}");
        }
    }
}
