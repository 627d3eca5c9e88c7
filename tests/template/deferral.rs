//! The path of deferred reports: bus, rule, queue, `replay`; and reports that can't be stored.

use serde_json::{Value, json};

use crate::template::Template;

/// The queue of `replay`, and the properties of its event source mapping.
fn reading(template: &Template) -> Value {
    let function = template.function("replay");
    let events = function["Events"].as_object().unwrap();
    assert_eq!((events.len(), &events["Deferred"]["Type"]), (1, &json!("SQS")));
    events["Deferred"]["Properties"].clone()
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
}

#[test]
fn replay_reads_batches_of_a_hundred() {
    let template = Template::read();
    let reading = reading(&template);
    let number = |value: &Value| value.as_u64().unwrap();
    // Batches of more than ten need a window; a hundred reports are one statement.
    assert!(number(&reading["BatchSize"]) <= 100 && number(&reading["MaximumBatchingWindowInSeconds"]) >= 1);
}

#[test]
fn a_day_without_the_database_loses_nothing() {
    let template = Template::read();
    // Notifications are kept as long as reports.
    for queue in ["DeferredReports", "Notices"].map(|queue| template.resource(queue)) {
        let redrive = &queue["RedrivePolicy"];
        let (tries, each) =
            (redrive["maxReceiveCount"].as_u64().unwrap(), queue["VisibilityTimeout"].as_u64().unwrap());
        assert!(tries * each >= 24 * 60 * 60, "each receive counts, whatever the cause of the failure");
    }
}

#[test]
fn a_report_that_can_never_be_stored_raises_an_alarm() {
    let template = Template::read();
    let filter = template.resource("ReplayRefusedMetric");
    assert_eq!(template.referred(&filter["LogGroupName"]).0, "ReplayLogGroup");
    // tests/e2e/deferral/replay.rs tests that each refusal logs such a line, and an outage none.
    assert_eq!(filter["FilterPattern"], "{ $.level = \"ERROR\" }");
    let (metric, alarm) = (&filter["MetricTransformations"][0], template.resource("ReplayRefusedAlarm"));
    assert_eq!(metric["MetricName"], alarm["MetricName"]);
    assert_eq!(metric["MetricNamespace"], alarm["Namespace"]);
}
