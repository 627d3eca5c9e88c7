//! `kind = "supabase"`: expands a project to its services.
//!
//! The requests, and why:
//! - auth: `/auth/v1/health` answers 200 to requests with a key.
//! - rest: a table that need not exist. The root is closed to public keys; for an unknown table `PostgREST`
//!   answers 404 once it has read the schema, and 503 while it can't reach the database.
//! - storage: `/storage/v1/status` answers 200.
//! - functions: the preflight of each that is named, which does not run it; 404 = it does not exist. Without a name,
//!   any status below 500.
//! - database: like any other Postgres, if a variable has its connection string.

use shared::model::{Kind, PostgresLimits, ServiceSpec, Statuses};

/// The settings of a project.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Project {
    /// Its address, without a slash at the end.
    pub(super) url: String,
    /// The public key, as `${PROBE_SECRET_…}`.
    pub(super) key: String,
    /// The functions to check by name.
    pub(super) functions: Vec<String>,
    /// The variable with the connection string, as `${…}`.
    pub(super) database: Option<String>,
    /// The limits of the database.
    pub(super) limits: PostgresLimits,
}

/// The project's address, from its reference (twenty letters) or its URL.
pub(super) fn address(project: &str) -> Option<String> {
    let is_reference = project.len() == 20 && project.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if is_reference {
        return Some(format!("https://{project}.supabase.co"));
    }
    let url = reqwest::Url::parse(project).ok()?;
    let plain =
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.path() == "/" && url.query().is_none();
    plain.then(|| project.trim_end_matches('/').to_owned())
}

/// The services of a project, with name, environment and policy of `base`.
pub(super) fn expand(base: &ServiceSpec, project: &Project) -> Vec<ServiceSpec> {
    let part = |part: &str, path: &str| {
        let mut spec = base.clone();
        spec.name = format!("{} ({part})", base.name);
        spec.group = Some(base.name.clone());
        spec.target = format!("{}{path}", project.url);
        spec.check.headers.insert("apikey".to_owned(), project.key.clone());
        spec
    };
    let mut services = vec![part("auth", "/auth/v1/health"), part("storage", "/storage/v1/status")];
    let mut rest = part("rest", "/rest/v1/watchkeeper?limit=1");
    rest.check.expected_statuses = Statuses::of([200..=200, 404..=404]);
    services.push(rest);
    if let Some(variable) = &project.database {
        let mut database = base.clone();
        database.name = format!("{} (database)", base.name);
        database.group = Some(base.name.clone());
        database.kind = Kind::Postgres;
        database.target.clone_from(variable);
        database.check.postgres = project.limits;
        // These three depend on the database.
        for service in &mut services {
            service.policy.parents.push(database.name.clone());
        }
        services.push(database);
    }
    if project.functions.is_empty() {
        let mut functions = part("functions", "/functions/v1/");
        functions.check.expected_statuses = Statuses::of([200..=499]);
        services.push(functions);
    }
    for name in &project.functions {
        let mut function = part(&format!("functions/{name}"), &format!("/functions/v1/{name}"));
        "OPTIONS".clone_into(&mut function.check.method);
        function.check.expected_statuses = Statuses::of([200..=403, 405..=499]);
        services.push(function);
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(database: Option<&str>, functions: &[&str]) -> Vec<ServiceSpec> {
        let base = ServiceSpec::http("shop", "production", "");
        let project = Project {
            url: address("abcdefghijklmnopqrst").unwrap(),
            key: "${PROBE_SECRET_ANON}".to_owned(),
            functions: functions.iter().map(|it| (*it).to_owned()).collect(),
            database: database.map(str::to_owned),
            limits: PostgresLimits::default(),
        };
        expand(&base, &project).into_iter().map(|spec| spec.validated().unwrap()).collect()
    }

    #[test]
    fn a_project_is_its_parts_and_those_that_need_the_database_say_so() {
        let services = project(Some("${SHOP_DATABASE}"), &["pay"]);
        let parents: Vec<_> = services.iter().map(|it| (it.name.as_str(), it.policy.parents.as_slice())).collect();
        let parent = &["shop (database)".to_owned()][..];
        assert_eq!(
            parents,
            [
                ("shop (auth)", parent),
                ("shop (storage)", parent),
                ("shop (rest)", parent),
                ("shop (database)", &[]),
                ("shop (functions/pay)", &[]),
            ]
        );
        assert!(services.iter().all(|it| it.group.as_deref() == Some("shop") && it.application == "shop"));
        assert_eq!(services[0].target, "https://abcdefghijklmnopqrst.supabase.co/auth/v1/health");
        assert_eq!(services[3].check.headers.len(), 0, "a database is sent no key");
    }

    #[test]
    fn without_a_variable_there_is_no_database_and_no_parent() {
        let services = project(None, &[]);
        assert!(services.iter().all(|it| it.kind == Kind::Http && it.policy.parents.is_empty()));
        assert_eq!(services.last().unwrap().name, "shop (functions)");
    }

    #[test]
    fn a_project_is_named_by_its_reference_or_its_address() {
        assert_eq!(address("http://127.0.0.1:54321/").as_deref(), Some("http://127.0.0.1:54321"));
        for wrong in ["shop", "https://x.supabase.co/rest/v1", "ABCDEFGHIJKLMNOPQRST", ""] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }
}
