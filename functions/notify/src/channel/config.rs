//! The channels' variables. A channel is configured by naming it; a half configuration is a problem that names its variable.

use secrecy::{ExposeSecret as _, SecretString};
use shared::address::Address;
use shared::config::{Environment, Secrets};
use shared::model::{Channel, Receiver};

use super::email::SmtpServer;
use super::webhook::SigningKey;

/// The ways to people, as far as the environment names them.
#[derive(Debug, Clone, Default)]
pub struct ChannelsConfig {
    /// Slack.
    pub slack: Option<SlackConfig>,
    /// `DISCORD_WEBHOOK_URL`.
    pub discord: Option<Address>,
    /// E-mail.
    pub email: Option<EmailConfig>,
    /// Text messages.
    pub sms: Option<SmsConfig>,
    /// `PAGERDUTY_ROUTING_KEY`.
    pub pagerduty: Option<SecretString>,
    /// `PAGERDUTY_API_URL`; none = PagerDuty's own.
    pub pagerduty_api: Option<Address>,
    /// A webhook.
    pub webhook: Option<WebhookConfig>,
    /// Where the variables with names stand: `DISCORD_WEBHOOK_URL_NAME`, `PAGERDUTY_ROUTING_KEY_NAME`,
    /// `NOTIFY_WEBHOOK_URL_NAME` and `NOTIFY_WEBHOOK_SECRET_NAME`.
    pub named: Secrets,
}

/// How Slack is written to.
#[derive(Debug, Clone)]
pub enum SlackConfig {
    /// `SLACK_WEBHOOK_URL`: an incoming webhook, which can write but not change what it wrote.
    Webhook(Address),
    /// A bot.
    Bot {
        /// `SLACK_BOT_TOKEN`.
        token: SecretString,
        /// `SLACK_CHANNEL`: `#ops`, or its id.
        channel: String,
        /// `SLACK_API_URL`.
        api: Address,
    },
}

/// How e-mails are sent.
#[derive(Debug, Clone)]
pub struct EmailConfig {
    /// `EMAIL_FROM`: one address.
    pub from: String,
    /// `EMAIL_TO`: whom the environment names.
    pub to: Vec<String>,
    /// Over what.
    pub way: EmailWay,
}

/// What takes e-mails.
#[derive(Debug, Clone)]
pub enum EmailWay {
    /// `SMTP_URL`, and `SMTP_CA` where its certificate is signed by no public authority.
    Smtp(SmtpServer),
    /// SendGrid's HTTP API.
    SendGrid {
        /// `SENDGRID_API_KEY`.
        key: SecretString,
        /// `SENDGRID_API_URL`.
        api: Address,
    },
}

/// How text messages are sent: over Twilio.
#[derive(Debug, Clone)]
pub struct SmsConfig {
    /// `TWILIO_ACCOUNT_SID`.
    pub account: String,
    /// `TWILIO_AUTH_TOKEN`.
    pub token: SecretString,
    /// `TWILIO_FROM`: a number, a name, or a messaging service (`MG…`).
    pub from: String,
    /// `SMS_TO`: whom the environment names.
    pub to: Vec<String>,
    /// `TWILIO_API_URL`.
    pub api: Address,
    /// `SMS_DAILY_LIMIT`: the most messages in a day.
    pub daily_limit: u32,
}

/// A webhook, and what is signed with.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// `NOTIFY_WEBHOOK_URL`.
    pub url: Address,
    /// `NOTIFY_WEBHOOK_SECRET`.
    pub key: SigningKey,
}

impl SlackConfig {
    /// Where Slack's methods are.
    pub const API: &str = "https://slack.com/api";
}

impl EmailWay {
    /// Where SendGrid's API is.
    pub const SENDGRID: &str = "https://api.sendgrid.com";
}

impl SmsConfig {
    /// Where Twilio's API is.
    pub const API: &str = "https://api.twilio.com";
    /// Messages cost money, and one storm can send thousands.
    pub const DAILY_LIMIT: u32 = 20;
}

impl ChannelsConfig {
    /// Where PagerDuty takes events.
    pub const PAGERDUTY: &str = "https://events.pagerduty.com";

