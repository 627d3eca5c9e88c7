//! Detects a failure of our own network, as opposed to failures of the services. Pure.
//!
//! Counts the hosts that newly can't be reached in a run against those that answered. Each host counts once:
//!
//! - *reached*: one of its services answered, even with a refused connection, a reset, a bad certificate or a wrong
//!   status; or a name server answered that there is no such name: all of those prove that the network works. This is
//!   never taken back.
//! - *lost*: all of its services were checked, none was reached, and one that was not failing before failed for a
//!   network reason (DNS, connection, timeout).
//! - Not counted: hosts that were failing before, or were not checked over the network.
//!
//! [`NetworkVerdict::Clear`] and [`NetworkVerdict::Suspect`] are final: results that come later do not change them.

use std::collections::HashMap;

use shared::model::{FailureReason, Verdict};

use crate::check::Failure;

/// Fewer hosts that fail together may be a coincidence, or one provider.
const MIN_LOST: usize = 5;

/// The percentage of counted hosts that must be lost.
const LOST_PERCENT: usize = 60;

/// Whether the failures of a run can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkVerdict {
    /// They can: our network works.
    Clear,
    /// It depends on results that are missing.
    Wait,
    /// They can't: our own network has failed, as far as is known.
    Suspect,
}

/// The results of a run by host.
#[derive(Debug, Clone)]
pub struct Suspicion {
    hosts: HashMap<String, Host>,
    /// As many lost hosts are suspect.
    too_many: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Host {
    /// Services without a result.
    pending: usize,
    reached: bool,
    newly_unreached: bool,
}

impl Suspicion {
    /// For a run that checks these hosts, one per service, so that a host may be repeated. Services that are not
    /// checked over the network (heartbeats) are left out.
    pub fn of(hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut suspicion = Self { hosts: HashMap::new(), too_many: MIN_LOST };
        for host in hosts {
            suspicion.hosts.entry(host.into()).or_default().pending += 1;
        }
        suspicion
    }

    /// The same while our network is known to fail: then a single lost host is suspect.
    #[must_use]
    pub fn during_an_outage(self) -> Self {
        Self { too_many: 1, ..self }
    }

    /// Adds the result of a service of this host. `was_failing`: its run before had failed too.
    pub fn note(&mut self, host: &str, was_failing: bool, verdict: Verdict, failure: Option<&Failure>) {
        let Some(host) = self.hosts.get_mut(host) else { return };
        host.pending = host.pending.saturating_sub(1);
        match failure.map(evidence) {
            Some(Evidence::Reached) => host.reached = true,
            Some(Evidence::Unreached) => host.newly_unreached |= !was_failing,
            Some(Evidence::None) => {}
            None => host.reached |= verdict != Verdict::Failed,
        }
    }

    /// Whether this run proves that our network works: enough hosts were reached, and more than were lost.
    #[must_use]
    pub fn proves_the_network(&self) -> bool {
        let reached = self.hosts.values().filter(|host| host.reached).count();
        let lost = self.hosts.values().filter(|host| !host.reached && host.newly_unreached).count();
        reached >= MIN_LOST && reached > lost
    }

