//! Whether it is our own network that fails, rather than everybody else's services. Pure.
//!
//! Hosts that were well and can't be reached in the same run are counted against those that answered something. A host
//! testifies once:
//!
//! - *reached*: one of its services answered, be it with a refusal, a reset, a bad certificate or a wrong status; or a name
//!   server said that there is no such name: all of those prove that the network works. That is never taken back.
//! - *lost*: all of its services have been asked, none was reached, and one that was well failed for a reason of the
//!   network (nobody who knows the name, no connection, no answer in time).
//! - It says nothing if it was failing before, or was not asked over the network.
//!
//! What is said is final as soon as it is [`Held::Clear`] or [`Held::Suspect`]: it is the same whatever the rest answers.

use std::collections::HashMap;

use shared::model::{FailureReason, Verdict};

use crate::check::Failure;

/// Fewer hosts than this that fail at once may well be a coincidence, or one provider.
const MIN_LOST: usize = 5;

/// As many of a hundred hosts that testify must be lost.
const LOST_PERCENT: usize = 60;

/// Whether what is found in a run can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It can: our network works.
    Clear,
    /// That depends on those that have not answered yet.
    Wait,
    /// It can't: our own network is down, as far as anybody can tell.
    Suspect,
}

/// What the hosts of a run tell of our own network.
#[derive(Debug, Clone)]
pub struct Suspicion {
    hosts: HashMap<String, Host>,
    /// As many hosts that are lost are too many.
    too_many: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Host {
    /// Services that have not been asked yet.
    pending: usize,
    reached: bool,
    newly_unreached: bool,
}

impl Suspicion {
    /// Of a run that is going to ask these hosts: one for each service, so some may be named again. Services that are not
    /// asked over the network (heartbeats) are left out.
    pub fn of(hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut suspicion = Self { hosts: HashMap::new(), too_many: MIN_LOST };
        for host in hosts {
            suspicion.hosts.entry(host.into()).or_default().pending += 1;
        }
        suspicion
    }

    /// The same while our network is known to fail: then a single host that is lost says nothing about itself.
    #[must_use]
    pub fn during_an_outage(self) -> Self {
        Self { too_many: 1, ..self }
    }

