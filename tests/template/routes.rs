//! The HTTP API's routes, and those of `make watch`, are the routers'.

use std::collections::BTreeSet;

use harness::{Database, TestStack};
use pagerduty_events::app::PagerDutyConfig;
use secrecy::SecretString;
use watchkeeper::stack::VendorsConfig;

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

#[test]
fn the_api_has_every_route_of_the_routers_and_nothing_more() {
    assert_eq!(routes_of_the_template(), code::routes());
}

#[test]
fn make_watch_has_every_route_of_the_routers_and_nothing_more() {
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
async fn every_route_of_the_template_is_answered_by_the_running_stack() {
    // With keys, a route that needs one answers 401: unlike 404 or 405, that is the route's own word.
    let secret = || Some(SecretString::from("secret"));
    // A P-256 key, as SendGrid shows it.
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
        let filled = path.replace("{id}", "INC-1").replace("{secret}", "wrong").replace("{project}", "1");
        let answer = stack.send(stack.request(&method, &filled.replace("{token}", "none"))).await;
        // A heartbeat's token is its key: nobody is told more of a wrong one.
        let is_own = path.contains("{token}") && answer.error().contains("token");
        assert!(is_own || ![404, 405].contains(&answer.status), "{method} {path} answers {}", answer.status);
    }
}
