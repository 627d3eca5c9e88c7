//! The schedules: each minute, never again; and the probe's in time for twice the largest time-out.

use std::time::Duration;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use serde_json::Value;
use shared::model::ServiceSpec;

use crate::code;
use crate::template::Template;

/// The functions that are called by the clock.
const SCHEDULED: [&str; 2] = ["dispatch", "probe"];

/// The one schedule of this function.
fn schedule_of(template: &Template, function: &str) -> Value {
    let mut schedules = Vec::new();
    for folder in code::functions() {
        let function = template.function(&folder);
        let events = function["Events"].as_object().unwrap().values().filter(|event| event["Type"] == "ScheduleV2");
        schedules.extend(events.map(|event| (folder.clone(), event.clone())));
    }
    schedules.retain(|(_, event)| event["Type"] == "ScheduleV2");
    let folders: Vec<&str> = schedules.iter().map(|(folder, _)| folder.as_str()).collect();
    assert_eq!(folders, SCHEDULED);
    schedules.into_iter().find(|(folder, _)| folder == function).unwrap().1["Properties"].clone()
}

fn the_schedule(template: &Template) -> Value {
    schedule_of(template, "probe")
}

#[test]
fn both_are_called_on_each_minute_without_a_flexible_window() {
    for function in SCHEDULED {
        let schedule = schedule_of(&Template::read(), function);
        assert_eq!(schedule["ScheduleExpression"], "cron(* * * * ? *)");
        assert_eq!(schedule["FlexibleTimeWindow"]["Mode"], "OFF");
        assert_eq!(schedule.get("State"), None);
    }
}

#[test]
fn a_tick_is_never_tried_again_and_is_not_older_than_a_minute() {
    let template = Template::read();
    for function in SCHEDULED {
        let schedule = schedule_of(&template, function);
        for policy in [&schedule["RetryPolicy"], &template.function(function)["EventInvokeConfig"]] {
            assert_eq!((&policy["MaximumRetryAttempts"], &policy["MaximumEventAgeInSeconds"]), (&0.into(), &60.into()));
        }
    }
}

#[test]
fn what_was_missed_lies_encrypted_in_the_dead_letters_for_14_days() {
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
fn the_probe_has_time_for_twice_the_largest_time_out_and_its_writes() {
    let largest = (1..=600).rev().find(|seconds| is_accepted(Duration::from_secs(*seconds))).unwrap();
    // Claiming and recording: 5 s each, and one retry.
    let needed = 2 * largest + 20;
    let given = Template::read().function("probe")["Timeout"].as_u64().unwrap();
    assert!(given > needed, "{given} s where {needed} s may be needed");
}

fn is_accepted(timeout: Duration) -> bool {
    let spec = ServiceSpec { timeout, ..harness::spec("shop", "production", "https://shop.example.com/".to_owned()) };
    spec.validated().is_ok()
}
