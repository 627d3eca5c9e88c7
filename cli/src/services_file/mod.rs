//! Services, routes and escalations as code: the TOML file of `watchkeeper apply`. An invalid file is refused as a
//! whole, with line and reason of each problem.
//!
//! Steps: text → tables with positions ([`toml::de`]) → services of each entry (`entry`; several with `addresses` and
//! `supabase`) → checks across services (unique names, `parents`). `routing` parses routes and escalations;
//! [`changes`] and [`routing_changes`] compare with what is stored.

mod addresses;
pub mod changes;
mod entry;
mod escalations;
mod fields;
mod keys;
mod limits;
mod maintenance;
mod matchers;
mod parents;
mod problems;
mod routes;
mod routing;
pub mod routing_changes;
mod secrets;
mod statuses;
mod supabase;
mod times;
mod validation;

#[cfg(test)]
mod routing_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use shared::model::{DEFAULT_ENVIRONMENT, FileName, Routing, ServiceSpec};
use toml::de::DeTable;

use self::fields::{Fields, get, refuse_unknown, text};
use self::keys::{of_defaults, refuse_foreign};
pub use self::problems::FileRefusal;
use self::problems::Problems;

/// A parsed file.
#[derive(Debug)]
pub struct ServicesFile {
    /// `name = "…"` at its top.
    name: Option<FileName>,
    services: Vec<Placed>,
    /// Routes and escalations; none = the file has neither.
    pub routing: Option<Routing>,
}

/// A service, and its lines in the file.
#[derive(Debug)]
struct Placed {
    spec: ServiceSpec,
    line: usize,
    parents_line: usize,
}

/// Reads the file.
///
/// # Errors
/// With file, lines and reasons: invalid TOML, unknown or missing settings, values out of range, duplicate services.
pub fn read(path: &Path) -> anyhow::Result<ServicesFile> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).map_err(|refusal| refused(path, &refusal))
}

/// The error message for a file that is refused.
#[must_use]
pub fn refused(path: &Path, refusal: &FileRefusal) -> anyhow::Error {
    anyhow::anyhow!("{} is refused, nothing was changed:\n{refusal}", path.display())
}

impl ServicesFile {
    /// Its name: the one at its top, else its path's last part without the ending.
    ///
    /// # Errors
    /// When there is none at its top, and the path has no valid one.
    pub fn name(&self, path: &Path) -> anyhow::Result<FileName> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => FileName::parse(&path.file_stem().unwrap_or_default().to_string_lossy())
                .map_err(|why| anyhow::anyhow!("{}: its name {why}: set name = \"…\" at its top", path.display())),
        }
    }

    /// Whether its name is stable: given at its top, or from a path that is no pipe.
    #[must_use]
    pub fn has_name(&self, path: &Path) -> bool {
        self.name.is_some() || !["/dev", "/proc"].iter().any(|streams| path.starts_with(streams))
    }

    /// The services.
    #[must_use]
    pub fn specs(&self) -> Vec<ServiceSpec> {
        self.services.iter().map(|placed| placed.spec.clone()).collect()
    }

    /// Checks that parents exist, among these services or the others, and form no cycle.
    ///
    /// # Errors
    /// Each missing parent, and each cycle, with its line.
    pub fn check_parents(&self, others: &[ServiceSpec]) -> Result<(), FileRefusal> {
        parents::check(&self.services, others)
    }
}

fn parse(text: &str) -> Result<ServicesFile, FileRefusal> {
    let mut problems = Problems::of(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        problems.note(error.span().map_or(0, |span| span.start), error.message().trim());
    }
    // Invalid TOML is not analysed any further.
    if !problems.is_none() {
        return Err(problems.refusal());
    }
    let document = document.get_ref();
    let known = ["name", "services", "routes", "escalations", "defaults", "environments"];
    refuse_unknown(document, &known, &mut problems);
    let name = read_name(document, &mut problems);
    let layers = Layers::read(document, &mut problems);
    let services = read_services(document, &layers, &mut problems);
    refuse_duplicates(&services, &mut problems);
    let routing = routing::read(document, &mut problems);
    if problems.is_none() { Ok(ServicesFile { name, services, routing }) } else { Err(problems.refusal()) }
}