    /// Whether the results so far can be trusted; never `Wait` once all services have a result.
    #[must_use]
    pub fn verdict(&self) -> NetworkVerdict {
        let (mut lost, mut reached, mut pending) = (0, 0, 0);
        for host in self.hosts.values() {
            match host {
                Host { reached: true, .. } => reached += 1,
                Host { pending: 1.., .. } => pending += 1,
                Host { newly_unreached: true, .. } => lost += 1,
                Host { .. } => {}
            }
        }
        let is_suspect = |lost, testify| lost >= self.too_many && lost * 100 >= testify * LOST_PERCENT;
        if is_suspect(lost, lost + reached + pending) {
            NetworkVerdict::Suspect
        } else if is_suspect(lost + pending, lost + pending + reached) {
            NetworkVerdict::Wait
        } else {
            NetworkVerdict::Clear
        }
    }
}

/// Whether our own network may have caused this failure.
#[must_use]
pub fn is_about_the_network(failure: &Failure) -> bool {
    matches!(evidence(failure), Evidence::Unreached)
}

enum Evidence {
    Reached,
    Unreached,
    None,
}

fn evidence(failure: &Failure) -> Evidence {
    use FailureReason as Reason;
    match failure.reason {
        Reason::Dns if failure.name_server_answered => Evidence::Reached,
        Reason::Timeout | Reason::Dns | Reason::Connect => Evidence::Unreached,
        Reason::Tls
        | Reason::ConnectionRefused
        | Reason::ConnectionReset
        | Reason::Redirect
        | Reason::Status
        | Reason::Protocol
        | Reason::Condition
        | Reason::BodyTooLarge
        | Reason::Slow => Evidence::Reached,
        Reason::Heartbeat | Reason::Blocked | Reason::Misconfigured | Reason::Ours => Evidence::None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether it was failing before, its verdict, and the reason; whether a name server answered.
    type Found = (bool, Verdict, Option<(FailureReason, bool)>);

    const HEALTHY: Found = (false, Verdict::Healthy, None);
    const SLOW: Found = (false, Verdict::Degraded, Some((FailureReason::Slow, false)));
    const LOST: Found = (false, Verdict::Failed, Some((FailureReason::Timeout, false)));
    const LOST_BEFORE: Found = (true, Verdict::Failed, Some((FailureReason::Timeout, false)));
    const REFUSED: Found = (false, Verdict::Failed, Some((FailureReason::ConnectionRefused, false)));
    const BLOCKED: Found = (false, Verdict::Failed, Some((FailureReason::Blocked, false)));
    const MISCONFIGURED: Found = (false, Verdict::Degraded, Some((FailureReason::Misconfigured, false)));
    const NAME_UNKNOWN: Found = (false, Verdict::Failed, Some((FailureReason::Dns, false)));
    const NO_SUCH_NAME: Found = (false, Verdict::Failed, Some((FailureReason::Dns, true)));

    fn note(suspicion: &mut Suspicion, host: &str, (was_failing, verdict, why): Found) {
        let failure =
            why.map(|(reason, name_server_answered)| Failure { name_server_answered, ..Failure::new(reason, "why") });
        suspicion.note(host, was_failing, verdict, failure.as_ref());
    }

    fn hosts(count: usize) -> Vec<String> {
        (0..count).map(|host| format!("host-{host}.example")).collect()
    }

    /// The verdict on so many hosts after so many results of each sort.
    fn after(total: usize, found: &[(usize, Found)]) -> NetworkVerdict {
        let hosts = hosts(total);
        let mut suspicion = Suspicion::of(hosts.iter().map(String::as_str));
        let found = found.iter().flat_map(|(count, found)| std::iter::repeat_n(*found, *count));
        for (host, found) in hosts.iter().zip(found) {
            note(&mut suspicion, host, found);
        }
        suspicion.verdict()
    }

    #[test]
    fn many_lost_hosts_are_suspect() {
        for (total, found, expected) in [
            (0, &[][..], NetworkVerdict::Clear),
            (4, &[], NetworkVerdict::Clear),
            (4, &[(4, LOST)], NetworkVerdict::Clear),
            (5, &[], NetworkVerdict::Wait),
            (5, &[(4, LOST)], NetworkVerdict::Wait),
            (5, &[(5, LOST)], NetworkVerdict::Suspect),
            (5, &[(1, HEALTHY)], NetworkVerdict::Clear),
            (50, &[(20, HEALTHY)], NetworkVerdict::Wait),
            (50, &[(21, HEALTHY)], NetworkVerdict::Clear),
            (50, &[(29, LOST)], NetworkVerdict::Wait),
            (50, &[(30, LOST)], NetworkVerdict::Suspect),
            (50, &[(21, HEALTHY), (29, LOST)], NetworkVerdict::Clear),
            // Any answer counts as reached.
            (50, &[(21, REFUSED), (29, LOST)], NetworkVerdict::Clear),
            (50, &[(21, SLOW), (29, LOST)], NetworkVerdict::Clear),
            // A negative DNS answer counts as reached, no answer does not.
            (50, &[(21, NO_SUCH_NAME), (29, LOST)], NetworkVerdict::Clear),
            (50, &[(50, NO_SUCH_NAME)], NetworkVerdict::Clear),
            (50, &[(21, NAME_UNKNOWN), (9, LOST)], NetworkVerdict::Suspect),
            // Hosts that were failing before, or could not be checked, are not counted.
            (50, &[(45, LOST_BEFORE), (5, LOST)], NetworkVerdict::Suspect),
            (50, &[(46, LOST_BEFORE), (4, LOST)], NetworkVerdict::Clear),
            (50, &[(45, BLOCKED), (5, LOST)], NetworkVerdict::Suspect),
            (50, &[(45, MISCONFIGURED), (5, LOST)], NetworkVerdict::Suspect),
            (50, &[(50, LOST_BEFORE)], NetworkVerdict::Clear),
        ] {
            assert_eq!(after(total, found), expected, "{total} hosts, {found:?}");
        }
    }

    #[test]
    fn a_host_is_lost_only_with_all_its_services() {
        let mut suspicion = Suspicion::of([hosts(5), hosts(5)].concat());
        for host in hosts(5) {
            note(&mut suspicion, &host, LOST);
        }
        assert_eq!(suspicion.verdict(), NetworkVerdict::Wait);
        for host in &hosts(5)[1..] {
            note(&mut suspicion, host, LOST_BEFORE);
        }
        assert_eq!(suspicion.verdict(), NetworkVerdict::Wait);
        let mut lost = suspicion.clone();
        note(&mut suspicion, &hosts(1)[0], HEALTHY);
        assert_eq!(suspicion.verdict(), NetworkVerdict::Clear);
        note(&mut lost, &hosts(1)[0], LOST);
        assert_eq!(lost.verdict(), NetworkVerdict::Suspect);
    }

    #[test]
    fn many_services_of_one_host_count_once() {
        let mut suspicion = Suspicion::of(vec!["db.example"; 50]);
        for _ in 0..50 {
            note(&mut suspicion, "db.example", LOST);
        }
        note(&mut suspicion, "unknown.example", LOST);
        assert_eq!(suspicion.verdict(), NetworkVerdict::Clear);
    }

    fn found() -> impl Strategy<Value = Found> {
        prop_oneof![2 => Just(HEALTHY), 5 => Just(LOST), 1 => Just(LOST_BEFORE), 1 => Just(REFUSED), 1 => Just(BLOCKED)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_verdict_other_than_wait_is_final(run in prop::collection::vec((0..30_usize, found()), 0..60)) {
            let names = hosts(30);
            let mut suspicion = Suspicion::of(run.iter().map(|(host, _)| names[*host].as_str()));
            let mut last = suspicion.verdict();
            for (host, found) in &run {
                note(&mut suspicion, &names[*host], *found);
                let now = suspicion.verdict();
                prop_assert!(last == NetworkVerdict::Wait || last == now, "{last:?}, and then {now:?}");
                last = now;
            }
            prop_assert!(last != NetworkVerdict::Wait, "all results are known");

            // Compared with a count of the whole run.
            let of = |host: usize| run.iter().filter(move |(of, _)| *of == host).map(|(_, found)| *found);
            let reached = |host: &usize| of(*host).any(|found| found == HEALTHY || found == REFUSED);
            let lost = (0..30).filter(|host| !reached(host) && of(*host).any(|found| found == LOST)).count();
            let reached = (0..30).filter(reached).count();
            prop_assert_eq!(last == NetworkVerdict::Suspect, lost >= 5 && lost * 10 >= (lost + reached) * 6);
        }
    }
}
