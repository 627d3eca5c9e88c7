//! What is known of a round while it runs: how the services fare that others need, and whether it may be our own network.

use std::collections::HashMap;

use shared::model::{Kind, ServiceSpec, ServiceState, Verdict};
use shared::store::probing::ClaimedService;
use uuid::Uuid;

use super::Item;
use crate::decide::Parents;
use crate::suspicion::{Held, Suspicion};

/// Where a service of this round stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Running,
    Well,
    Failing,
    /// We could not ask it.
    Unknown,
}

/// What is known of a round while it runs.
pub(super) struct Known {
    services: HashMap<(String, String), Asked>,
    pub(super) suspicion: Suspicion,
}

impl Known {
    pub(super) fn of(claimed: &[(Uuid, ClaimedService)], network_outage: bool) -> Self {
        let key = |spec: &ServiceSpec| (spec.environment.clone(), spec.name.clone());
        let services = claimed.iter().map(|(_, claimed)| (key(&claimed.service.spec), Asked::Running)).collect();
        let hosts = claimed.iter().filter_map(|(_, claimed)| host(&claimed.service.spec));
        let suspicion = Suspicion::of(hosts);
        Self { services, suspicion: if network_outage { suspicion.during_an_outage() } else { suspicion } }
    }

    pub(super) fn note(&mut self, item: &Item) {
        let spec = &item.claimed.service.spec;
        let asked = match item.outcome.verdict {
            _ if item.outcome.is_ours() => Asked::Unknown,
            Verdict::Failed => Asked::Failing,
            Verdict::Healthy | Verdict::Degraded => Asked::Well,
        };
        self.services.insert((spec.environment.clone(), spec.name.clone()), asked);
        if let Some(host) = host(spec) {
            let before = is_known_to_be_down(item);
            self.suspicion.note(&host, before, item.outcome.verdict, item.outcome.failure.as_ref());
        }
    }

    /// Whether failures can be believed. Of a check that broke down nothing is known, however long one waits.
    pub(super) fn held(&self, last: Last) -> Held {
        match self.suspicion.held() {
            Held::Wait if last == Last::Yes => Held::Clear,
            held => held,
        }
    }

    /// How the services fare that this one needs; none = one of them is still being asked.
    pub(super) fn parents(&self, item: &Item, last: Last) -> Option<Parents> {
        let service = &item.claimed.service;
        let mut pending = false;
        for name in &service.spec.policy.parents {
            match self.services.get(&(service.spec.environment.clone(), name.clone())) {
                Some(Asked::Failing) => return Some(Parents::Down(name.clone())),
                Some(Asked::Well) => {}
                Some(Asked::Running) if last == Last::No => return None,
                Some(Asked::Running | Asked::Unknown) => pending = true,
                None => match item.claimed.parents.get(name) {
                    Some(parent) if parent.failing => return Some(Parents::Down(name.clone())),
                    // Another invocation may be asking it right now.
                    Some(parent) => {
                        let slot = item.claimed.slot;
                        let due = slot.period_seconds > 0 && parent.period <= slot.period_seconds;
                        let old = parent.checked_at.is_none_or(|at| at < slot.start);
                        // By the next slot, what it finds is known.
                        pending |= due && old && service.standing.consecutive_failures == 0;
                    }
                    None => {}
                },
            }
        }
        Some(if pending { Parents::Pending } else { Parents::Fine })
    }
}

/// Whether it was down already, so that nothing new is to be said of it.
pub(super) fn is_known_to_be_down(item: &Item) -> bool {
    item.claimed.service.standing.state == ServiceState::Down
}

/// Whether nothing more comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Yes,
    No,
}

/// The machine that is asked, for telling apart what has nothing to do with each other; none = we ask nobody.
fn host(spec: &ServiceSpec) -> Option<String> {
    match spec.kind {
        Kind::Http => crate::check::host(&spec.target),
        Kind::Tcp | Kind::Tls => spec.target.rsplit_once(':').map(|(host, _)| host.to_ascii_lowercase()),
        Kind::Dns => Some(spec.target.to_ascii_lowercase()),
        Kind::Postgres => Some(spec.target.clone()),
        Kind::Heartbeat => None,
    }
}