    /// Reads the channels' variables.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            slack: slack(environment),
            discord: address(environment, "DISCORD_WEBHOOK_URL"),
            email: email(environment),
            sms: sms(environment),
            pagerduty: environment.secret("PAGERDUTY_ROUTING_KEY"),
            pagerduty_api: address(environment, "PAGERDUTY_API_URL"),
            webhook: webhook(environment),
            named: Secrets::of_process(),
        }
    }

    /// Whom the environment names, for each channel that it opens; of e-mail and SMS, the single addresses. E-mail
    /// without `EMAIL_TO` is `email`: its address is configured elsewhere.
    #[must_use]
    pub fn receivers(&self) -> Vec<Receiver> {
        let named = |channel: Channel, names: &[String]| -> Vec<Receiver> {
            names.iter().filter_map(|name| Receiver::parse(&format!("{channel}:{name}")).ok()).collect()
        };
        let mut receivers = Vec::new();
        receivers.extend(self.slack.as_ref().map(|_| Receiver::default_of(Channel::Slack)));
        receivers.extend(self.discord.as_ref().map(|_| Receiver::default_of(Channel::Discord)));
        if let Some(email) = &self.email {
            let mut addresses = named(Channel::Email, &email.to);
            if addresses.is_empty() {
                addresses.push(Receiver::default_of(Channel::Email));
            }
            receivers.append(&mut addresses);
        }
        receivers.extend(self.sms.iter().flat_map(|sms| named(Channel::Sms, &sms.to)));
        receivers.extend(self.pagerduty.as_ref().map(|_| Receiver::default_of(Channel::PagerDuty)));
        receivers.extend(self.webhook.as_ref().map(|_| Receiver::default_of(Channel::Webhook)));
        receivers
    }
}

/// What variables with names say. Errors there are reported when it is used.
impl ChannelsConfig {
    pub(super) fn discord_of(&self, name: Option<&str>) -> Result<Option<Address>, String> {
        let Some(name) = name else { return Ok(self.discord.clone()) };
        self.address_in(&format!("DISCORD_WEBHOOK_URL_{name}"))
    }

    pub(super) fn pagerduty_of(&self, name: Option<&str>) -> Option<SecretString> {
        let Some(name) = name else { return self.pagerduty.clone() };
        self.named.get(&format!("PAGERDUTY_ROUTING_KEY_{name}"))
    }

    pub(super) fn pagerduty_api(&self) -> Address {
        self.pagerduty_api.clone().unwrap_or(Address::of_vendor(Self::PAGERDUTY))
    }

    pub(super) fn webhook_of(&self, name: Option<&str>) -> Result<Option<WebhookConfig>, String> {
        let Some(name) = name else { return Ok(self.webhook.clone()) };
        let secret = format!("NOTIFY_WEBHOOK_SECRET_{name}");
        let Some(url) = self.address_in(&format!("NOTIFY_WEBHOOK_URL_{name}"))? else { return Ok(None) };
        let key = self.named.get(&secret).ok_or_else(|| format!("{secret}: it is not set"))?;
        let key = SigningKey::parse(&key).map_err(|what| format!("{secret}: {what}"))?;
        Ok(Some(WebhookConfig { url, key }))
    }

    fn address_in(&self, variable: &str) -> Result<Option<Address>, String> {
        let Some(text) = self.named.get(variable) else { return Ok(None) };
        Address::parse(text.expose_secret()).map(Some).map_err(|what| format!("{variable}: {what}"))
    }
}

fn slack(environment: &mut Environment<'_>) -> Option<SlackConfig> {
    let webhook = address(environment, "SLACK_WEBHOOK_URL").map(SlackConfig::Webhook);
    let api = address(environment, "SLACK_API_URL").unwrap_or(Address::of_vendor(SlackConfig::API));
    let channel = environment.optional("SLACK_CHANNEL").map(|name| name.trim().to_owned());
    match (environment.secret("SLACK_BOT_TOKEN"), channel) {
        (Some(token), Some(channel)) => match Receiver::parse(&format!("slack:{channel}")) {
            Ok(_) => Some(SlackConfig::Bot { token, channel, api }),
            Err(error) => {
                environment.problem("SLACK_CHANNEL", error);
                None
            }
        },
        (Some(_), None) => {
            environment.problem("SLACK_CHANNEL", "it is not set, and SLACK_BOT_TOKEN is: where should the bot write?");
            None
        }
        (None, Some(_)) => {
            environment.problem("SLACK_CHANNEL", "only a bot can choose a channel, and SLACK_BOT_TOKEN is not set");
            webhook
        }
        (None, None) => webhook,
    }
}

