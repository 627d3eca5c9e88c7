//! Parents: services of the same environment, without cycles.

use std::collections::{BTreeMap, BTreeSet};

use shared::model::ServiceSpec;

use super::Placed;
use super::problems::{FileRefusal, suggestion};

/// Checks the parents of the file's services; others are stored already.
pub(super) fn check(services: &[Placed], others: &[ServiceSpec]) -> Result<(), FileRefusal> {
    let graph: BTreeMap<(&str, &str), &[String]> = others
        .iter()
        .chain(services.iter().map(|placed| &placed.spec))
        .map(|spec| ((spec.environment.as_str(), spec.name.as_str()), spec.policy.parents.as_slice()))
        .collect();
    let mut problems = BTreeSet::new();
    for Placed { spec, parents_line, .. } in services {
        let environment = spec.environment.as_str();
        for parent in &spec.policy.parents {
            if !graph.contains_key(&(environment, parent.as_str())) {
                let names = graph.keys().filter(|(of, _)| *of == environment).map(|(_, name)| *name);
                let hint = suggestion(parent, names);
                let what = format!("parents: there is no service \"{parent}\" in environment \"{environment}\"{hint}");
                problems.insert((*parents_line, what));
            }
        }
        if let Some(cycle) = cycle_from(&graph, environment, &spec.name) {
            problems.insert((*parents_line, format!("parents: a cycle: {}", cycle.join(" → "))));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(FileRefusal(problems.into_iter().collect())) }
}

/// The path from a service over its parents back to itself, if there is one.
fn cycle_from(graph: &BTreeMap<(&str, &str), &[String]>, environment: &str, start: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut paths = vec![vec![start.to_owned()]];
    while let Some(path) = paths.pop() {
        let last = path.last().map(String::as_str).unwrap_or_default();
        for parent in graph.get(&(environment, last)).copied().unwrap_or_default() {
            let mut longer = path.clone();
            longer.push(parent.clone());
            if parent == start {
                return Some(longer);
            }
            if seen.insert(parent.clone()) {
                paths.push(longer);
            }
        }
    }
    None
}
