//! Each function gets the variables that it reads, secrets by reference only.

use std::collections::BTreeSet;

use serde_json::json;
use shared::model::CheckSettings;

use crate::code;
use crate::template::Template;

/// Names that must neither stand in the template nor be parameters.
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

/// Prefixes that an operator completes with a route's name: these variables are read when they are used.
const NAMED: [&str; 4] =
    ["DISCORD_WEBHOOK_URL_", "PAGERDUTY_ROUTING_KEY_", "NOTIFY_WEBHOOK_URL_", "NOTIFY_WEBHOOK_SECRET_"];

/// An operator's additional variable: a secret of a service, or a further receiver.
fn is_added(name: &str) -> bool {
    name.starts_with(CheckSettings::SECRET_PREFIX) || NAMED.iter().any(|named| name.starts_with(named))
}

#[test]
fn every_function_gets_exactly_the_variables_that_it_reads() {
    let template = Template::read();
    for folder in code::functions() {
        let mut declared: BTreeSet<String> = template.variables(&folder).into_iter().map(|(name, _)| name).collect();
        if ["probe", "notify"].contains(&folder.as_str()) {
            declared.retain(|name| !is_added(name));
        }
        // Lambda sets these itself, and refuses others of these names.
        let mut read = code::variables(&folder);
        read.retain(|name| !name.starts_with("AWS_"));
        if folder == "notify" {
            // Certificates are passed by the name of their parameter.
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
                // An optional secret is read only if a parameter enables it.
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
        assert!(!is_secret, "{name} would be in plain text in the stack's parameters");
    }
}

#[test]
fn functions_that_publish_get_the_name_of_the_bus() {
    let template = Template::read();
    for folder in code::functions() {
        if let Some(value) = template.variables(&folder).get("EVENT_BUS_NAME") {
            let (name, bus) = template.referred(value);
            // By default, two stacks of an account have a bus each.
            let own = json!({"Fn::If": ["HasEventBusName", {"Ref": "EventBusName"}, {"Ref": "AWS::StackName"}]});
            assert_eq!((name.as_str(), &bus["Name"]), ("EventBus", &own), "{folder}");
        }
    }
    assert_eq!(template.parameters()["EventBusName"]["Default"], "");
}
