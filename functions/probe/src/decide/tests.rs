//! Histories and what comes of them. `H`, `D` and `F` are healthy, degraded and failed runs; in small letters, during
//! maintenance. Of an outage: `-` none, `O` opens, `L` lasts, `E` ends; of "not well": `-`, `B` begins, `L`, `E`.

use chrono::TimeDelta;
use shared::model::{Service, ServiceSpec};
use uuid::Uuid;

use super::*;

pub(crate) fn service(state: ServiceState) -> Service {
    Service {
        id: Uuid::from_u128(1),
        spec: ServiceSpec {
            application: "shop".into(),
            ..ServiceSpec::http("backend", "production", "http://localhost/health")
        },
        standing: Standing { state, ..Standing::NEW },
    }
}

pub(super) fn minute(minute: usize) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(i64::try_from(minute).unwrap())
}

pub(super) fn thresholds(failure_threshold: u32, recovery_threshold: u32) -> AlertPolicy {
    AlertPolicy { failure_threshold, recovery_threshold, ..AlertPolicy::default() }
}

fn decisions(policy: &AlertPolicy, history: &str) -> Vec<Decision> {
    let mut standing = Standing::NEW;
    let decide_one = |(index, run): (usize, char)| {
        let verdict = match run.to_ascii_uppercase() {
            'H' => Verdict::Healthy,
            'D' => Verdict::Degraded,
            _ => Verdict::Failed,
        };
        let around = Around { at: minute(index), maintenance: run.is_ascii_lowercase(), parents: Parents::Fine };
        let decision = decide(&standing, policy, verdict, &around);
        standing = decision.after.clone();
        decision
    };
    history.chars().enumerate().map(decide_one).collect()
}

fn outages(policy: &AlertPolicy, history: &str) -> String {
    let letter = |decision: &Decision| match decision.outage {
        Outage::None => '-',
        Outage::Opens => 'O',
        Outage::Lasts => 'L',
        Outage::Ends => 'E',
    };
    decisions(policy, history).iter().map(letter).collect()
}

fn unwell(policy: &AlertPolicy, history: &str) -> String {
    let letter = |decision: &Decision| match decision.unwell {
        Unwell::None => '-',
        Unwell::Begins => 'B',
        Unwell::Lasts => 'L',
        Unwell::Ends => 'E',
    };
    decisions(policy, history).iter().map(letter).collect()
}

fn states(policy: &AlertPolicy, history: &str) -> String {
    let letter = |decision: &Decision| match decision.after.state {
        ServiceState::Healthy => 'h',
        ServiceState::Degraded => 'd',
        ServiceState::Down => 'x',
        ServiceState::Unknown => '?',
    };
    decisions(policy, history).iter().map(letter).collect()
}

#[test]
fn an_outage_opens_at_the_threshold_and_ends_after_the_recovery() {
    for (policy, history, expected) in [
        (thresholds(1, 2), "HHH", "---"),
        (thresholds(1, 2), "F", "O"),
        (thresholds(1, 2), "HFH", "-OL"),
        (thresholds(1, 2), "HFHHH", "-OLE-"),
        // A single good run is no recovery.
        (thresholds(1, 2), "FHFHH", "OLLLE"),
        // Slow is not failed.
        (thresholds(1, 2), "FDH", "OLE"),
        (thresholds(1, 2), "FHD", "OLE"),
        (thresholds(1, 1), "FHFH", "OEOE"),
        (thresholds(3, 2), "HFFHFFH", "-------"),
        (thresholds(3, 2), "HFFFFHH", "---OLLE"),
        (thresholds(3, 2), "FFFHFHH", "--OLLLE"),
        (thresholds(1, 4), "FHHHFHHHH", "OLLLLLLLE"),
        // Nonsense that a hand may have written into the table.
        (thresholds(0, 0), "HFH", "-OE"),
    ] {
        assert_eq!(outages(&policy, history), expected, "{history} with {policy:?}");
    }
}

#[test]
fn the_state_follows_what_is_confirmed() {
    for (policy, history, expected) in [
        (thresholds(1, 2), "H", "h"),
        (thresholds(1, 2), "FHH", "xxh"),
        // Nothing is confirmed yet.
        (thresholds(3, 2), "FFF", "??x"),
        (thresholds(3, 2), "HFFF", "hhhx"),
        (thresholds(1, 2), "D", "h"),
        (thresholds(1, 2), "HDDH", "hhdh"),
        (thresholds(3, 2), "HDDDH", "hhhdh"),
        // From down it goes to what it is then.
        (thresholds(1, 2), "FDD", "xxd"),
        (thresholds(1, 2), "FHD", "xxh"),
        // A failure that is not confirmed leaves it not well.
        (thresholds(2, 2), "DDFD", "hddd"),
        (thresholds(2, 2), "DDFFHH", "hddxxh"),
    ] {
        assert_eq!(states(&policy, history), expected, "{history} with {policy:?}");
    }
}

