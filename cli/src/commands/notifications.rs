//! `watchkeeper notifications`: lists notifications, and sends one again.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::Utc;
use serde_json::json;
use shared::store::notifications::{self, Filter, Listed, Replay};
use shared::store::{PoolSize, Store};
use uuid::Uuid;

use crate::args::{Global, Notifications, NotificationsCommand, ReplayNotification};
use crate::config::Config;
use crate::output::{local_time, say, shortened};
use crate::selection::Target;
use crate::table::{Column, Table, cut, whole};

const COLUMNS: [Column; 9] = [
    whole("NOTIFICATION"),
    whole("STATUS"),
    whole("CHANNEL"),
    whole("KIND").optional(3),
    whole("TO").optional(4),
    whole("TRIES").optional(5),
    whole("CREATED").optional(6),
    cut("ABOUT").optional(2),
    cut("LAST ERROR").optional(1),
];

pub(super) async fn run(wanted: &Notifications, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::new(&Target::of(config, &global.data_dir)?.database()?, "watchkeeper-cli", PoolSize::LAMBDA)?;
    match &wanted.command {
        None => list(wanted, &store, global).await,
        Some(NotificationsCommand::Replay(ReplayNotification { id })) => replay(*id, &store, global).await,
    }
}

async fn list(wanted: &Notifications, store: &Store, global: &Global) -> anyhow::Result<ExitCode> {
    let filter = &Filter { failed: wanted.failed };
    let all = store
        .run(|client| async move { notifications::list(&client, filter, wanted.limit).await })
        .await
        .context("read the notifications")?;
    if global.json {
        say(json!({ "notifications": all }));
    } else if all.is_empty() {
        say(if wanted.failed { "No failed notifications." } else { "No notifications yet." });
    } else {
        say(Table::new(&COLUMNS, all.iter().map(row).collect()));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(notification: &Listed) -> Vec<String> {
    let about = [notification.incident_id.as_deref(), notification.title.as_deref()];
    let about: Vec<&str> = about.into_iter().flatten().collect();
    let status = notification.response_status.map(|status| format!("{status}"));
    let error = [status.as_deref(), notification.last_error.as_deref()];
    let error: Vec<&str> = error.into_iter().flatten().collect();
    vec![
        notification.id.to_string(),
        notification.status.clone(),
        notification.channel.clone(),
        notification.kind.clone(),
        notification.recipient.clone(),
        notification.attempts.to_string(),
        local_time(notification.created_at),
        about.join(" "),
        // The status of a successful delivery is left out.
        if notification.last_error.is_some() { shortened(&error.join(" "), 200) } else { String::new() },
    ]
}

async fn replay(id: Uuid, store: &Store, global: &Global) -> anyhow::Result<ExitCode> {
    let now = Utc::now();
    let replayed = store
        .run(|client| async move { notifications::replay(&client, id, now).await })
        .await
        .context("send the notification again")?;
    let (word, text) = match replayed {
        Replay::Queued => ("queued", "is sent again with the next sweep (on Lambda within a minute)"),
        Replay::Waiting => ("waiting", "was waiting to be sent anyway, and is due now"),
        Replay::Unknown => bail!("there is no notification {id}: `watchkeeper notifications` lists them"),
    };
    if global.json {
        say(json!({ "id": id, "replay": word }));
    } else {
        say(format_args!("Notification {id} {text}."));
    }
    Ok(ExitCode::SUCCESS)
}
