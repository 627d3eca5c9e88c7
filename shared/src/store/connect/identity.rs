//! The database that a connection string names: to compare two strings, and for messages.

use std::net::IpAddr;

use super::{ConnectionSettings, ServerAddress, is_local};

impl ConnectionSettings {
    /// Hosts, ports and the database's name, for a message (no user, no password).
    #[must_use]
    pub fn database_place(&self) -> String {
        format!("{}/{}", self.place(), self.database_name())
    }

    /// Whether both name the same database: host, port, name and user are equal; passwords are ignored. All names of
    /// this machine are equal. The user counts because a pooler identifies its projects by it.
    #[must_use]
    pub fn is_same_database(&self, other: &Self) -> bool {
        let servers = |of: &Self| of.servers().into_iter().map(normalized).collect::<Vec<_>>();
        servers(self) == servers(other)
            && self.database_name() == other.database_name()
            && self.driver.get_user() == other.driver.get_user()
    }

    /// Whether all of its servers are on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.driver.get_hosts().iter().all(is_local)
    }

    /// Defaults to the user's name, as in Postgres.
    fn database_name(&self) -> &str {
        self.driver.get_dbname().or(self.driver.get_user()).unwrap_or_default()
    }
}

fn normalized(address: ServerAddress) -> ServerAddress {
    let is_loopback = |host: &str| {
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    match address {
        ServerAddress::Tcp(host, port) if is_loopback(&host) => ServerAddress::Tcp("localhost".to_owned(), port),
        ServerAddress::Tcp(host, port) => ServerAddress::Tcp(host.to_ascii_lowercase(), port),
        socket @ ServerAddress::Socket(_) => socket,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::config::DatabaseConfig;

    fn parse(url: &str) -> ConnectionSettings {
        ConnectionSettings::parse(&DatabaseConfig::at(SecretString::from(url)), "test").unwrap()
    }

    #[test]
    fn passwords_and_options_do_not_change_the_database() {
        let given = parse("postgresql://ann:one@127.0.0.1:5432/app?sslmode=disable");
        for (url, same) in [
            ("postgresql://ann:two@127.0.0.1:5432/app", true),
            ("postgres://ann:one@localhost/app?sslmode=disable", true),
            ("postgresql://ann:one@LOCALHOST:5432/app", true),
            ("postgresql://ann:one@127.0.0.1:5433/app", false),
            ("postgresql://ann:one@127.0.0.1/other", false),
            ("postgresql://ben:one@127.0.0.1/app", false),
            ("postgresql://ann:one@db.example.com/app", false),
        ] {
            assert_eq!(given.is_same_database(&parse(url)), same, "{url}");
        }
        let project = "postgresql://postgres.a:p@aws-0-eu.pooler.supabase.com:6543/postgres";
        assert!(!parse(project).is_same_database(&parse(&project.replace("postgres.a", "postgres.b"))));
    }

    #[test]
    fn a_database_is_shown_without_user_and_password() {
        let shown = |url: &str| parse(url).database_place();
        assert_eq!(shown("postgresql://ann:s3cret@db.example.com/app"), "db.example.com:5432/app");
        assert_eq!(shown("postgresql://ann:s3cret@127.0.0.1:15001/app"), "127.0.0.1:15001/app");
    }
}
