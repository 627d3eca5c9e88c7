//! What `watchkeeper apply` prints: the changes of a file, and what it does not change.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use shared::model::FileName;
use shared::model::text::one_line;

use crate::output::{counted, say};
use crate::services_file::changes::Changes;
use crate::services_file::routing_changes::RoutingChanges;

/// The result of applying a file.
pub(super) struct Report<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a FileName,
    pub(super) changes: &'a Changes,
    pub(super) routing: &'a RoutingChanges,
    /// Service, environment, and the URL for its job.
    pub(super) heartbeats: &'a [(String, String, String)],
    pub(super) dry_run: bool,
}

impl Report<'_> {
    /// The changes, before they are made.
    pub(super) fn before(&self) {
        for line in self.changes.lines().into_iter().chain(self.routing.lines()).chain(self.taken_over()) {
            say(one_line(&line));
        }
    }

    pub(super) fn after(&self) {
        let services = Some(self.changes.summary()).filter(|services| !services.is_empty());
        let all: Vec<String> = services.into_iter().chain(self.routing.summary()).collect();
        let summary = if all.is_empty() { "nothing".to_owned() } else { all.join("; ") };
        if self.dry_run {
            say(format_args!("{}: would be {summary}. Nothing was changed (--dry-run).", self.path.display()));
        } else {
            say(format_args!("{}: {summary}.", self.path.display()));
        }
        let named = |what: &'static str, all: &[String]| {
            all.iter().map(move |name| format!("{what} {name}")).collect::<Vec<_>>()
        };
        let mut kept: Vec<String> = self.changes.kept.iter().map(ToString::to_string).collect();
        kept.extend(named("route", &self.routing.routes.kept));
        kept.extend(named("escalation", &self.routing.escalations.kept));
        if !kept.is_empty() {
            say(one_line(&format!("Not in this file, and kept (--prune removes them): {}", kept.join(", "))));
        }
        for line in self.elsewhere() {
            say(one_line(&line));
        }
        for (service, environment, url) in self.heartbeats {
            let curl = format!("curl --retry 5 --retry-all-errors -fsS -X POST {url}");
            say(one_line(&format!("{service} ({environment}) reports with: {curl}")));
        }
    }

    /// Warnings about services and routes that were taken over from another file.
    fn taken_over(&self) -> Vec<String> {
        let taken = self.changes.taken_over.iter().filter_map(|it| Some((it.which.to_string(), it.file.as_ref()?)));
        let routes = self.routing.taken_from.iter().map(|file| ("all routes and escalations".to_owned(), file));
        taken
            .chain(routes)
            .map(|(what, other)| {
                format!(
                    "warning: {what} came from the file {other} until now, and comes from {} from now on: keep it in one of \
                     them only",
                    self.file
                )
            })
            .collect()
    }

    /// One line for each other file.
    fn elsewhere(&self) -> Vec<String> {
        let mut counts: BTreeMap<Option<&FileName>, usize> = BTreeMap::new();
        for it in &self.changes.elsewhere {
            *counts.entry(it.file.as_ref()).or_default() += 1;
        }
        let line = |(file, count): (Option<&FileName>, usize)| match file {
            Some(file) => format!("Left alone: {} of the file {file}", counted(count, "service")),
            None => format!(
                "Left alone: {} of no known file; each belongs to the first file that has it",
                counted(count, "service")
            ),
        };
        counts.into_iter().map(line).collect()
    }

    pub(super) fn as_json(&self) -> Value {
        let heartbeats = self.heartbeats.iter();
        let heartbeats: Vec<Value> = heartbeats
            .map(|(service, environment, url)| json!({ "service": service, "environment": environment, "url": url }))
            .collect();
        json!({
            "file": self.file,
            "dry_run": self.dry_run,
            "added": self.changes.added,
            "changed": self.changes.changed,
            "removed": self.changes.removed,
            "unchanged": self.changes.unchanged,
            "kept": self.changes.kept,
            "elsewhere": self.changes.elsewhere,
            "taken_over": self.changes.taken_over,
            "routes": self.routing.routes,
            "escalations": self.routing.escalations,
            "routing_taken_from": self.routing.taken_from,
            "heartbeats": heartbeats,
        })
    }
}
