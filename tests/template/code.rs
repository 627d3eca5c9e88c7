//! What the source code declares: its functions, their routes, the variables they read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use shared::config::Environment;

/// A route: the function that answers, the method, the path.
pub(crate) type Route = (String, String, String);

/// The text of a file of the project.
pub(crate) fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The names of the files in a folder of the project.
pub(crate) fn files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Whether the project has this file or folder.
pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// Whether this is a folder of the project.
pub(crate) fn is_folder(path: &str) -> bool {
    root().join(path).is_dir()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folders in `functions/`, one Lambda each.
pub(crate) fn functions() -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join("functions")).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|it| it.file_name().into_string().unwrap())
        .collect()
}

/// `report-error` with `Function` is `ReportErrorFunction`.
pub(crate) fn logical_name(folder: &str, kind: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    folder.split('-').map(capital).collect::<String>() + kind
}

/// The routes in the functions' routers.
pub(crate) fn routes() -> BTreeSet<Route> {
    let mut routes = BTreeSet::new();
    for function in functions() {
        for (method, path) in routes_in(&read(&format!("functions/{function}/src/lib.rs"))) {
            routes.insert((function.clone(), method, path));
        }
    }
    routes
}

/// `.route("/path", get(handler).post(other))` in a source, as (method, path).
fn routes_in(source: &str) -> Vec<(String, String)> {
    const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "options", "any"];
    let calls = source.split(".route(").skip(1).filter_map(|call| call.trim_start().strip_prefix('"')?.split_once('"'));
    calls
        .flat_map(|(path, handlers)| {
            let handlers = handlers.split(".with_state(").next().unwrap_or_default();
            let mut words = handlers.split('(').map(|before| {
                before.rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
            });
            let mut found: Vec<&str> = words.by_ref().filter(|word| METHODS.contains(word)).collect();
            found.sort_unstable();
            found.dedup();
            assert!(!found.is_empty(), "no method for {path}");
            found.into_iter().map(|method| (method.to_uppercase(), path.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

/// The variables that this function reads: in its `Config`, and in its `main`.
pub(crate) fn variables(function: &str) -> BTreeSet<String> {
    let mut names = match function {
        "admin" => asked(admin::app::Config::read),
        "dispatch" => asked(dispatch::app::Config::read),
        "email-events" => asked(email_events::app::Config::read),
        "heartbeat" => asked(heartbeat::app::Config::read),
        "maintain" => asked(maintain::app::Config::read),
        "notify" => asked(notify::app::Config::read),
        "pagerduty-events" => asked(pagerduty_events::app::Config::read),
        "replay" => asked(replay::app::Config::read),
        "report-error" => asked(report_error::app::Config::read),
        "sentry-envelope" => asked(sentry_envelope::app::Config::read),
        "sentry-webhook" => asked(sentry_webhook::app::Config::read),
        "slack-actions" => asked(slack_actions::app::Config::read),
        "status" => asked(status::app::Config::read),
        "probe" => asked(probe::app::Config::read),
        other => panic!("add to tests/template/code.rs how {other} reads its Config"),
    };
    let main = read(&format!("functions/{function}/src/main.rs"));
    let literals = main.split("environment.optional(\"").skip(1);
    names.extend(literals.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()));
    names
}

/// The names of the events.
pub(crate) fn detail_types() -> BTreeSet<String> {
    shared::events::Event::TYPES.map(str::to_owned).into()
}

/// The variables that this reader asks for, with nothing set and with two values set everywhere.
fn asked<T>(read: impl Fn(&mut Environment<'_>) -> T) -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    for value in [None, Some("https://example.com"), Some("smtps://user:password@example.com")] {
        let lookup = |name: &str| {
            names.borrow_mut().insert(name.to_owned());
            value.map(str::to_owned)
        };
        // Only the names count, not whether the values were valid.
        let _ = Environment::from_lookup(lookup).read(&read);
    }
    names.into_inner()
}

#[test]
fn routes_are_found_in_a_router_s_source() {
    let source = r#"Router::new().route("/a", get(show).post(target(make)))
        .route("/b/{id}", axum::routing::put(b::get)).with_state(post(app))"#;
    let found: Vec<String> = routes_in(source).into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(found, ["GET /a", "POST /a", "PUT /b/{id}"]);
}
