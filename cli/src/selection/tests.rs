//! Selection, for combinations of the environment's variables and a running stack.

use ::local::data_dir::DataDir;
use shared::config::Environment;
use tempfile::TempDir;

use super::*;

const LOCAL_URL: &str = "http://127.0.0.1:8080";
const LOCAL_DATABASE: &str = "postgresql://watchkeeper:local-password@127.0.0.1:15001/watchkeeper";
const LOCAL_SECRET: &str = "local-secret-of-32-characters-xx";
const OTHER_URL: &str = "https://watchkeeper.example.com";
const OTHER_DATABASE: &str = "postgresql://app:other-password@db.example.com/app";

/// A directory of a stack that runs, until this is dropped.
struct Running {
    folder: TempDir,
    _stack: DataDir,
}

impl Running {
    fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A directory with what a running stack has there.
fn running() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let stack = DataDir::take(folder.path()).unwrap();
    let env = format!(
        "DATABASE_URL={LOCAL_DATABASE}\nWATCHKEEPER_URL={LOCAL_URL}\nDSN_SECRET={LOCAL_SECRET}\n\
         READ_TOKEN=made-read-token-of-here\nADMIN_TOKEN=made-admin-token-of-here\n"
    );
    std::fs::write(folder.path().join("env"), env).unwrap();
    std::fs::write(folder.path().join("read_token"), "made-read-token-of-here\n").unwrap();
    std::fs::write(folder.path().join("admin_token"), "made-admin-token-of-here\n").unwrap();
    Running { folder, _stack: stack }
}

fn config(variables: &[(&str, &str)]) -> Config {
    let find =
        |name: &str| variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
    Environment::from_lookup(find).read(Config::read).unwrap()
}

/// An error's text, after `!` if it is wrong use.
fn error_text(error: anyhow::Error) -> String {
    match error.downcast::<Misuse>() {
        Ok(misuse) => format!("!{misuse}"),
        Err(error) => error.to_string(),
    }
}

/// What a command gets: the database, the server, and the issuer's address and secret.
fn found(variables: &[(&str, &str)], folder: &Path) -> [String; 3] {
    let config = config(variables);
    let target = match Target::of(&config, folder) {
        Ok(target) => target,
        Err(misuse) => return std::array::from_fn(|_| format!("!{misuse}")),
    };
    [
        target.database().map_or_else(error_text, |database| database.url.expose_secret().to_owned()),
        target.server(Purpose::Read).map_or_else(error_text, |server| server.url().to_string()),
        target.issuer().map_or_else(error_text, |issuer| format!("{} {}", issuer.address, issuer.secret.expose())),
    ]
}