    /// Takes what was found of a service of this host; why, where it is not well. `was_failing`: its run before had failed
    /// too.
    pub fn note(&mut self, host: &str, was_failing: bool, verdict: Verdict, failure: Option<&Failure>) {
        let Some(host) = self.hosts.get_mut(host) else { return };
        host.pending = host.pending.saturating_sub(1);
        match failure.map(says) {
            Some(Says::Reached) => host.reached = true,
            Some(Says::Unreached) => host.newly_unreached |= !was_failing,
            Some(Says::Nothing) => {}
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

    /// Whether what has been found so far can be believed. Nothing is left to wait for when all services were noted.
    #[must_use]
    pub fn held(&self) -> Held {
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
            Held::Suspect
        } else if is_suspect(lost + pending, lost + pending + reached) {
            Held::Wait
        } else {
            Held::Clear
        }
    }
}

/// Whether this failure may be our own network's.
#[must_use]
pub fn is_about_the_network(failure: &Failure) -> bool {
    matches!(says(failure), Says::Unreached)
}

enum Says {
    Reached,
    Unreached,
    Nothing,
}

fn says(failure: &Failure) -> Says {
    use FailureReason as Reason;
    match failure.reason {
        Reason::Dns if failure.name_server_answered => Says::Reached,
        Reason::Timeout | Reason::Dns | Reason::Connect => Says::Unreached,
        Reason::Tls
        | Reason::ConnectionRefused
        | Reason::ConnectionReset
        | Reason::Redirect
        | Reason::Status
        | Reason::Protocol
        | Reason::Condition
        | Reason::BodyTooLarge
        | Reason::Slow => Says::Reached,
        Reason::Heartbeat | Reason::Blocked | Reason::Misconfigured | Reason::Ours => Says::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether it was failing before, what was found, and why; whether a name server said so.
    type Found = (bool, Verdict, Option<(FailureReason, bool)>);

    const WELL: Found = (false, Verdict::Healthy, None);
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

    /// What is held after so many of each, of as many hosts.
    fn after(total: usize, found: &[(usize, Found)]) -> Held {
        let hosts = hosts(total);
        let mut suspicion = Suspicion::of(hosts.iter().map(String::as_str));
        let found = found.iter().flat_map(|(count, found)| std::iter::repeat_n(*found, *count));
        for (host, found) in hosts.iter().zip(found) {
            note(&mut suspicion, host, found);
        }
        suspicion.held()
    }

    #[test]
    fn most_hosts_at_once_are_suspect() {
        for (total, found, expected) in [
            (0, &[][..], Held::Clear),
            (4, &[], Held::Clear),
            (4, &[(4, LOST)], Held::Clear),
            (5, &[], Held::Wait),
            (5, &[(4, LOST)], Held::Wait),
            (5, &[(5, LOST)], Held::Suspect),
            (5, &[(1, WELL)], Held::Clear),
            (50, &[(20, WELL)], Held::Wait),
            (50, &[(21, WELL)], Held::Clear),
            (50, &[(29, LOST)], Held::Wait),
            (50, &[(30, LOST)], Held::Suspect),
            (50, &[(21, WELL), (29, LOST)], Held::Clear),
            // What answers something was reached.
            (50, &[(21, REFUSED), (29, LOST)], Held::Clear),
            (50, &[(21, SLOW), (29, LOST)], Held::Clear),
            // A name server that says that there is no such name was reached, one that says nothing was not.
            (50, &[(21, NO_SUCH_NAME), (29, LOST)], Held::Clear),
            (50, &[(50, NO_SUCH_NAME)], Held::Clear),
            (50, &[(21, NAME_UNKNOWN), (9, LOST)], Held::Suspect),
            // What was failing before, or could not be asked, says nothing.
            (50, &[(45, LOST_BEFORE), (5, LOST)], Held::Suspect),
            (50, &[(46, LOST_BEFORE), (4, LOST)], Held::Clear),
            (50, &[(45, BLOCKED), (5, LOST)], Held::Suspect),
            (50, &[(45, MISCONFIGURED), (5, LOST)], Held::Suspect),
            (50, &[(50, LOST_BEFORE)], Held::Clear),
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
        assert_eq!(suspicion.held(), Held::Wait);
        for host in &hosts(5)[1..] {
            note(&mut suspicion, host, LOST_BEFORE);
        }
        assert_eq!(suspicion.held(), Held::Wait);
        let mut lost = suspicion.clone();
        note(&mut suspicion, &hosts(1)[0], WELL);
        assert_eq!(suspicion.held(), Held::Clear);
        note(&mut lost, &hosts(1)[0], LOST);
        assert_eq!(lost.held(), Held::Suspect);
    }

    #[test]
    fn fifty_services_of_one_host_are_one_host() {
        let mut suspicion = Suspicion::of(vec!["db.example"; 50]);
        for _ in 0..50 {
            note(&mut suspicion, "db.example", LOST);
        }
        note(&mut suspicion, "unknown.example", LOST);
        assert_eq!(suspicion.held(), Held::Clear);
    }

    fn found() -> impl Strategy<Value = Found> {
        prop_oneof![2 => Just(WELL), 5 => Just(LOST), 1 => Just(LOST_BEFORE), 1 => Just(REFUSED), 1 => Just(BLOCKED)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn what_is_said_is_final(run in prop::collection::vec((0..30_usize, found()), 0..60)) {
            let names = hosts(30);
            let mut suspicion = Suspicion::of(run.iter().map(|(host, _)| names[*host].as_str()));
            let mut said = suspicion.held();
            for (host, found) in &run {
                note(&mut suspicion, &names[*host], *found);
                let now = suspicion.held();
                prop_assert!(said == Held::Wait || said == now, "{said:?}, and then {now:?}");
                said = now;
            }
            prop_assert!(said != Held::Wait, "nothing is left to wait for");

            // Beside a count of the whole run.
            let of = |host: usize| run.iter().filter(move |(of, _)| *of == host).map(|(_, found)| *found);
            let reached = |host: &usize| of(*host).any(|found| found == WELL || found == REFUSED);
            let lost = (0..30).filter(|host| !reached(host) && of(*host).any(|found| found == LOST)).count();
            let reached = (0..30).filter(reached).count();
            prop_assert_eq!(said == Held::Suspect, lost >= 5 && lost * 10 >= (lost + reached) * 6);
        }
    }
}