fn email(environment: &mut Environment<'_>) -> Option<EmailConfig> {
    let to = receivers(environment, Channel::Email, "EMAIL_TO");
    let from = environment.optional("EMAIL_FROM").map(|from| from.trim().to_owned());
    let api = address(environment, "SENDGRID_API_URL").unwrap_or(Address::of_vendor(EmailWay::SENDGRID));
    let smtp = smtp(environment).map(EmailWay::Smtp);
    let sendgrid = environment.secret("SENDGRID_API_KEY").map(|key| EmailWay::SendGrid { key, api });
    let is_named = environment.secret("SMTP_URL").is_some() || sendgrid.is_some();
    match (&from, is_named) {
        (None, true) => environment.problem("EMAIL_FROM", "it is not set (the address that e-mails come from)"),
        (Some(from), true) if Receiver::parse(&format!("email:{from}")).is_err() => {
            environment.problem("EMAIL_FROM", "it is not an e-mail address (only the address, without a name)");
        }
        (Some(_), false) => {
            environment.problem("EMAIL_FROM", "neither SMTP_URL nor SENDGRID_API_KEY says how e-mails are sent");
        }
        _ => {}
    }
    if !is_named && !to.is_empty() {
        environment.problem("EMAIL_TO", "neither SMTP_URL nor SENDGRID_API_KEY says how e-mails are sent");
    }
    Some(EmailConfig { from: from?, to, way: smtp.or(sendgrid)? })
}

fn smtp(environment: &mut Environment<'_>) -> Option<SmtpServer> {
    let server = SmtpServer::parse(&environment.secret("SMTP_URL")?);
    let server = server.map_err(|what| environment.problem("SMTP_URL", what)).ok()?;
    match environment.optional("SMTP_CA") {
        None => Some(server),
        // A variable of one line holds the ends of lines as \n.
        Some(ca) => {
            let server = server.trusting(&ca.replace("\\n", "\n"));
            server.map_err(|what| environment.problem("SMTP_CA", what)).ok()
        }
    }
}

fn sms(environment: &mut Environment<'_>) -> Option<SmsConfig> {
    const NAMES: [&str; 3] = ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM"];
    let to = receivers(environment, Channel::Sms, "SMS_TO");
    let api = address(environment, "TWILIO_API_URL").unwrap_or(Address::of_vendor(SmsConfig::API));
    let daily_limit = environment.optional("SMS_DAILY_LIMIT").map_or(SmsConfig::DAILY_LIMIT, |text| {
        text.trim().parse().unwrap_or_else(|_| {
            environment.problem("SMS_DAILY_LIMIT", "it is not a number");
            SmsConfig::DAILY_LIMIT
        })
    });
    let [account, token, from] = NAMES.map(|name| environment.optional(name).map(|value| value.trim().to_owned()));
    let missing: Vec<_> = NAMES.into_iter().filter(|name| environment.optional(name).is_none()).collect();
    if missing.len() < NAMES.len() || !to.is_empty() {
        for name in missing {
            environment.problem(name, "it is not set, and text messages need it");
        }
    }
    let is_plain = |text: &String| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if account.as_ref().is_some_and(|account| !is_plain(account)) {
        environment.problem("TWILIO_ACCOUNT_SID", "it has other characters than letters and digits (AC…)");
    }
    Some(SmsConfig { account: account?, token: SecretString::from(token?), from: from?, to, api, daily_limit })
}

fn webhook(environment: &mut Environment<'_>) -> Option<WebhookConfig> {
    let url = address(environment, "NOTIFY_WEBHOOK_URL");
    let secret = environment.secret("NOTIFY_WEBHOOK_SECRET");
    let key = secret.as_ref().and_then(|secret| match SigningKey::parse(secret) {
        Ok(key) => Some(key),
        Err(what) => {
            environment.problem("NOTIFY_WEBHOOK_SECRET", what);
            None
        }
    });
    match (&url, &secret) {
        (Some(_), None) => environment.problem(
            "NOTIFY_WEBHOOK_SECRET",
            "it is not set, and webhooks are signed with it (whsec_ and the base64 of 24 to 64 random bytes)",
        ),
        (None, Some(_)) => environment.problem("NOTIFY_WEBHOOK_URL", "it is not set, or not usable"),
        _ => {}
    }
    Some(WebhookConfig { url: url?, key: key? })
}

fn address(environment: &mut Environment<'_>, name: &str) -> Option<Address> {
    let parsed = Address::parse(&environment.optional(name)?);
    parsed.map_err(|what| environment.problem(name, what)).ok()
}

/// A list with commas of those who can be reached over this channel.
fn receivers(environment: &mut Environment<'_>, channel: Channel, name: &str) -> Vec<String> {
    let list = environment.optional(name).unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for one in list.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        match Receiver::parse(&format!("{channel}:{one}")) {
            Ok(receiver) if receiver.name().is_some() => {
                if !names.iter().any(|known| known == one) {
                    names.push(one.to_owned());
                }
            }
            Ok(_) => environment.problem(name, format!("\"{one}\" is no address")),
            Err(error) => environment.problem(name, error),
        }
    }
    names
}