fn read_name(document: &DeTable<'_>, problems: &mut Problems<'_>) -> Option<FileName> {
    let value = get(document, "name")?;
    let name = value.get_ref().as_str().ok_or("must be a text").and_then(FileName::parse);
    name.map_err(|why| problems.note(value.span().start, format_args!("name {why}"))).ok()
}

/// The fallback tables of entries.
struct Layers<'a> {
    defaults: Option<&'a DeTable<'a>>,
    environments: Vec<(&'a str, &'a DeTable<'a>)>,
}

impl<'a> Layers<'a> {
    fn read(document: &'a DeTable<'a>, problems: &mut Problems<'_>) -> Self {
        let known = of_defaults();
        let defaults = table(document, "defaults", problems);
        if let Some(defaults) = defaults {
            refuse_unknown(defaults, &known, problems);
        }
        let known: Vec<&str> = known.into_iter().filter(|key| *key != "environment").collect();
        let mut environments = Vec::new();
        for (name, value) in table(document, "environments", problems).into_iter().flatten() {
            match value.get_ref().as_table() {
                Some(table) => {
                    refuse_unknown(table, &known, problems);
                    environments.push((name.get_ref().as_ref(), table));
                }
                None => problems.note(value.span().start, "must be a table: [environments.NAME]"),
            }
        }
        Self { defaults, environments }
    }

    /// The tables of an environment, in lookup order.
    fn of(&self, environment: &str) -> Vec<&'a DeTable<'a>> {
        let own = self.environments.iter().find(|(name, _)| *name == environment).map(|(_, table)| *table);
        own.into_iter().chain(self.defaults).collect()
    }
}

fn table<'a>(document: &'a DeTable<'a>, key: &str, problems: &mut Problems<'_>) -> Option<&'a DeTable<'a>> {
    let value = get(document, key)?;
    let table = value.get_ref().as_table();
    if table.is_none() {
        problems.note(value.span().start, format_args!("{key} must be a table: [{key}]"));
    }
    table
}

fn read_services<'a>(document: &'a DeTable<'a>, layers: &Layers<'a>, problems: &mut Problems<'a>) -> Vec<Placed> {
    let Some(value) = get(document, "services") else {
        if !routing::is_there(document) {
            problems.note(
                0,
                "there is no service: [[services]] begins one ([[routes]] or [[escalations]] are enough, too)",
            );
        }
        return Vec::new();
    };
    let Some(entries) = value.get_ref().as_array() else {
        problems.note(value.span().start, "services must be tables: [[services]]");
        return Vec::new();
    };
    let mut services = Vec::new();
    for entry in entries.iter() {
        let start = entry.span().start;
        let Some(own) = entry.get_ref().as_table() else {
            problems.note(start, "a service must be a table: [[services]]");
            continue;
        };
        let defaults = layers.defaults.into_iter().collect();
        let environment = Fields::new(own, defaults, start, problems).read("environment", text);
        let environment = environment.unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned());
        let mut fields = Fields::new(own, layers.of(&environment), start, problems);
        let Some(kind) = entry::kind(&mut fields) else { continue };
        refuse_foreign(own, kind, fields.problems);
        let specs = entry::services(&mut fields, kind, &environment);
        let parents_at = fields.place("parents");
        let (line, parents_line) = (problems.line(start), problems.line(parents_at));
        services.extend(specs.into_iter().map(|spec| Placed { spec, line, parents_line }));
    }
    services
}

fn refuse_duplicates(services: &[Placed], problems: &mut Problems<'_>) {
    let mut seen = HashMap::new();
    for Placed { spec, line, .. } in services {
        if let Some(first) = seen.insert((&spec.name, &spec.environment), *line) {
            let (name, environment) = (&spec.name, &spec.environment);
            let what = format!("service \"{name}\" of environment \"{environment}\" is already in line {first}");
            problems.note_line(*line, what);
        }
    }
}
