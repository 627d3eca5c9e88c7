//! The HTTP API: what each route takes, and what is noted of a request.

use serde_json::{Map, Value, json};

use crate::code;
use crate::operation::rings_at;
use crate::template::Template;

/// What the pooler of Supabase's smallest project takes.
const POOLER_CLIENTS: f64 = 200.0;

/// A request that stores something takes about this long, in seconds, over a slow network.
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
fn what_strangers_may_flood_has_a_limit_of_its_own() {
    let template = Template::read();
    let (routes, limits) = (routes(&template), limits(&template));
    for route in &routes {
        let is_for_strangers = ["/webhooks/", "/api/heartbeat/", "/api/{proxy+}", "/api/autonomous/"]
            .iter()
            .any(|path| route.split_once(' ').is_some_and(|(_, it)| it.starts_with(path)));
        assert_eq!(limits.contains_key(route), is_for_strangers, "{route}");
    }
    for route in limits.keys() {
        assert!(routes.contains(route), "a limit of {route}, which is no route, fails the deployment");
    }
}

#[test]
fn all_routes_at_their_limits_leave_the_pooler_room() {
    let template = Template::read();
    let rate = |settings: &Value| settings["ThrottlingRateLimit"].as_f64().unwrap();
    let limits = limits(&template);
    let rest = routes(&template).iter().filter(|route| !limits.contains_key(*route)).count();
    let default = rate(&template.resource("Api")["DefaultRouteSettings"]);
    // A preflight touches no database.
    let own: f64 = limits.iter().filter(|(route, _)| !route.starts_with("OPTIONS")).map(|(_, it)| rate(it)).sum();
    let connections = (own + default * f64::from(u32::try_from(rest).unwrap())) * REQUEST_SECONDS;
    assert!(connections < POOLER_CLIENTS * 0.75, "{connections} connections at a time");
}

#[test]
fn the_access_log_is_json_and_holds_no_path_no_query_and_no_address() {
    let template = Template::read();
    let settings = &template.resource("Api")["AccessLogSettings"];
    assert_eq!(template.referred(&settings["DestinationArn"]).0, "ApiLogGroup");
    assert_eq!(template.resource("ApiLogGroup")["RetentionInDays"]["Ref"], "LogRetentionDays");
    let format = settings["Format"].as_str().unwrap();
    let line: Value = serde_json::from_str(&format.replace("$context.status", "429")).unwrap();
    assert_eq!((&line["route"], &line["status"]), (&json!("$context.routeKey"), &json!(429)));
    // Paths hold the secret of unsigned webhooks and the tokens of heartbeats; queries the keys of DSNs.
    for secret in
        ["$context.path", "rawPath", "query", "identity", "sourceIp", "userAgent", "authorizer", "error.message"]
    {
        assert!(!format.contains(secret), "{secret}");
    }
}

#[test]
fn a_request_that_is_refused_with_429_rings() {
    let template = Template::read();
    let (filter, alarm) = (template.resource("ApiRefusedMetric"), template.resource("ApiRefusedAlarm"));
    assert_eq!(template.referred(&filter["LogGroupName"]).0, "ApiLogGroup");
    assert_eq!(filter["FilterPattern"], "{ $.status = 429 }");
    let metric = &filter["MetricTransformations"][0];
    assert_eq!((&metric["MetricName"], &metric["MetricNamespace"]), (&alarm["MetricName"], &alarm["Namespace"]));
    assert_eq!(rings_at(alarm), json!(["GreaterThanThreshold", 0, "notBreaching"]));
}
