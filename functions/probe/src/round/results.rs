//! The results of a round while it runs: the parents' states, and whether our own network may have failed.

use std::collections::HashMap;

use shared::model::{Kind, ServiceSpec, ServiceState, Verdict};
use shared::store::probing::ClaimedService;
use uuid::Uuid;

use super::EndedCheck;
use crate::decide::Parents;
use crate::suspicion::{NetworkVerdict, Suspicion};

/// The result of a service in this round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Running,
    Healthy,
    Failing,
    /// Our own fault: nothing is known.
    Unknown,
}

/// The results of a round while it runs.
pub(super) struct RoundResults {
    services: HashMap<(String, String), Progress>,
    pub(super) suspicion: Suspicion,
}

impl RoundResults {
    pub(super) fn of(claimed: &[(Uuid, ClaimedService)], network_outage: bool) -> Self {
        let key = |spec: &ServiceSpec| (spec.environment.clone(), spec.name.clone());
        let services = claimed.iter().map(|(_, claimed)| (key(&claimed.service.spec), Progress::Running)).collect();
        let hosts = claimed.iter().filter_map(|(_, claimed)| host(&claimed.service.spec));
        let suspicion = Suspicion::of(hosts);
        Self { services, suspicion: if network_outage { suspicion.during_an_outage() } else { suspicion } }
    }

    pub(super) fn note(&mut self, item: &EndedCheck) {
        let spec = &item.claimed.service.spec;
        let progress = match item.outcome.verdict {
            _ if item.outcome.is_ours() => Progress::Unknown,
            Verdict::Failed => Progress::Failing,
            Verdict::Healthy | Verdict::Degraded => Progress::Healthy,
        };
        self.services.insert((spec.environment.clone(), spec.name.clone()), progress);
        if let Some(host) = host(spec) {
            let before = is_known_to_be_down(item);
            self.suspicion.note(&host, before, item.outcome.verdict, item.outcome.failure.as_ref());
        }
    }

    /// Whether failures can be trusted. At the end nothing more is waited for: a check that panicked has no result.
    pub(super) fn network_verdict(&self, last: Last) -> NetworkVerdict {
        match self.suspicion.verdict() {
            NetworkVerdict::Wait if last == Last::Yes => NetworkVerdict::Clear,
            verdict => verdict,
        }
    }

    /// The state of the services that this one depends on; none = one of them is still being checked.
    pub(super) fn parents(&self, item: &EndedCheck, last: Last) -> Option<Parents> {
        let service = &item.claimed.service;
        let mut pending = false;
        for name in &service.spec.policy.parents {
            match self.services.get(&(service.spec.environment.clone(), name.clone())) {
                Some(Progress::Failing) => return Some(Parents::Down(name.clone())),
                Some(Progress::Healthy) => {}
                Some(Progress::Running) if last == Last::No => return None,
                Some(Progress::Running | Progress::Unknown) => pending = true,
                None => match item.claimed.parents.get(name) {
                    Some(parent) if parent.failing => return Some(Parents::Down(name.clone())),
                    // Another invocation may be checking it right now.
                    Some(parent) => {
                        let slot = item.claimed.slot;
                        let due = slot.period_seconds > 0 && parent.period <= slot.period_seconds;
                        let old = parent.checked_at.is_none_or(|at| at < slot.start);
                        // Its result is known by the next slot.
                        pending |= due && old && service.standing.consecutive_failures == 0;
                    }
                    None => {}
                },
            }
        }
        Some(if pending { Parents::Pending } else { Parents::Fine })
    }
}

/// Whether it was down already, so that a failure is nothing new.
pub(super) fn is_known_to_be_down(item: &EndedCheck) -> bool {
    item.claimed.service.standing.state == ServiceState::Down
}

/// Whether all checks of the round have ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Yes,
    No,
}

/// The host that is checked, to count hosts instead of services; none = no network access.
fn host(spec: &ServiceSpec) -> Option<String> {
    match spec.kind {
        Kind::Http => crate::check::host(&spec.target),
        Kind::Tcp | Kind::Tls => spec.target.rsplit_once(':').map(|(host, _)| host.to_ascii_lowercase()),
        Kind::Dns => Some(spec.target.to_ascii_lowercase()),
        Kind::Postgres => Some(spec.target.clone()),
        Kind::Heartbeat => None,
    }
}
