//! `watchkeeper apply --prune`: what it may remove, and the confirmation.

use std::path::{Path, PathBuf};

use harness::Database;
use serde_json::json;

use crate::commands::stack;
use crate::process::{Ended, Stack};
use harness::scratch::Scratch;

/// A file of this name, with these services beside the rest.
fn file(scratch: &Scratch, name: &str, services: &[&str], rest: &str) -> PathBuf {
    let file = scratch.path().join(name);
    let services =
        services.iter().map(|name| format!("[[services]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:1/\"\n"));
    std::fs::write(&file, format!("{rest}\n{}", services.collect::<String>())).unwrap();
    file
}

async fn apply(stack: &Stack, file: &Path, options: &[&str]) -> Ended {
    stack.command(&[&["apply", file.to_str().unwrap()], options].concat()).await
}

/// The services, each with its file.
async fn services(database: &Database) -> String {
    let sql =
        "SELECT coalesce(string_agg(name || ':' || coalesce(file_name, '-'), ' ' ORDER BY name), '') FROM services";
    database.value(sql).await
}

const ROUTES: &str = "[[routes]]\nname = \"all\"\nchannels = [\"slack\"]\n";
const STEP: &str = "steps = [{ after = \"10m\", channels = [\"sms\"] }]\n";

#[tokio::test]
async fn a_removal_lists_names_and_needs_a_confirmation() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    apply(&stack, &file(&scratch, "shop.toml", &["a", "b", "c"], ROUTES), &[]).await.with_code(0);
    let shorter = file(&scratch, "shop.toml", &["a"], "");
    for json in [false, true] {
        let options: &[&str] = if json { &["--prune", "--json"] } else { &["--prune"] };
        let refused = apply(&stack, &shorter, options).await.with_code(2);
        for expected in ["b (production)", "c (production)", "route all", "nothing was changed", "--yes"] {
            assert!(refused.stderr.contains(expected), "{expected}: {refused:?}");
        }
    }
    assert_eq!(services(&database).await, "a:shop b:shop c:shop");
    apply(&stack, &shorter, &["--prune", "--dry-run"]).await.with_code(0);
    let done = apply(&stack, &shorter, &["--prune", "--yes", "--json"]).await.with_code(0).json();
    assert_eq!((done["removed"].as_array().unwrap().len(), &done["routes"]["removed"]), (2, &json!(["all"])));
    assert_eq!(services(&database).await, "a:shop");
    // Without removals there is no question.
    apply(&stack, &shorter, &["--prune"]).await.with_code(0);
}

#[tokio::test]
async fn a_file_of_routes_removes_no_service_of_another_file_and_a_file_of_services_no_route() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let shop = file(&scratch, "shop.toml", &["a", "b"], "");
    apply(&stack, &shop, &[]).await.with_code(0);
    let routes = file(&scratch, "routes.toml", &[], ROUTES);
    let applied = apply(&stack, &routes, &["--prune"]).await.with_code(0);
    assert!(applied.stdout.contains("Left alone: 2 services of the file shop"), "{applied:?}");
    assert_eq!(services(&database).await, "a:shop b:shop");
    apply(&stack, &shop, &["--prune"]).await.with_code(0);
    assert_eq!(
        database.count("system_config WHERE key = 'notification_routing' AND value -> 'routes' <> '[]'").await,
        1
    );
}

#[tokio::test]
async fn a_service_that_moves_between_files_causes_a_warning() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let one = file(&scratch, "one.toml", &["a", "both"], "");
    // Its name is set in the file: paths may change.
    let two = file(&scratch, "services.toml", &["both"], "name = \"two\"");
    apply(&stack, &one, &[]).await.with_code(0);
    let taken = apply(&stack, &two, &["--prune"]).await.with_code(0);
    for expected in
        ["~ both (production)", "file: one → two", "warning: both (production) came from the file one until now"]
    {
        assert!(taken.stdout.contains(expected), "{expected}: {taken:?}");
    }
    assert_eq!(services(&database).await, "a:one both:two");
    let back = apply(&stack, &one, &["--json"]).await.with_code(0).json();
    assert_eq!(back["taken_over"][0]["file"], "two");
    assert_eq!(services(&database).await, "a:one both:one");
}

