//! The way of deferred reports: bus, rule, queue, `replay`; and what happens to those that can't be stored.

use serde_json::{Value, json};

use crate::code;
use crate::template::Template;

/// What every event of ours comes from.
const SOURCE: &str = "watchkeeper";

/// Days, in seconds.
const RETENTION: u64 = 14 * 24 * 60 * 60;

/// The one queue that `replay` reads, with the properties of the reading.
fn reading(template: &Template) -> Value {
    let function = template.function("replay");
    let events = function["Events"].as_object().unwrap();
    assert_eq!((events.len(), &events["Deferred"]["Type"]), (1, &json!("SQS")));
    events["Deferred"]["Properties"].clone()
}

#[test]
fn every_rule_listens_to_our_bus_for_events_that_exist() {
    let template = Template::read();
    let (names, mut rules) = (code::detail_types(), 0);
    for (rule, properties) in template.of_type("AWS::Events::Rule") {
        rules += 1;
        assert_eq!(template.referred(&properties["EventBusName"]).0, "EventBus", "{rule}");
        let pattern = properties["EventPattern"].as_object().unwrap();
        assert_eq!(pattern["source"], json!([SOURCE]), "{rule}");
        for name in pattern["detail-type"].as_array().unwrap() {
            assert!(names.contains(name.as_str().unwrap()), "{rule}: there is no event {name}");
        }
    }
    assert!(rules > 0);
    assert!(code::read("shared/src/bus.rs").contains(&format!("const SOURCE: &str = \"{SOURCE}\";")));
}

#[test]
fn deferred_reports_go_to_the_queue_that_replay_reads() {
    let template = Template::read();
    let rule = template.resource("DeferredReportsRule");
    assert_eq!(rule["EventPattern"]["detail-type"], json!(["ReportDeferred"]));
    let targets = rule["Targets"].as_array().unwrap();
    assert_eq!(targets.len(), 1);
    let (queue, _) = template.referred(&targets[0]["Arn"]);
    assert_eq!(queue, template.referred(&reading(&template)["Queue"]).0);
    let (dead_letters, _) = template.referred(&targets[0]["DeadLetterConfig"]["Arn"]);
    assert_eq!(dead_letters, "DeferredReportsDeadLetters", "what the rule can't deliver is kept too");
    // `replay` reads the event: the rule must not change it.
    assert_eq!(
        (targets[0].get("Input"), targets[0].get("InputPath"), targets[0].get("InputTransformer")),
        (None, None, None)
    );
}

#[test]
fn only_the_rule_may_write_to_the_queues() {
    let template = Template::read();
    let policy = template.resource("DeferredReportsPolicy");
    let names = ["DeferredReports", "DeferredReportsDeadLetters"];
    assert_eq!(policy["Queues"], json!(names.map(|name| json!({"Ref": name}))));
    let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 1);
    let statement = &statements[0];
    assert_eq!(statement["Principal"], json!({"Service": "events.amazonaws.com"}));
    assert_eq!(statement["Action"], "sqs:SendMessage");
    let arn = |name: &str| json!({"Fn::GetAtt": format!("{name}.Arn")});
    assert_eq!(statement["Resource"], json!(names.map(arn)));
    assert_eq!(statement["Condition"], json!({"ArnEquals": {"aws:SourceArn": arn("DeferredReportsRule")}}));
}

#[test]
fn a_message_fails_alone_and_is_read_by_nobody_else_while_it_is_stored() {
    let template = Template::read();
    let reading = reading(&template);
    assert_eq!(reading["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    let number = |value: &Value| value.as_u64().unwrap();
    // Larger batches than ten need a window; a hundred reports are one statement.
    assert!(number(&reading["BatchSize"]) <= 100 && number(&reading["MaximumBatchingWindowInSeconds"]) >= 1);
    let queue = template.resource("DeferredReports");
    assert!(number(&queue["VisibilityTimeout"]) >= 6 * number(&template.function("replay")["Timeout"]));
}

#[test]
fn a_day_without_the_database_loses_nothing_and_what_is_set_aside_is_kept_for_two_weeks() {
    let template = Template::read();
    let queue = template.resource("DeferredReports");
    let redrive = &queue["RedrivePolicy"];
    let (tries, each) = (redrive["maxReceiveCount"].as_u64().unwrap(), queue["VisibilityTimeout"].as_u64().unwrap());
    assert!(tries * each >= 24 * 60 * 60, "each try counts, whether it is the message's fault or the database's");
    let (name, dead_letters) = template.referred(&redrive["deadLetterTargetArn"]);
    assert_eq!(name, "DeferredReportsDeadLetters");
    for queue in [queue, dead_letters] {
        assert_eq!(
            (&queue["MessageRetentionPeriod"], &queue["SqsManagedSseEnabled"]),
            (&json!(RETENTION), &json!(true))
        );
    }
}

#[test]
fn a_report_that_can_never_be_stored_rings_before_it_is_set_aside() {
    let template = Template::read();
    let filter = template.resource("ReplayRefusedMetric");
    assert_eq!(template.referred(&filter["LogGroupName"]).0, "ReplayLogGroup");
    // tests/e2e/deferral/replay.rs sees that each refusal is such a line, and an outage none.
    assert_eq!(filter["FilterPattern"], "{ $.level = \"ERROR\" }");
    let (metric, alarm) = (&filter["MetricTransformations"][0], template.resource("ReplayRefusedAlarm"));
    assert_eq!(metric["MetricName"], alarm["MetricName"]);
    assert_eq!(metric["MetricNamespace"], alarm["Namespace"]);
}
