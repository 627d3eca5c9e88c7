//! The channels' variables: what opens which channel, and how errors are reported.

use notify::channel::{Channels, ChannelsConfig};
use shared::config::{Environment, Secrets};
use shared::model::Receiver;

fn read(variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let config = Environment::from_lookup(find).read(ChannelsConfig::read).map_err(|error| error.to_string())?;
    Ok(Channels::new(config).unwrap().configured().iter().map(ToString::to_string).collect())
}

const TWILIO: [(&str, &str); 3] =
    [("TWILIO_ACCOUNT_SID", "AC0"), ("TWILIO_AUTH_TOKEN", "t"), ("TWILIO_FROM", "+4915100000000")];

#[test]
fn a_channel_is_opened_by_naming_it() {
    assert_eq!(read(&[]).unwrap(), [""; 0]);
    for (variables, receivers) in [
        (&[("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/x")][..], &["slack"][..]),
        (&[("SLACK_BOT_TOKEN", "xoxb-1"), ("SLACK_CHANNEL", "#ops")], &["slack"]),
        (&[("DISCORD_WEBHOOK_URL", "https://discord.com/api/webhooks/1/x")], &["discord"]),
        (&[("SMTP_URL", "smtp://127.0.0.1:25"), ("EMAIL_FROM", "w@example.com")], &["email"]),
        (
            &[("SENDGRID_API_KEY", "SG.x"), ("EMAIL_FROM", "w@example.com"), ("EMAIL_TO", "a@b.c, d@e.f,a@b.c")],
            &["email:a@b.c", "email:d@e.f"],
        ),
        (
            &[TWILIO[0], TWILIO[1], TWILIO[2], ("SMS_TO", "+4915112345678,+12025550123")],
            &["sms:+4915112345678", "sms:+12025550123"],
        ),
        (&TWILIO, &[]),
        (&[("PAGERDUTY_ROUTING_KEY", "r")], &["pagerduty"]),
        (
            &[
                ("NOTIFY_WEBHOOK_URL", "https://example.com/hook"),
                ("NOTIFY_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            ],
            &["webhook"],
        ),
    ] {
        assert_eq!(read(variables).unwrap(), receivers, "{variables:?}");
    }
}

#[test]
fn it_is_known_whom_a_message_can_reach() {
    let variables = [
        ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/x"),
        ("SMTP_URL", "smtp://127.0.0.1:25"),
        ("EMAIL_FROM", "w@example.com"),
    ];
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let mut config = Environment::from_lookup(find).read(ChannelsConfig::read).unwrap();
    config.named = Secrets::from_lookup(|name| (name == "PAGERDUTY_ROUTING_KEY_NIGHT").then(|| "r".to_owned()));
    let channels = Channels::new(config).unwrap();
    for (receiver, reached) in [
        ("slack", true),
        ("slack:#ops", false),
        ("email", false),
        ("email:a@b.c", true),
        ("sms:+4915112345678", false),
        ("pagerduty", false),
        ("pagerduty:NIGHT", true),
        ("discord", false),
        ("webhook:AUDIT", false),
    ] {
        assert_eq!(channels.reaches(&Receiver::parse(receiver).unwrap()), reached, "{receiver}");
    }
    assert_eq!(channels.sms_daily_limit(), 20);
}

#[test]
fn an_unusable_value_is_reported_by_its_name_and_never_repeated() {
    for (variables, part) in [
        (&[("SLACK_WEBHOOK_URL", "http://hooks.slack.com/services/SECRET")][..], "SLACK_WEBHOOK_URL: it must begin"),
        (&[("SLACK_WEBHOOK_URL", "SECRET")], "SLACK_WEBHOOK_URL: it is no address"),
        (&[("SLACK_BOT_TOKEN", "SECRET")], "SLACK_CHANNEL: it is not set"),
        (&[("SLACK_CHANNEL", "#ops")], "SLACK_CHANNEL: only a bot"),
        (&[("SLACK_BOT_TOKEN", "SECRET"), ("SLACK_CHANNEL", "#a b")], "SLACK_CHANNEL: \"#a b\" is not"),
        (&[("DISCORD_WEBHOOK_URL", "ftp://SECRET")], "DISCORD_WEBHOOK_URL: "),
        (
            &[("SMTP_URL", "smtp://u:SECRET@mail.example.com"), ("EMAIL_FROM", "a@b.c")],
            "SMTP_URL: smtp:// in the clear",
        ),
        (&[("SMTP_URL", "smtp://127.0.0.1:25")], "EMAIL_FROM: it is not set"),
        (
            &[("SMTP_URL", "smtps://mail.example.com"), ("EMAIL_FROM", "a@b.c"), ("SMTP_CA", "x")],
            "SMTP_CA: it holds no",
        ),
        (&[("SMTP_URL", "smtp://127.0.0.1"), ("EMAIL_FROM", "W <a@b.c>")], "EMAIL_FROM: it is not an e-mail"),
        (&[("EMAIL_FROM", "a@b.c")], "EMAIL_FROM: neither SMTP_URL nor SENDGRID_API_KEY"),
        (&[("EMAIL_TO", "a@b.c")], "EMAIL_TO: neither"),
        (&[("SENDGRID_API_KEY", "SECRET"), ("EMAIL_FROM", "a@b.c"), ("EMAIL_TO", "a@b.c,ops")], "EMAIL_TO: \"ops\""),
        (&[("TWILIO_ACCOUNT_SID", "AC0")], "TWILIO_AUTH_TOKEN: it is not set"),
        (&[TWILIO[0], TWILIO[1]], "TWILIO_FROM: it is not set"),
        (&[("SMS_TO", "+4915112345678")], "TWILIO_ACCOUNT_SID: it is not set"),
        (&[TWILIO[0], TWILIO[1], TWILIO[2], ("SMS_TO", "0151")], "SMS_TO: \"0151\""),
        (&[TWILIO[0], TWILIO[1], TWILIO[2], ("SMS_DAILY_LIMIT", "many")], "SMS_DAILY_LIMIT: it is not a number"),
        (&[("PAGERDUTY_API_URL", "http://example.com")], "PAGERDUTY_API_URL: it must begin"),
        (&[("NOTIFY_WEBHOOK_URL", "https://example.com/SECRET")], "NOTIFY_WEBHOOK_SECRET: it is not set"),
        (&[("NOTIFY_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")], "NOTIFY_WEBHOOK_URL: it is not"),
        (
            &[("NOTIFY_WEBHOOK_URL", "https://example.com"), ("NOTIFY_WEBHOOK_SECRET", "SECRET")],
            "NOTIFY_WEBHOOK_SECRET: it must begin with whsec_",
        ),
    ] {
        let problem = read(variables).unwrap_err();
        assert!(problem.contains(part) && !problem.replace("_SECRET", "").contains("SECRET"), "{part}: {problem}");
    }
}

#[test]
fn a_configuration_shows_no_secret() {
    let find = |name: &str| {
        Some(
            match name {
                "SLACK_WEBHOOK_URL" => "https://hooks.slack.com/services/SECRET",
                "DISCORD_WEBHOOK_URL" => "https://discord.com/api/webhooks/1/SECRET",
                "SMTP_URL" => "smtps://u:SECRET@mail.example.com",
                "EMAIL_FROM" => "a@b.c",
                "TWILIO_ACCOUNT_SID" => "AC0",
                "TWILIO_AUTH_TOKEN" | "PAGERDUTY_ROUTING_KEY" => "SECRET",
                "TWILIO_FROM" => "+4915100000000",
                "NOTIFY_WEBHOOK_URL" => "https://example.com/SECRET",
                "NOTIFY_WEBHOOK_SECRET" => "whsec_SECRETSECRETSECRETSECRETSECRETSE",
                _ => return None,
            }
            .to_owned(),
        )
    };
    let config = Environment::from_lookup(find).read(ChannelsConfig::read).unwrap();
    assert!(!format!("{config:?}").contains("SECRET"), "{config:?}");
}