#[test]
fn it_is_not_well_after_two_runs_at_least_and_until_a_healthy_one() {
    for (policy, history, expected) in [
        (thresholds(1, 2), "HDH", "---"),
        (thresholds(1, 2), "DHDHD", "-----"),
        (thresholds(1, 2), "HDDDH", "--BLE"),
        (thresholds(3, 2), "DDDDH", "--BLE"),
        // Going down is no end of it, and one good run while it is down is none either.
        (thresholds(1, 2), "DDFFHH", "-BLLLE"),
        (thresholds(1, 2), "DDFHDH", "-BLLLE"),
        (thresholds(1, 2), "FDDH", "--BE"),
    ] {
        assert_eq!(unwell(&policy, history), expected, "{history} with {policy:?}");
    }
}

#[test]
fn what_is_held_begins_when_the_hold_is_over() {
    for (history, expected) in [
        ("HfffH", "-----"),
        ("HffhhH", "------"),
        // Still down afterwards: told with the next failed run.
        ("HffFHH", "---OLE"),
        // A good run first: that is no failure to tell of, and the second ends it quietly.
        ("HffHH", "-----"),
        ("HffHF", "----O"),
        // Told before: goes on, and ends within the hold.
        ("FfffF", "OLLLL"),
        ("FfhhH", "OLLE-"),
    ] {
        assert_eq!(outages(&thresholds(1, 2), history), expected, "{history}");
    }
    assert_eq!(outages(&thresholds(3, 2), "hfffHFFF"), "-------O", "the threshold is met outside of the hold");
    assert_eq!(unwell(&thresholds(1, 2), "hdddDH"), "----BE");
    assert_eq!(unwell(&thresholds(1, 2), "DDdhH"), "-BLE-");
    assert_eq!(states(&thresholds(1, 2), "hffhhdd"), "hxxxhhd");
}

#[test]
fn what_flaps_is_one_outage() {
    let policy = thresholds(1, 2);
    // The fourth change comes with the first good run after the second failure.
    assert_eq!(outages(&policy, "HFHHFHHFHHFHH"), "-OLEOLLLLLLLL");
    // Ten good runs in a row are an end.
    assert_eq!(outages(&policy, "HFHHFHHHHHHHHHHH"), "-OLEOLLLLLLLLLE-");
    // What was before that is forgotten: another failure is a first one.
    assert_eq!(outages(&policy, "HFHHFHHHHHHHHHHHFHH"), "-OLEOLLLLLLLLLE-OLE");
    // Ten failed runs in a row are no flapping either, but an outage like others.
    assert_eq!(outages(&policy, "HFHFHFFFFFFFFFFHH"), "-OLLLLLLLLLLLLLLE");
    // One that needs more good runs than those is over no sooner.
    let slow = thresholds(1, 12);
    assert_eq!(outages(&slow, "HFHFHHHHHHHHHHHHH"), "-OLLLLLLLLLLLLLE-");
}

#[test]
fn blips_that_make_it_flap_still_page_nobody() {
    let policy = thresholds(3, 2);
    let decisions = decisions(&policy, "HFHFFHFFHFH");
    assert!(decisions.iter().all(|decision| decision.outage == Outage::None));
    assert!(decisions.last().unwrap().after.flapping);
}

#[test]
fn restarts_in_a_maintenance_window_are_no_flapping() {
    let decisions = decisions(&thresholds(1, 2), "Hfhfhfhfhfhh");
    assert!(decisions.iter().all(|decision| !decision.after.flapping));
    assert_eq!(decisions.last().unwrap().after.state, ServiceState::Healthy);
}

#[test]
fn the_outage_began_with_the_first_failed_run() {
    let since = |policy: &AlertPolicy, history: &str| decisions(policy, history).last().unwrap().after.failing_since;
    assert_eq!(since(&thresholds(3, 2), "HF"), Some(minute(1)));
    assert_eq!(since(&thresholds(3, 2), "HFH"), None);
    assert_eq!(since(&thresholds(3, 2), "HFHFFF"), Some(minute(3)));
    assert_eq!(since(&thresholds(1, 2), "HFHF"), Some(minute(1)), "a single good run is no end");
    assert_eq!(since(&thresholds(1, 2), "HfffF"), Some(minute(1)), "also when it was held");
    assert_eq!(since(&thresholds(1, 2), "HFHH"), None);
}

#[test]
fn who_holds_it_is_named() {
    let around = |maintenance, parents| Around { at: minute(0), maintenance, parents };
    for (around, expected) in [
        (around(false, Parents::Fine), None),
        (around(true, Parents::Fine), Some("maintenance")),
        (around(true, Parents::Down("db".into())), Some("maintenance")),
        (around(false, Parents::Down("db".into())), Some("parent db")),
        (around(false, Parents::Pending), Some("parents")),
    ] {
        let decision = decide(&Standing::NEW, &AlertPolicy::default(), Verdict::Failed, &around);
        assert_eq!(decision.held_by.as_deref(), expected);
        assert_eq!(decision.outage == Outage::Opens, expected.is_none());
        assert!(decision.changed);
        assert_eq!(decision.after.state_changed_at, Some(minute(0)));
    }
}
