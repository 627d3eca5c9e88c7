//! Confirmation before `watchkeeper apply` removes something.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Context as _;
use shared::model::{FileName, ServiceSpec};
use shared::store::services::Origin;

use super::Stored;
use crate::args::Apply;
use crate::output::{Misuse, ask, note};
use crate::services_file::ServicesFile;
use crate::services_file::changes::Changes;
use crate::services_file::routing_changes::RoutingChanges;

/// Detects another file of the same name: it has nothing of what was applied under its name. It may not prune without
/// `--yes`; without `--prune` it only causes a warning.
///
/// # Errors
/// [`Misuse`] when it would prune.
pub(super) fn notice_another(
    file: &ServicesFile,
    apply: &Apply,
    name: &FileName,
    stored: &Stored,
) -> Result<(), Misuse> {
    // A stream has no name, so nothing is removed for it.
    if apply.yes || !file.has_name(&apply.file) || !is_another(file, name, stored) {
        return Ok(());
    }
    let path = apply.file.display();
    let warning = format!(
        "another file named `{name}` was applied to this database: {path} contains none of it; give this file a \
         `name = …` of its own, or pass --yes if it replaces that one"
    );
    if apply.dry_run || !apply.prune {
        note(warning);
        return Ok(());
    }
    Err(Misuse(format!("{warning}. Nothing was changed")))
}

/// Whether something came from a file of this name, and none of it is in this one.
fn is_another(file: &ServicesFile, name: &FileName, stored: &Stored) -> bool {
    let specs = file.specs();
    let own = stored.services.iter().filter(|it| it.origin == Origin::File && it.file.as_ref() == Some(name));
    let is_in_file =
        |own: &ServiceSpec| specs.iter().any(|spec| (&spec.name, &spec.environment) == (&own.name, &own.environment));
    let mut own: Vec<bool> = own.map(|it| is_in_file(&it.spec)).collect();
    if stored.routing_file.as_ref() == Some(name) {
        let wanted = file.routing.clone().unwrap_or_default();
        let (routes, policies) = (&stored.routing.routes, &stored.routing.escalations);
        own.extend(routes.iter().map(|own| wanted.routes.iter().any(|it| it.name == own.name)));
        own.extend(policies.iter().map(|own| wanted.escalations.iter().any(|it| it.name == own.name)));
    }
    !own.is_empty() && !own.contains(&true)
}

/// The names of what is removed.
pub(super) struct Removal(Vec<String>);

impl Removal {
    /// The most names in a question.
    const NAMED: usize = 20;

    pub(super) fn of(changes: &Changes, routing: &RoutingChanges) -> Self {
        let mut names: Vec<String> = changes.removed.iter().map(ToString::to_string).collect();
        names.extend(routing.routes.removed.iter().map(|name| format!("route {name}")));
        names.extend(routing.escalations.removed.iter().map(|name| format!("escalation {name}")));
        Self(names)
    }

    /// Asks the user to confirm the removal; true if there is nothing to remove.
    ///
    /// # Errors
    /// [`Misuse`] when there is no terminal to ask on.
    pub(super) async fn is_confirmed(&self) -> anyhow::Result<bool> {
        if self.0.is_empty() {
            return Ok(true);
        }
        let mut list = self.0.iter().take(Self::NAMED).cloned().collect::<Vec<_>>().join(", ");
        if self.0.len() > Self::NAMED {
            list = format!("{list} and {} more", self.0.len() - Self::NAMED);
        }
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(Misuse(format!(
                "this would remove {list}; nothing was changed: pass --yes to remove that without a question"
            ))
            .into());
        }
        ask(format_args!("Remove {list}? [y/N] "));
        let answer = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let answer = answer.await?.context("read the answer")?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}
