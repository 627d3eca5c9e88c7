//! The routes of the HTTP API and of `make watch` match those of the routers.

use std::collections::BTreeSet;

use harness::{Database, TestStack};
use local::stack::VendorsConfig;
use pagerduty_events::app::PagerDutyConfig;
use secrecy::SecretString;

use crate::code::{self, Route};
use crate::template::Template;

fn routes_of_the_template() -> BTreeSet<Route> {
    let template = Template::read();
    let mut routes = BTreeSet::new();
    for folder in code::functions() {
        let function = template.function(&folder);
        for event in function["Events"].as_object().unwrap().values().filter(|event| event["Type"] == "HttpApi") {
            let properties = &event["Properties"];
            assert_eq!(properties["ApiId"]["Ref"], "Api");
            assert_eq!(properties["PayloadFormatVersion"], "2.0");
            let text = |name: &str| properties[name].as_str().unwrap().to_owned();
            let is_new = routes.insert((folder.clone(), text("Method"), text("Path")));
            assert!(is_new, "{properties} is there twice");
        }
    }
    routes
}

/// The function that an HTTP API sends a request to: the route that matches exactly, else one with a greedy variable.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>.
fn function_for<'a>(routes: &'a BTreeSet<Route>, method: &str, path: &str) -> Option<&'a str> {
    let fits = |route: &&Route| route.1 == method && fits(&route.2, path);
    let (greedy, whole): (Vec<_>, Vec<_>) = routes.iter().filter(fits).partition(|route| route.2.ends_with("+}"));
    let longest = greedy.into_iter().max_by_key(|route| route.2.len());
    assert!(whole.len() <= 1, "{method} {path} matches {whole:?}");
    whole.first().copied().or(longest).map(|route| route.0.as_str())
}

/// A variable matches one part of a path that is not empty, a greedy one all that is left.
fn fits(route: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let fits = route.split('/').all(|wanted| match parts.next() {
        None => false,
        Some(first) if wanted.ends_with("+}") => !first.is_empty() || parts.by_ref().count() > 0,
        Some(part) if wanted.starts_with('{') => !part.is_empty(),
        Some(part) => part == wanted,
    });
    fits && (route.ends_with("+}") || parts.next().is_none())
}

/// A path that matches this route.
fn filled(route: &str) -> String {
    let names = [("{id}", "INC-1"), ("{secret}", "wrong"), ("{project}", "1"), ("{token}", "none")];
    let path = names.iter().fold(route.to_owned(), |path, (name, value)| path.replace(name, value));
    path.replace("{proxy+}", "1/envelope/")
}

#[test]
fn no_route_of_the_template_ends_in_a_slash() {
    // SAM's translator makes of such a path an integration without a route, and strips the slash from its permission.
    for (function, method, path) in routes_of_the_template() {
        assert!(!path.ends_with('/'), "{function}: {method} {path} is a route that an HTTP API does not serve");
    }
}

#[test]
fn the_api_sends_every_route_of_a_router_to_its_function() {
    let template = routes_of_the_template();
    for (function, method, path) in code::routes() {
        assert_eq!(function_for(&template, &method, &filled(&path)), Some(function.as_str()), "{method} {path}");
    }
}

#[test]
fn the_api_has_only_routes_of_the_routers() {
    let code = code::routes();
    for (function, method, path) in routes_of_the_template() {
        // axum answers HEAD where a router has GET.
        let method = if method == "HEAD" { "GET" } else { &method };
        let serves = |route: &Route| {
            (&route.0, route.1.as_str()) == (&function, method)
                && (route.2 == path || path.ends_with("+}") && fits(&path, &filled(&route.2)))
        };
        assert!(code.iter().any(serves), "{function}: {method} {path}");
    }
}

#[test]
fn the_envelope_s_greedy_route_matches_no_path_of_the_others() {
    let template = routes_of_the_template();
    for (method, path, function) in [
        ("POST", "/api/7/envelope/", Some("sentry-envelope")),
        ("POST", "/api/7/store", Some("sentry-envelope")),
        ("OPTIONS", "/api/7/envelope/", Some("sentry-envelope")),
        ("POST", "/api/autonomous/error", Some("report-error")),
        ("POST", "/api/heartbeat/token", Some("heartbeat")),
        ("POST", "/api/incidents/INC-1/resolve", Some("admin")),
        ("POST", "/api/silences", Some("admin")),
        ("GET", "/api/incidents", Some("status")),
        // Its router answers 404.
        ("POST", "/api/autonomous/error/", Some("sentry-envelope")),
        ("POST", "/api/incidents", Some("sentry-envelope")),
        ("GET", "/api/7/envelope/", None),
        ("POST", "/api/", None),
        ("POST", "/webhooks/sentry/", None),
    ] {
        assert_eq!(function_for(&template, method, path), function, "{method} {path}");
    }
}

#[test]
fn head_is_routed_for_uptime_monitors() {
    let template = routes_of_the_template();
    for path in ["/health", "/ready"] {
        assert_eq!(function_for(&template, "HEAD", path), Some("status"), "{path}");
    }
}

#[test]
fn make_watch_has_exactly_the_routes_of_the_routers() {
    let manifest: toml::Value = toml::from_str(&code::read("Cargo.toml")).unwrap();
    let router = &manifest["workspace"]["metadata"]["lambda"]["watch"]["router"];
    let mut routes = BTreeSet::new();
    for (path, targets) in router.as_table().unwrap() {
        for target in targets.as_array().unwrap() {
            let text = |name: &str| target[name].as_str().unwrap().to_owned();
            routes.insert((text("function"), text("method"), path.clone()));
        }
    }
    assert_eq!(routes, code::routes());
}

#[tokio::test]
async fn the_running_stack_answers_every_route_of_the_template() {
    // With keys configured, a protected route answers 401: unlike 404 and 405, that is the route's own answer.
    let secret = || Some(SecretString::from("secret"));
    // A P-256 key, in SendGrid's format.
    let sendgrid = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54W\
        K84zV2sxXs7LtkBoN79R9Q==";
    let pagerduty = PagerDutyConfig { webhook_secret: secret(), ..PagerDutyConfig::default() };
    let vendors = VendorsConfig { slack: secret(), pagerduty, sendgrid: Some(sendgrid.to_owned()) };
    let builder = TestStack::builder().ingest_key("key").sentry_secret("secret");
    let builder = builder.admin_token("token").vendors(vendors);
    let stack = builder.start(Database::migrated().await).await;
    let nowhere = stack.get("/api/nowhere").await.status;
    assert_eq!(nowhere, 404);
    for (_, method, path) in routes_of_the_template() {
        let answer = stack.send(stack.request(&method, &filled(&path))).await;
        // A heartbeat's token is its key: a wrong one is answered with 404.
        let is_own = path.contains("{token}") && answer.error().contains("token");
        assert!(is_own || ![404, 405].contains(&answer.status), "{method} {path} answers {}", answer.status);
    }
}
