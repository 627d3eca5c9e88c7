//! The three default services, configured by two environment variables.

use shared::config::Environment;
use shared::model::{DEFAULT_ENVIRONMENT, ServiceSpec};
use url::Url;

/// Reads `BACKEND_API_URL` (services `backend` and `database`) and `ADMIN_CONSOLE_URL` (service `frontend`).
pub fn read(environment: &mut Environment<'_>) -> Vec<ServiceSpec> {
    let mut services = Vec::new();
    if let Some(base) = environment.optional("BACKEND_API_URL") {
        services.push(service("backend", "admin-console-backend", join(&base, "/health")));
        services.push(service("database", "database", join(&base, "/health/db")));
        check(environment, "BACKEND_API_URL", &services);
    }
    if let Some(url) = environment.optional("ADMIN_CONSOLE_URL") {
        let frontend = service("frontend", "admin-console-frontend", url.trim().to_owned());
        check(environment, "ADMIN_CONSOLE_URL", std::slice::from_ref(&frontend));
        services.push(frontend);
    }
    services
}

fn service(name: &str, application: &str, url: String) -> ServiceSpec {
    ServiceSpec { application: application.to_owned(), ..ServiceSpec::http(name, DEFAULT_ENVIRONMENT, &url) }
}

fn join(base: &str, path: &str) -> String {
    format!("{}{path}", base.trim().trim_end_matches('/'))
}

/// Reports configuration problems, also a user or password in the address: addresses are stored and shown.
fn check(environment: &mut Environment<'_>, variable: &str, services: &[ServiceSpec]) {
    for service in services {
        let opens = |url: Url| !url.username().is_empty() || url.password().is_some();
        if Url::parse(&service.target).is_ok_and(opens) {
            environment.problem(variable, "must hold no user and no password");
            return;
        }
        if let Err(error) = service.clone().validated() {
            environment.problem(variable, error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(values: &[(&str, &str)]) -> Result<Vec<ServiceSpec>, shared::config::ConfigError> {
        let lookup = |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Environment::from_lookup(lookup).read(read)
    }

    #[test]
    fn two_addresses_make_three_services() {
        let services = read_from(&[
            ("BACKEND_API_URL", "https://api.example.com/"),
            ("ADMIN_CONSOLE_URL", "https://console.example.com"),
        ])
        .unwrap();
        let summary: Vec<_> =
            services.iter().map(|it| (it.name.as_str(), it.application.as_str(), it.target.as_str())).collect();
        assert_eq!(
            summary,
            [
                ("backend", "admin-console-backend", "https://api.example.com/health"),
                ("database", "database", "https://api.example.com/health/db"),
                ("frontend", "admin-console-frontend", "https://console.example.com"),
            ]
        );
        assert_eq!(services[0].timeout.as_secs(), 5);
    }

    #[test]
    fn no_address_means_no_service_and_a_wrong_one_is_named() {
        assert_eq!(read_from(&[]).unwrap(), []);
        let error = read_from(&[("BACKEND_API_URL", "api.example.com")]).unwrap_err().to_string();
        assert!(error.contains("BACKEND_API_URL"), "{error}");
    }

    #[test]
    fn an_address_with_a_user_or_a_password_is_refused_and_not_printed() {
        for address in ["https://ann:hunter2@x.example", "https://ann@x.example/", " https://:hunter2@x.example"] {
            for variable in ["BACKEND_API_URL", "ADMIN_CONSOLE_URL"] {
                let error = read_from(&[(variable, address)]).unwrap_err().to_string();
                assert_eq!(error.matches(&format!("{variable}: must hold no user")).count(), 1, "{error}");
                assert!(!error.contains("hunter2") && !error.contains("ann"), "{error}");
            }
        }
    }
}
