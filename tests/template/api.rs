//! The HTTP API: the rate limit of each route, and its access log.

use serde_json::{Map, Value, json};

use crate::code;
use crate::operation::threshold_of;
use crate::template::Template;

/// The client limit of the pooler in Supabase's smallest project.
const POOLER_CLIENTS: f64 = 200.0;

/// The duration of a request that stores something, in seconds, over a slow network.
const REQUEST_SECONDS: f64 = 0.1;

fn routes(template: &Template) -> Vec<String> {
    let functions = code::functions();
    let events = functions.iter().flat_map(|folder| {
        let events = template.function(folder)["Events"].as_object().unwrap().clone();
        events.into_values().filter(|event| event["Type"] == "HttpApi")
    });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    events
        .map(|event| format!("{} {}", text(&event["Properties"]["Method"]), text(&event["Properties"]["Path"])))
        .collect()
}

fn limits(template: &Template) -> Map<String, Value> {
    template.resource("Api")["RouteSettings"].as_object().unwrap().clone()
}

#[test]
fn public_routes_have_rate_limits_of_their_own() {
    let template = Template::read();
    let (routes, limits) = (routes(&template), limits(&template));
    for route in &routes {
        let is_public = ["/webhooks/", "/api/heartbeat/", "/api/{proxy+}", "/api/autonomous/"]
            .iter()
            .any(|path| route.split_once(' ').is_some_and(|(_, it)| it.starts_with(path)));
        assert_eq!(limits.contains_key(route), is_public, "{route}");
    }
    for route in limits.keys() {
        assert!(routes.contains(route), "a limit of {route}, which is no route, fails the deployment");
    }
}

#[test]
fn all_routes_at_their_limits_stay_below_the_pooler_s_client_limit() {
    let template = Template::read();
    let rate = |settings: &Value| settings["ThrottlingRateLimit"].as_f64().unwrap();
    let limits = limits(&template);
    let rest = routes(&template).iter().filter(|route| !limits.contains_key(*route)).count();
    let default = rate(&template.resource("Api")["DefaultRouteSettings"]);
    // A preflight does not use the database.
    let own: f64 = limits.iter().filter(|(route, _)| !route.starts_with("OPTIONS")).map(|(_, it)| rate(it)).sum();
    let connections = (own + default * f64::from(u32::try_from(rest).unwrap())) * REQUEST_SECONDS;
    assert!(connections < POOLER_CLIENTS * 0.75, "{connections} connections at a time");
}

#[test]
fn the_access_log_is_json_without_path_query_and_address() {
    let template = Template::read();
    let settings = &template.resource("Api")["AccessLogSettings"];
    assert_eq!(template.referred(&settings["DestinationArn"]).0, "ApiLogGroup");
    assert_eq!(template.resource("ApiLogGroup")["RetentionInDays"]["Ref"], "LogRetentionDays");
    let format = settings["Format"].as_str().unwrap();
    let line: Value = serde_json::from_str(&format.replace("$context.status", "429")).unwrap();
    assert_eq!((&line["route"], &line["status"]), (&json!("$context.routeKey"), &json!(429)));
    // Paths contain the secret of unsigned webhooks and the tokens of heartbeats; queries contain the keys of DSNs.
    for secret in
        ["$context.path", "rawPath", "query", "identity", "sourceIp", "userAgent", "authorizer", "error.message"]
    {
        assert!(!format.contains(secret), "{secret}");
    }
}

#[test]
fn a_rate_limited_request_raises_an_alarm() {
    let template = Template::read();
    let (filter, alarm) = (template.resource("ApiRefusedMetric"), template.resource("ApiRefusedAlarm"));
    assert_eq!(template.referred(&filter["LogGroupName"]).0, "ApiLogGroup");
    assert_eq!(filter["FilterPattern"], "{ $.status = 429 }");
    let metric = &filter["MetricTransformations"][0];
    assert_eq!((&metric["MetricName"], &metric["MetricNamespace"]), (&alarm["MetricName"], &alarm["Namespace"]));
    assert_eq!(threshold_of(alarm), json!(["GreaterThanThreshold", 0, "notBreaching"]));
}
