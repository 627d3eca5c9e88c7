//! Sentry's resources and their actions. Deliveries are counted under one of these, or `unknown`: clients can't create
//! unbounded kinds.

/// Resources and their actions. `archived` is another name of `ignored`, `size_analysis` the older name of
/// `preprod_artifact`.
const KINDS: [(&str, &[&str]); 10] = [
    ("error", &["created"]),
    ("event_alert", &["triggered"]),
    ("issue", &["created", "resolved", "unresolved", "ignored", "archived", "assigned"]),
    ("metric_alert", &["critical", "warning", "open", "resolved"]),
    ("comment", &["created", "updated", "deleted"]),
    ("installation", &["created", "deleted"]),
    ("activity_alert", &["triggered"]),
    ("seer", &SEER),
    ("preprod_artifact", &["size_analysis_completed", "build_distribution_completed"]),
    ("size_analysis", &["size_analysis_completed", "build_distribution_completed"]),
];

const SEER: [&str; 13] = [
    "root_cause_started",
    "root_cause_completed",
    "solution_started",
    "solution_completed",
    "coding_started",
    "coding_completed",
    "iteration_started",
    "iteration_completed",
    "triage_started",
    "triage_completed",
    "impact_assessment_started",
    "impact_assessment_completed",
    "pr_created",
];

/// Whether this kind is known.
pub(super) fn is_known(resource: &str, action: &str) -> bool {
    KINDS.iter().any(|(known, actions)| *known == resource && actions.contains(&action))
}

/// The name that a delivery is counted under: `issue.resolved`, or `unknown`.
#[must_use]
pub fn kind_of(resource: &str, action: &str) -> String {
    if is_known(resource, action) { format!("{resource}.{action}") } else { "unknown".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_counted_under_bounded_names() {
        for (resource, action, kind) in [
            ("issue", "resolved", "issue.resolved"),
            ("seer", "pr_created", "seer.pr_created"),
            ("size_analysis", "size_analysis_completed", "size_analysis.size_analysis_completed"),
            ("issue", "escalated", "unknown"),
            ("issue", "", "unknown"),
            ("", "", "unknown"),
            ("something_new", "created", "unknown"),
        ] {
            assert_eq!(kind_of(resource, action), kind);
        }
    }
}
