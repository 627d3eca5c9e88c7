//! Operation: log retention and alarms.

use serde_json::{Value, json};

use crate::code;
use crate::template::Template;

#[test]
fn every_function_has_its_own_log_group_with_a_retention() {
    let template = Template::read();
    for folder in code::functions() {
        let (name, group) = template.referred(&template.function(&folder)["LoggingConfig"]["LogGroup"]);
        assert_eq!(name, code::logical_name(&folder, "LogGroup"));
        assert_eq!(group["RetentionInDays"]["Ref"], "LogRetentionDays");
        assert_eq!(group["LogGroupName"]["Fn::Sub"], format!("/aws/lambda/${{AWS::StackName}}-{folder}"));
    }
}

#[test]
fn errors_of_every_function_raise_an_alarm() {
    let template = Template::read();
    for folder in code::functions() {
        let alarm = template.resource(&code::logical_name(&folder, "ErrorsAlarm"));
        assert_eq!((&alarm["Namespace"], &alarm["MetricName"]), (&"AWS/Lambda".into(), &"Errors".into()));
        let function = code::logical_name(&folder, "Function");
        assert_eq!(alarm["Dimensions"], json!([{"Name": "FunctionName", "Value": {"Ref": function}}]));
        assert_eq!(threshold_of(alarm), json!(["GreaterThanThreshold", 0, "notBreaching"]));
    }
}

#[test]
fn a_probe_or_notify_that_is_not_invoked_raises_an_alarm() {
    let template = Template::read();
    for function in ["Probe", "Notify"] {
        let alarm = template.resource(&format!("{function}SilentAlarm"));
        assert_eq!((&alarm["MetricName"], &alarm["Statistic"]), (&"Invocations".into(), &"Sum".into()));
        assert_eq!((&alarm["Period"], &alarm["EvaluationPeriods"]), (&300.into(), &1.into()));
        assert_eq!(alarm["Dimensions"][0]["Value"]["Ref"], format!("{function}Function"));
        assert_eq!(threshold_of(alarm), json!(["LessThanThreshold", 1, "breaching"]));
    }
}

#[test]
fn dead_letters_raise_an_alarm() {
    let template = Template::read();
    let queues = template.of_type("AWS::SQS::Queue").map(|(name, _)| name);
    let dead_letters: Vec<String> = queues.filter(|name| name.ends_with("DeadLetters")).collect();
    assert!(dead_letters.len() >= 4, "{dead_letters:?}");
    for queue in dead_letters {
        let alarm = template.resource(&format!("{queue}Alarm"));
        assert_eq!(alarm["MetricName"], "ApproximateNumberOfMessagesVisible");
        assert_eq!(alarm["Dimensions"][0]["Value"]["Fn::GetAtt"], format!("{queue}.QueueName"));
        assert_eq!(threshold_of(alarm), json!(["GreaterThanThreshold", 0, "notBreaching"]));
    }
}

#[test]
fn every_alarm_goes_to_the_topic_and_to_the_address_if_there_is_one() {
    let template = Template::read();
    for (name, alarm) in template.of_type("AWS::CloudWatch::Alarm") {
        let if_there =
            |condition: &str, topic: &str| json!({"Fn::If": [condition, {"Ref": topic}, {"Ref": "AWS::NoValue"}]});
        let wanted = json!([if_there("HasAlarmTopic", "AlarmTopicArn"), if_there("HasAlarmEmail", "AlarmTopic")]);
        assert_eq!((&alarm["AlarmActions"], &alarm["OKActions"]), (&wanted, &wanted), "{name}");
    }
    let subscription = &template.resource("AlarmTopic")["Subscription"];
    assert_eq!(subscription, &json!([{"Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}}]));
}

#[test]
fn a_throttled_function_raises_an_alarm() {
    let template = Template::read();
    for folder in code::functions() {
        let alarm = template.resource(&code::logical_name(&folder, "ThrottlesAlarm"));
        assert_eq!((&alarm["Namespace"], &alarm["MetricName"]), (&"AWS/Lambda".into(), &"Throttles".into()));
        let function = code::logical_name(&folder, "Function");
        assert_eq!(alarm["Dimensions"], json!([{"Name": "FunctionName", "Value": {"Ref": function}}]));
        assert_eq!(threshold_of(alarm), json!(["GreaterThanThreshold", 0, "notBreaching"]));
    }
}

#[test]
fn an_event_that_the_bus_can_not_deliver_raises_an_alarm() {
    let template = Template::read();
    for rule in ["DeferredReportsRule", "NoticesRule"] {
        let arn = json!({"Fn::GetAtt": format!("{rule}.Arn")});
        let name = json!({"Fn::Select": [2, {"Fn::Split": ["/", arn]}]});
        for (alarm, metric) in [("Failed", "FailedInvocations"), ("Lost", "InvocationsFailedToBeSentToDlq")] {
            let alarm = template.resource(&format!("{rule}{alarm}Alarm"));
            assert_eq!((&alarm["Namespace"], &alarm["MetricName"]), (&"AWS/Events".into(), &metric.into()));
            let bus = json!({"Name": "EventBusName", "Value": {"Ref": "EventBus"}});
            assert_eq!(alarm["Dimensions"], json!([bus, {"Name": "RuleName", "Value": name}]));
            assert_eq!(threshold_of(alarm), json!(["GreaterThanThreshold", 0, "notBreaching"]));
        }
    }
}

pub(crate) fn threshold_of(alarm: &Value) -> Value {
    json!([alarm["ComparisonOperator"], alarm["Threshold"], alarm["TreatMissingData"]])
}