#[test]
fn a_command_uses_one_watchkeeper_or_none() {
    let folder = running();
    let local = [LOCAL_DATABASE, LOCAL_URL, "http://127.0.0.1:8080 local-secret-of-32-characters-xx"];
    let other_issuer = format!("{OTHER_URL} other-secret-of-32-characters-xx");
    let (url, database) = (("WATCHKEEPER_URL", OTHER_URL), ("DATABASE_URL", OTHER_DATABASE));
    let secret = |text| ("DSN_SECRET", text);
    let no_server = "!DATABASE_URL names the database db.example.com:5432/app, which the stack in ";
    for (variables, expected) in [
        (&[][..], local),
        (&[("WATCHKEEPER_URL", LOCAL_URL)], local),
        (&[("WATCHKEEPER_URL", "http://localhost:8080/")], local),
        // Another password: left over from an earlier stack, and the running one's is known.
        (&[("DATABASE_URL", "postgresql://watchkeeper:old@localhost:15001/watchkeeper")], local),
        (&[("DATABASE_URL", LOCAL_DATABASE), ("WATCHKEEPER_URL", LOCAL_URL)], local),
        (&[database], [OTHER_DATABASE, no_server, no_server]),
        (&[("DIRECT_URL", OTHER_DATABASE)], [OTHER_DATABASE, "!DIRECT_URL names", "!DIRECT_URL names"]),
        (&[url], ["!WATCHKEEPER_URL names https://watchkeeper.example.com,", OTHER_URL, "!set DSN_SECRET"]),
        (&[url, database], [OTHER_DATABASE, OTHER_URL, "!set DSN_SECRET"]),
        (
            &[url, database, secret("other-secret-of-32-characters-xx")],
            [OTHER_DATABASE, OTHER_URL, other_issuer.as_str()],
        ),
        (&[url, database, secret(LOCAL_SECRET)], [OTHER_DATABASE, OTHER_URL, "!DSN_SECRET is the one of the stack"]),
        // `. .local/env`, and then another address.
        (
            &[url, ("DATABASE_URL", LOCAL_DATABASE), secret(LOCAL_SECRET)],
            [
                "!WATCHKEEPER_URL names https://watchkeeper.example.com, and this command needs its database: DATABASE_URL is \
                 the one of the stack in ",
                OTHER_URL,
                "!DSN_SECRET is the one of the stack",
            ],
        ),
        (&[url, secret(LOCAL_SECRET)], ["!WATCHKEEPER_URL", OTHER_URL, "!DSN_SECRET is the one of the stack"]),
        (&[database, ("WATCHKEEPER_URL", LOCAL_URL)], ["!WATCHKEEPER_URL names the stack in"; 3]),
        (&[("DATABASE_URL", "nonsense")], ["!DATABASE_URL can't be used"; 3]),
        (&[("WATCHKEEPER_URL", "ftp://x/")], ["!WATCHKEEPER_URL must be an address"; 3]),
        (&[("WATCHKEEPER_URL", "https://ann:s3cret@x/")], ["!WATCHKEEPER_URL must not contain a user"; 3]),
    ] {
        for (found, expected) in found(variables, folder.path()).iter().zip(expected) {
            assert!(found.starts_with(expected), "{variables:?}: {found} is not {expected}");
            let leaks = found.starts_with('!') && ["-password", "s3cret"].iter().any(|secret| found.contains(secret));
            assert!(!leaks, "{found}");
        }
    }
}

#[test]
fn migrations_go_to_the_database_that_the_command_would_use_or_nowhere() {
    let folder = running();
    let migrated = |variables: &[(&str, &str)]| {
        let config = config(variables);
        let target = Target::of(&config, folder.path()).unwrap();
        target.migrations().map_or_else(error_text, |database| database.url.expose_secret().to_owned())
    };
    let direct = |url| ("DIRECT_URL", url);
    let (local, other) = (("DATABASE_URL", LOCAL_DATABASE), ("DATABASE_URL", OTHER_DATABASE));
    let beside = "postgresql://watchkeeper:p@127.0.0.1:15002/watchkeeper";
    for (variables, expected) in [
        (&[][..], LOCAL_DATABASE),
        (&[local, direct(LOCAL_DATABASE)], LOCAL_DATABASE),
        (&[direct("postgresql://watchkeeper:old@localhost:15001/watchkeeper")], LOCAL_DATABASE),
        (&[direct(OTHER_DATABASE)], OTHER_DATABASE),
        (&[other, direct("postgresql://app:p@direct.example.com/app")], "postgresql://app:p@direct.example.com/app"),
        // A tunnel, or a pooler on this machine: used, with a notice.
        (&[local, direct(beside)], beside),
        (&[local, direct(OTHER_DATABASE)], "!DATABASE_URL names the database of the stack in "),
        (&[("WATCHKEEPER_URL", OTHER_URL), local, direct(LOCAL_DATABASE)], "!WATCHKEEPER_URL names"),
    ] {
        let found = migrated(variables);
        assert!(found.starts_with(expected), "{variables:?}: {found} is not {expected}");
    }
}

