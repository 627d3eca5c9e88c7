//! The ways of events: bus, rule, queue, function; and what becomes of an event that can't be handled.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::code;
use crate::template::Template;

/// What every event of ours comes from.
const SOURCE: &str = "watchkeeper";

/// Days, in seconds.
const RETENTION: u64 = 14 * 24 * 60 * 60;

/// Each rule with the one queue that it fills.
fn ways(template: &Template) -> Vec<(String, String)> {
    let rules = template.of_type("AWS::Events::Rule");
    let way = |(rule, properties): (String, &Value)| {
        let targets = properties["Targets"].as_array().unwrap();
        assert_eq!(targets.len(), 1, "{rule}");
        (rule, template.referred(&targets[0]["Arn"]).0)
    };
    let ways: Vec<_> = rules.map(way).collect();
    assert!(ways.len() >= 3, "{ways:?}");
    ways
}

/// The function that reads this queue, and how.
fn reader(template: &Template, queue: &str) -> (String, Value) {
    let mut readers = Vec::new();
    for folder in code::functions() {
        for event in template.function(&folder)["Events"].as_object().unwrap().values() {
            if event["Type"] == "SQS" && template.referred(&event["Properties"]["Queue"]).0 == queue {
                readers.push((folder.clone(), event["Properties"].clone()));
            }
        }
    }
    assert_eq!(readers.len(), 1, "{queue}");
    readers.remove(0)
}

#[test]
fn every_rule_listens_to_our_bus_for_events_that_exist() {
    let template = Template::read();
    let names = code::detail_types();
    for (rule, properties) in template.of_type("AWS::Events::Rule") {
        assert_eq!(template.referred(&properties["EventBusName"]).0, "EventBus", "{rule}");
        let pattern = properties["EventPattern"].as_object().unwrap();
        assert_eq!(pattern["source"], json!([SOURCE]), "{rule}");
        for name in pattern["detail-type"].as_array().unwrap() {
            assert!(names.contains(name.as_str().unwrap()), "{rule}: there is no event {name}");
        }
    }
    assert!(code::read("shared/src/bus.rs").contains(&format!("const SOURCE: &str = \"{SOURCE}\";")));
}

#[test]
fn every_event_has_a_rule() {
    let template = Template::read();
    let mut routed = BTreeSet::new();
    for (_, rule) in template.of_type("AWS::Events::Rule") {
        let names = rule["EventPattern"]["detail-type"].as_array().unwrap().iter();
        routed.extend(names.map(|name| name.as_str().unwrap().to_owned()));
    }
    assert_eq!(routed, code::detail_types());
}

#[test]
fn an_event_reaches_its_function_as_it_is_and_fails_alone() {
    let template = Template::read();
    for (rule, queue) in ways(&template) {
        let target = &template.resource(&rule)["Targets"][0];
        assert_eq!((target.get("Input"), target.get("InputPath"), target.get("InputTransformer")), (None, None, None));
        let (function, reading) = reader(&template, &queue);
        assert_eq!(reading["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]), "{function}");
        assert_eq!(reading["ScalingConfig"]["MaximumConcurrency"], 2, "{function}");
        // No other invocation gets a message while it is handled.
        let seconds = |value: &Value| value.as_u64().unwrap();
        let visibility = seconds(&template.resource(&queue)["VisibilityTimeout"]);
        assert!(visibility >= 6 * seconds(&template.function(&function)["Timeout"]), "{queue}");
    }
}

#[test]
fn what_can_not_be_delivered_or_handled_lies_encrypted_in_dead_letters_for_two_weeks() {
    let template = Template::read();
    for (rule, queue) in ways(&template) {
        let dead_letters = format!("{queue}DeadLetters");
        let target = &template.resource(&rule)["Targets"][0];
        assert_eq!(template.referred(&target["DeadLetterConfig"]["Arn"]).0, dead_letters, "{rule}");
        let redrive = &template.resource(&queue)["RedrivePolicy"];
        assert_eq!(template.referred(&redrive["deadLetterTargetArn"]).0, dead_letters);
        for name in [&queue, &dead_letters] {
            let queue = template.resource(name);
            assert_eq!(queue["MessageRetentionPeriod"], RETENTION, "{name}");
            // By SQS's own key, or by the operator's.
            assert_eq!(queue["SqsManagedSseEnabled"], if_key(&json!({"Ref": "AWS::NoValue"}), &json!(true)), "{name}");
            assert_eq!(queue["KmsMasterKeyId"], the_key(), "{name}");
        }
    }
}

/// The one value with `KmsKeyArn`, the other without.
fn if_key(with: &Value, without: &Value) -> Value {
    json!({"Fn::If": ["HasKmsKey", with, without]})
}

/// `KmsKeyArn`, if there is one.
fn the_key() -> Value {
    if_key(&json!({"Ref": "KmsKeyArn"}), &json!({"Ref": "AWS::NoValue"}))
}

#[test]
fn an_operator_s_key_encrypts_environments_and_logs_too() {
    let template = Template::read();
    for folder in code::functions() {
        assert_eq!(template.function(&folder)["KmsKeyArn"], the_key(), "{folder}");
    }
    for (name, group) in template.of_type("AWS::Logs::LogGroup") {
        assert_eq!(group["KmsKeyId"], the_key(), "{name}");
    }
}

#[test]
fn accepted_reports_outlive_the_stack() {
    let template = Template::read();
    for queue in ["DeferredReports", "DeferredReportsDeadLetters"] {
        assert_eq!(template.fate(queue), (&json!("Retain"), &json!("Retain")), "{queue}");
        // A name of its own would keep the next stack from being made.
        assert_eq!(template.resource(queue).get("QueueName"), None);
    }
}

#[test]
fn only_its_rule_may_write_to_a_queue() {
    let template = Template::read();
    for (rule, queue) in ways(&template) {
        let policy = template.resource(&format!("{queue}Policy"));
        let names = [queue.clone(), format!("{queue}DeadLetters")];
        assert_eq!(policy["Queues"], json!(names.each_ref().map(|name| json!({"Ref": name}))));
        let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 1);
        let statement = &statements[0];
        assert_eq!(statement["Principal"], json!({"Service": "events.amazonaws.com"}));
        assert_eq!(statement["Action"], "sqs:SendMessage");
        let arn = |name: &String| json!({"Fn::GetAtt": format!("{name}.Arn")});
        assert_eq!(statement["Resource"], json!(names.each_ref().map(arn)));
        assert_eq!(statement["Condition"], json!({"ArnEquals": {"aws:SourceArn": arn(&rule)}}));
    }
}

#[test]
fn people_s_notices_are_read_by_notify_and_changes_by_dispatch_when_their_delay_is_over() {
    let template = Template::read();
    assert_eq!(reader(&template, "Notices").0, "notify");
    assert_eq!(reader(&template, "DelayedAlerts").0, "dispatch");
    assert_eq!(template.resource("Notices").get("DelaySeconds"), None);
    // As long as people wait where they wait least, but do.
    let delay = shared::model::AlertPolicy::default().page_delay("staging").as_secs();
    assert_eq!(template.resource("DelayedAlerts")["DelaySeconds"], delay);
    let pattern = &template.resource("DelayedAlertsRule")["EventPattern"];
    assert_eq!(pattern["detail-type"], json!(["ServiceStateChanged"]));
    assert_eq!(pattern["detail"], json!({"to": ["down", "degraded"]}));
}
