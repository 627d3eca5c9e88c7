//! Which deliveries are known: every resource of Sentry's and its actions. What is counted is one of these, or
//! `unknown`: so that no caller can make up kinds without end.

/// Resources and their actions. `archived` is what `ignored` is called in places; `size_analysis` is the older name of
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

/// What a delivery is counted as: `issue.resolved`, or `unknown`.
#[must_use]
pub fn kind_of(resource: &str, action: &str) -> String {
    if is_known(resource, action) { format!("{resource}.{action}") } else { "unknown".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_one_of_a_few_words() {
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
