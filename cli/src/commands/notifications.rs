//! `watchkeeper notifications`: the messages that people were sent, and sending one again.

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
        .context("read the messages")?;
    if global.json {
        say(json!({ "notifications": all }));
    } else if all.is_empty() {
        say(if wanted.failed { "No message has failed." } else { "Nobody was sent a message yet." });
    } else {
        say(Table::new(&COLUMNS, all.iter().map(row).collect()));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(message: &Listed) -> Vec<String> {
    let about = [message.incident_id.as_deref(), message.title.as_deref()];
    let about: Vec<&str> = about.into_iter().flatten().collect();
    let status = message.response_status.map(|status| format!("{status}"));
    let error = [status.as_deref(), message.last_error.as_deref()];
    let error: Vec<&str> = error.into_iter().flatten().collect();
    vec![
        message.id.to_string(),
        message.status.clone(),
        message.channel.clone(),
        message.kind.clone(),
        message.recipient.clone(),
        message.attempts.to_string(),
        local_time(message.created_at),
        about.join(" "),
        // The status of what was taken is no news.
        if message.last_error.is_some() { shortened(&error.join(" "), 200) } else { String::new() },
    ]
}

async fn replay(id: Uuid, store: &Store, global: &Global) -> anyhow::Result<ExitCode> {
    let now = Utc::now();
    let replayed = store
        .run(|client| async move { notifications::replay(&client, id, now).await })
        .await
        .context("send the message again")?;
    let (word, told) = match replayed {
        Replay::Queued => ("queued", "is sent again with the next sweep (on Lambda within a minute)"),
        Replay::Waiting => ("waiting", "was waiting to be sent anyway, and is due now"),
        Replay::Unknown => bail!("there is no notification {id}: `watchkeeper notifications` lists them"),
    };
    if global.json {
        say(json!({ "id": id, "replay": word }));
    } else {
        say(format_args!("Notification {id} {told}."));
    }
    Ok(ExitCode::SUCCESS)
}
