//! The schedules: each minute or each ten minutes, without retries; the probe's time-out covers twice the largest time-out
//! of a check.

use std::time::Duration;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use shared::model::ServiceSpec;

use crate::code;
use crate::template::Template;

/// The scheduled functions.
const SCHEDULED: [&str; 4] = ["dispatch", "maintain", "notify", "probe"];

/// The schedule of this function that is always enabled.
fn schedule_of(template: &Template, function: &str) -> Value {
    let mut always = Vec::new();
    for folder in code::functions() {
        let schedules = schedules_in(template, &folder).into_iter().filter(|(_, schedule)| schedule["State"].is_null());
        always.extend(schedules.map(|(_, schedule)| (folder.clone(), schedule)));
    }
    let folders: Vec<&str> = always.iter().map(|(folder, _)| folder.as_str()).collect();
    assert_eq!(folders, SCHEDULED);
    always.into_iter().find(|(folder, _)| folder == function).unwrap().1
}

/// Every schedule of a function, with its name.
fn schedules_in(template: &Template, function: &str) -> Vec<(String, Value)> {
    let function = template.function(function);
    let events = function["Events"].as_object().unwrap().iter().filter(|(_, event)| event["Type"] == "ScheduleV2");
    events.map(|(name, event)| (name.clone(), event["Properties"].clone())).collect()
}

fn the_schedule(template: &Template) -> Value {
    schedule_of(template, "probe")
}

#[test]
fn all_scheduled_functions_run_at_fixed_minutes_without_a_flexible_window() {
    for function in SCHEDULED {
        let schedule = schedule_of(&Template::read(), function);
        let minutes = if function == "maintain" { "3/10" } else { "*" };
        assert_eq!(schedule["ScheduleExpression"], format!("cron({minutes} * * * ? *)"));
        assert_eq!(schedule["FlexibleTimeWindow"]["Mode"], "OFF");
        assert_eq!(schedule.get("State"), None);
    }
}

#[test]
fn the_local_stack_runs_maintenance_in_the_minutes_of_the_schedule() {
    let due = (0..60).filter(|minute| maintain::is_due(DateTime::UNIX_EPOCH + TimeDelta::minutes(*minute)));
    assert_eq!(due.collect::<Vec<_>>(), [3, 13, 23, 33, 43, 53], "cron(3/10 …)");
}

#[test]
fn up_to_four_identical_invocations_may_share_the_services_of_a_minute() {
    let template = Template::read();
    let parameter = &template.parameters()["ProbeSchedules"];
    assert_eq!((&parameter["Default"], &parameter["AllowedValues"]), (&1.into(), &json!([1, 2, 3, 4])));
    let first = the_schedule(&template);
    let mut others = schedules_in(&template, "probe");
    others.retain(|(_, schedule)| !schedule["State"].is_null());
    for ((name, mut other), (event, condition, number)) in others.into_iter().zip([
        ("EachMinuteFourth", "HasFourProbeSchedules", 4),
        ("EachMinuteSecond", "HasTwoProbeSchedules", 2),
        ("EachMinuteThird", "HasThreeProbeSchedules", 3),
    ]) {
        assert_eq!(name, event);
        assert_eq!(other["State"], json!({"Fn::If": [condition, "ENABLED", "DISABLED"]}), "{name}");
        assert_eq!(other["Name"]["Fn::Sub"], format!("${{AWS::StackName}}-probe-{number}"));
        // In everything else it equals the first.
        let other = other.as_object_mut().unwrap();
        other.remove("State");
        other.insert("Name".to_owned(), first["Name"].clone());
        assert_eq!(Value::Object(other.clone()), first, "{name}");
    }
    assert_eq!(schedules_in(&template, "probe").len(), 4);
}

#[test]
fn a_tick_is_not_retried_and_expires_after_a_minute() {
    let template = Template::read();
    for function in SCHEDULED {
        let schedule = schedule_of(&template, function);
        for policy in [&schedule["RetryPolicy"], &template.function(function)["EventInvokeConfig"]] {
            assert_eq!((&policy["MaximumRetryAttempts"], &policy["MaximumEventAgeInSeconds"]), (&0.into(), &60.into()));
        }
    }
}

#[test]
fn missed_ticks_are_kept_encrypted_as_dead_letters_for_14_days() {
    let template = Template::read();
    let on_failure = &template.function("probe")["EventInvokeConfig"]["DestinationConfig"]["OnFailure"];
    assert_eq!(on_failure["Type"], "SQS");
    for queue in [&the_schedule(&template)["DeadLetterConfig"]["Arn"], &on_failure["Destination"]] {
        let (name, queue) = template.referred(queue);
        assert_eq!(name, "ProbeDeadLetters");
        assert_eq!(queue["SqsManagedSseEnabled"], true);
        assert_eq!(queue["MessageRetentionPeriod"], 14 * 24 * 60 * 60);
    }
}

#[test]
fn the_schedule_s_input_is_the_event_that_the_probe_reads_with_the_scheduled_time() {
    let schedule = the_schedule(&Template::read());
    let input = schedule["Input"].as_str().unwrap();
    let sent = input.replace("<aws.scheduler.scheduled-time>", "2026-11-23T10:00:00Z");
    let event: EventBridgeEvent<Value> = serde_json::from_str(&sent).unwrap();
    assert_eq!(event.time.unwrap().to_rfc3339(), "2026-11-23T10:00:00+00:00");
    let fixture: Value = serde_json::from_str(&code::read("functions/probe/fixtures/scheduled-event.json")).unwrap();
    let sent: Value = serde_json::from_str(&sent).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&fixture), names(&sent), "the fixture is what the schedule sends");
    for name in ["version", "detail-type", "source", "time", "detail"] {
        assert_eq!(fixture[name], sent[name], "{name}");
    }
}

#[test]
fn the_probe_s_time_out_covers_twice_the_largest_time_out_and_the_writes() {
    let largest = (1..=600).rev().find(|seconds| is_accepted(Duration::from_secs(*seconds))).unwrap();
    // Claiming and recording: 5 s each, and one retry. Services due at the half minute start 30 s later.
    let needed = 30 + 2 * largest + 20;
    let given = Template::read().function("probe")["Timeout"].as_u64().unwrap();
    assert!(given > needed, "{given} s where {needed} s may be needed");
}

fn is_accepted(timeout: Duration) -> bool {
    let spec = ServiceSpec { timeout, ..harness::spec("shop", "production", "https://shop.example.com/".to_owned()) };
    spec.validated().is_ok()
}