#[tokio::test]
async fn another_file_of_the_same_name_may_not_prune_until_it_has_one_of_its_own() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    for folder in ["shop", "mail"] {
        std::fs::create_dir(scratch.path().join(folder)).unwrap();
    }
    apply(&stack, &file(&scratch, "shop/services.toml", &["a", "b"], ROUTES), &[]).await.with_code(0);
    let mail = file(&scratch, "mail/services.toml", &["c"], "");
    for options in [&["--prune"][..], &["--prune", "--json"]] {
        let refused = apply(&stack, &mail, options).await.with_code(2);
        for expected in ["another file named `services` was applied to this database", "name = …", "--yes"] {
            assert!(refused.stderr.contains(expected), "{expected}: {refused:?}");
        }
        assert_eq!(refused.stdout, "");
    }
    let shown = apply(&stack, &mail, &["--dry-run"]).await.with_code(0);
    assert!(shown.stderr.contains("another file named `services`"), "{shown:?}");
    assert_eq!(services(&database).await, "a:services b:services");
    // One that still has anything of it is that file.
    let route_only = file(&scratch, "mail/services.toml", &["c"], ROUTES);
    apply(&stack, &route_only, &["--dry-run"]).await.with_code(0);
    let named = file(&scratch, "mail/services.toml", &["c"], "name = \"mail\"");
    apply(&stack, &named, &["--prune"]).await.with_code(0);
    assert_eq!(services(&database).await, "a:services b:services c:mail");
    let replacing = file(&scratch, "mail/services.toml", &["d"], "name = \"mail\"");
    apply(&stack, &replacing, &["--prune", "--yes"]).await.with_code(0);
    assert_eq!(services(&database).await, "a:services b:services d:mail");
    // Without --prune nothing is removed: a file whose only service is renamed is applied.
    let kept = apply(&stack, &file(&scratch, "mail/services.toml", &["e"], "name = \"mail\""), &[]).await.with_code(0);
    assert!(kept.stderr.contains("another file named `mail`"), "{kept:?}");
    assert_eq!(services(&database).await, "a:services b:services d:mail e:mail");
}

#[tokio::test]
async fn a_pipe_needs_a_name_to_prune() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let piped = async |file: &Path, options: &[&str]| {
        let mut command = crate::process::watchkeeper(&["apply", "/dev/stdin"]);
        command.args(options).arg("--data-dir").arg(stack.file("")).stdin(std::fs::File::open(file).unwrap());
        crate::process::run(&mut command).await
    };
    piped(&file(&scratch, "one.toml", &["a"], ""), &[]).await.with_code(0);
    let other = file(&scratch, "other.toml", &["b"], "");
    let refused = piped(&other, &["--prune", "--yes"]).await.with_code(2);
    assert!(refused.stderr.contains("set name = \"…\" at its top"), "{refused:?}");
    piped(&other, &[]).await.with_code(0);
    assert_eq!(services(&database).await, "a:stdin b:stdin");
    piped(&file(&scratch, "other.toml", &["b"], "name = \"b\""), &["--prune"]).await.with_code(0);
    assert_eq!(services(&database).await, "a:stdin b:b");
}

#[tokio::test]
async fn replacing_the_routes_of_another_file_needs_a_confirmation() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let all = format!("{ROUTES}escalation = \"people\"\n[[escalations]]\nname = \"people\"\n{STEP}");
    apply(&stack, &file(&scratch, "routes.toml", &[], &all), &[]).await.with_code(0);
    let other = file(&scratch, "shop.toml", &["a"], "[[routes]]\nname = \"mine\"\nchannels = [\"slack\"]\n");
    for options in [&[][..], &["--json"]] {
        let refused = apply(&stack, &other, options).await.with_code(2);
        for expected in ["route all", "escalation people", "nothing was changed", "--yes"] {
            assert!(refused.stderr.contains(expected), "{expected}: {refused:?}");
        }
    }
    assert_eq!(services(&database).await, "");
    let routes = "SELECT value -> 'routes' -> 0 ->> 'name' FROM system_config WHERE key = 'notification_routing'";
    assert_eq!(database.value::<String>(routes).await, "all");
    apply(&stack, &other, &["--yes"]).await.with_code(0);
    assert_eq!(database.value::<String>(routes).await, "mine");
}

#[tokio::test]
async fn a_service_of_no_known_file_belongs_to_the_first_that_applies_it() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let both = file(&scratch, "shop.toml", &["a", "b"], "");
    apply(&stack, &both, &[]).await.with_code(0);
    // As a version left it that kept no names.
    database.execute("UPDATE services SET file_name = NULL").await;
    let one = file(&scratch, "shop.toml", &["a"], "");
    let applied = apply(&stack, &one, &["--prune"]).await.with_code(0);
    assert!(
        applied.stdout.contains("1 unchanged") && applied.stdout.contains("1 service of no known file"),
        "{applied:?}"
    );
    assert_eq!(services(&database).await, "a:shop b:-");
    let wrong = file(&scratch, "shop.toml", &["a"], "name = \"\"");
    let refused = apply(&stack, &wrong, &[]).await.with_code(2);
    assert!(refused.stderr.contains("line 1: name must not be empty"), "{refused:?}");
}
