//! The cluster on disk: made once with `initdb`, checked at every start.
//!
//! Invariant: `data` is a whole cluster or not there. `initdb` works in `data.new`, which is
//! renamed when it is done, so the result of a killed one is discarded.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::binaries::Binaries;
use super::home::{Home, read};
use super::{EmbeddedError, ROLE};

/// Makes the cluster unless it is there, and checks that these programs can serve it.
pub(crate) async fn ensure(home: &Home, binaries: &Binaries, durable: bool) -> Result<()> {
    let data = home.data();
    let program = binaries.major_version().await?;
    let version = read(&data.join("PG_VERSION"))?.map(|text| text.trim().to_owned());
    match version {
        Some(found) if found != program => Err(EmbeddedError::OtherVersion { data, found, program }.into()),
        Some(_) if data.join("global/pg_control").exists() => Ok(()),
        _ => {
            set_aside(&data)?;
            create(home, binaries, durable).await
        }
    }
}

/// Moves an incomplete cluster at `data` aside. It was not written by us, so the latest one is
/// kept rather than deleted.
fn set_aside(data: &Path) -> Result<()> {
    if fs::symlink_metadata(data).is_err() || fs::remove_dir(data).is_ok() {
        return Ok(());
    }
    let aside = data.with_extension("incomplete");
    remove(&aside)?;
    fs::rename(data, &aside).with_context(|| format!("moving {} aside", data.display()))?;
    tracing::warn!(
        data = %data.display(),
        aside = %aside.display(),
        "the database's directory was incomplete; it is set aside and a new one is made"
    );
    Ok(())
}

/// Removes a directory in which processes of a killed `initdb` may still be writing.
fn remove(dir: &Path) -> Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if tries < 10 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other.with_context(|| format!("removing {}", dir.display())),
        }
    }
}

/// Removes the leftovers of killed starts; those that can't be removed yet are harmless.
fn remove_drafts(drafts: &Path) {
    if let Err(error) = remove(drafts) {
        tracing::warn!("an unfinished database stays for now: {error:#}");
    }
}

async fn create(home: &Home, binaries: &Binaries, durable: bool) -> Result<()> {
    let data = home.data();
    let drafts = data.with_extension("new");
    remove_drafts(&drafts);
    // A name of its own: the initdb of a start that was killed may still be writing to an older one.
    let draft = drafts.join(uuid::Uuid::new_v4().simple().to_string());
    let mut initdb = binaries.command("initdb");
    // The built-in provider gives C.UTF-8 on every system, whatever locales are installed.
    initdb
        .arg("--pgdata")
        .arg(&draft)
        .arg("--pwfile")
        .arg(home.password_file())
        .args(["--username", ROLE, "--auth=scram-sha-256"])
        .args(["--encoding=UTF8", "--locale=C"])
        .args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"])
        .arg("--no-instructions")
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if !durable {
        initdb.arg("--no-sync");
    }
    let output = initdb.output().await.context("running initdb")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let advice = if said.contains("could not look up effective user ID") {
            "\nPostgres needs a user with an entry in /etc/passwd: add one, or set DATABASE_URL"
        } else {
            ""
        };
        bail!(
            "initdb could not make the database in {} ({}):\n{}{advice}",
            draft.display(),
            output.status,
            said.trim()
        );
    }
    fs::rename(&draft, &data).with_context(|| format!("renaming {}", draft.display()))?;
    remove_drafts(&drafts);
    // Some mounted file systems do not sync directories; initdb ignores that, too.
    if let Err(error) = fs::File::open(home.dir()).and_then(|dir| dir.sync_all()) {
        tracing::debug!(dir = %home.dir().display(), "not synced: {error}");
    }
    Ok(())
}