#[test]
fn without_a_running_stack_what_is_not_named_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let [database, server, issuer] = found(&[], folder.path());
    for (text, variable) in [(database, "DATABASE_URL"), (server, "WATCHKEEPER_URL"), (issuer, "DSN_SECRET")] {
        assert!(text.starts_with("no stack is running in") && text.contains(variable), "{text}");
    }
    let [database, server, _] = found(&[("DATABASE_URL", OTHER_DATABASE)], folder.path());
    assert_eq!(database, OTHER_DATABASE);
    assert!(server.starts_with("!DATABASE_URL") && server.contains("set WATCHKEEPER_URL"), "{server}");
}

#[test]
fn a_stack_that_was_killed_is_not_running_even_if_its_files_remain() {
    let Running { folder, _stack: stack } = running();
    // As the system does it: the lock is released, the files stay.
    drop(stack);
    assert!(folder.path().join("env").exists());
    for text in found(&[], folder.path()) {
        assert!(text.starts_with("no stack is running in"), "{text}");
    }
    assert_eq!(
        token(&[], folder.path(), Purpose::Change).map_err(|text| text.contains("no stack is running")),
        Err(true)
    );
    // With its env file read into the shell, its address gets none of its tokens.
    let exported = [("WATCHKEEPER_URL", LOCAL_URL), ("READ_TOKEN", "made-read-token-of-here")];
    assert_eq!(token(&exported, folder.path(), Purpose::Read), Ok(None));
    let again = DataDir::take(folder.path()).unwrap();
    assert!(!folder.path().join("env").exists(), "while it starts, no command uses the old address");
    drop(again);
}

fn token(variables: &[(&str, &str)], folder: &Path, purpose: Purpose) -> Result<Option<String>, String> {
    let config = config(variables);
    let target = Target::of(&config, folder).map_err(|misuse| misuse.to_string())?;
    let server = target.server(purpose).map_err(|error| error.to_string())?;
    Ok(server.token().map(|token| token.expose_secret().to_owned()))
}

#[test]
fn tokens_of_the_stack_here_stay_here_and_none_is_sent_unencrypted() {
    let folder = running();
    let here = |variables: &[(&str, &str)], purpose| token(variables, folder.path(), purpose).unwrap();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(here(&[], Purpose::Read), some("made-read-token-of-here"));
    let elsewhere = ("WATCHKEEPER_TOKEN", "token-of-elsewhere");
    assert_eq!(here(&[elsewhere], Purpose::Change), some("made-admin-token-of-here"));
    let key = ("INGEST_API_KEY", "key-of-16-characters");
    assert_eq!(here(&[key], Purpose::Report), some("key-of-16-characters"));
    let url = ("WATCHKEEPER_URL", OTHER_URL);
    assert_eq!(here(&[url], Purpose::Read), None);
    // Exported by `. .local/env`, before the address was changed.
    assert_eq!(here(&[url, ("READ_TOKEN", "made-read-token-of-here")], Purpose::Read), None);
    let read = ("READ_TOKEN", "read-token-of-there");
    assert_eq!(here(&[url, read], Purpose::Read), some("read-token-of-there"));
    assert_eq!(here(&[url, read, elsewhere], Purpose::Read), some("token-of-elsewhere"));
    for (url, refused) in [
        ("http://watchkeeper.example.com", true),
        ("http://10.0.0.7:8080", true),
        ("http://localhost.example.com", true),
        ("http://127.0.0.1:9000", false),
        ("http://[::1]:9000", false),
        ("https://10.0.0.7:8080", false),
    ] {
        let url = ("WATCHKEEPER_URL", url);
        let found = token(&[url, elsewhere], folder.path(), Purpose::Read);
        assert_eq!(found.is_err(), refused, "{url:?}: {found:?}");
        assert!(!found.is_err_and(|text| text.contains("token-of-elsewhere")), "{url:?}");
        assert_eq!(token(&[url], folder.path(), Purpose::Read), Ok(None), "{url:?}");
    }
}
