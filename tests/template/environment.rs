//! Each function gets the variables that it reads, secrets by reference only.

use std::collections::BTreeSet;

use serde_json::json;
use shared::model::CheckSettings;

use crate::code;
use crate::template::Template;

/// What must never stand in the template, nor come as a parameter.
const SECRETS: [&str; 20] = [
    "DATABASE_URL",
    "SENTRY_CLIENT_SECRET",
    "SENTRY_SERVICE_HOOK_SECRET",
    "SENTRY_LEGACY_SECRET",
    "INGEST_API_KEY",
    "READ_TOKEN",
    "DSN_SECRET",
    "ADMIN_TOKEN",
    "SLACK_WEBHOOK_URL",
    "SLACK_BOT_TOKEN",
    "SLACK_SIGNING_SECRET",
    "DISCORD_WEBHOOK_URL",
    "SMTP_URL",
    "SENDGRID_API_KEY",
    "TWILIO_AUTH_TOKEN",
    "PAGERDUTY_ROUTING_KEY",
    "PAGERDUTY_WEBHOOK_SECRET",
    "PAGERDUTY_API_TOKEN",
    "NOTIFY_WEBHOOK_URL",
    "NOTIFY_WEBHOOK_SECRET",
];

/// Whose names an operator lengthens with one of a route: those variables are looked up when they are used.
const NAMED: [&str; 4] =
    ["DISCORD_WEBHOOK_URL_", "PAGERDUTY_ROUTING_KEY_", "NOTIFY_WEBHOOK_URL_", "NOTIFY_WEBHOOK_SECRET_"];

/// What an operator has added: what services are asked with, and further receivers.
fn is_added(name: &str) -> bool {
    name.starts_with(CheckSettings::SECRET_PREFIX) || NAMED.iter().any(|named| name.starts_with(named))
}

#[test]
fn every_function_gets_every_variable_that_it_reads_and_nothing_more() {
    let template = Template::read();
    for folder in code::functions() {
        let mut declared: BTreeSet<String> = template.variables(&folder).into_iter().map(|(name, _)| name).collect();
        if ["probe", "notify"].contains(&folder.as_str()) {
            declared.retain(|name| !is_added(name));
        }
        // Lambda sets these itself, and takes no others of that name.
        let mut read = code::variables(&folder);
        read.retain(|name| !name.starts_with("AWS_"));
        if folder == "notify" {
            // It gets their names.
            for certificate in notify::parameters::CERTIFICATES {
                assert!(read.remove(certificate.variable) && read.insert(certificate.parameter.to_owned()));
            }
        }
        assert_eq!(declared, read, "{folder}");
    }
}

#[test]
fn secrets_come_from_secrets_manager_at_the_named_version() {
    let template = Template::read();
    for folder in code::functions() {
        for (name, value) in template.variables(&folder) {
            if SECRETS.contains(&name.as_str()) || is_added(&name) {
                let reference =
                    format!("{{{{resolve:secretsmanager:${{SecretName}}:SecretString:{name}::${{SecretVersion}}}}}}");
                // One that not everybody has is only read where a parameter says that it is there.
                let value = value["Fn::If"].as_array().map_or(&value, |choice| {
                    assert_eq!(choice[2], json!({"Ref": "AWS::NoValue"}), "{folder}: {name}");
                    &choice[1]
                });
                assert_eq!(value["Fn::Sub"], reference, "{folder}");
            } else {
                assert!(!value.to_string().contains("secretsmanager"), "{folder}: is {name} a secret?");
            }
        }
    }
}

#[test]
fn no_parameter_is_a_secret() {
    for name in Template::read().parameters().keys() {
        let plain = name.to_uppercase();
        let is_secret = SECRETS.iter().any(|secret| plain == secret.replace('_', ""));
        assert!(!is_secret, "{name} would stand in plain text in the stack's parameters");
    }
}

#[test]
fn the_bus_is_named_to_the_functions_that_publish() {
    let template = Template::read();
    for folder in code::functions() {
        if let Some(value) = template.variables(&folder).get("EVENT_BUS_NAME") {
            let (name, bus) = template.referred(value);
            // Two stacks of an account have a bus each, unless a name is given.
            let own = json!({"Fn::If": ["HasEventBusName", {"Ref": "EventBusName"}, {"Ref": "AWS::StackName"}]});
            assert_eq!((name.as_str(), &bus["Name"]), ("EventBus", &own), "{folder}");
        }
    }
    assert_eq!(template.parameters()["EventBusName"]["Default"], "");
}
