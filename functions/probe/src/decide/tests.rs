//! Histories and their decisions. `H`, `D` and `F` are healthy, degraded and failed runs; in small letters, during
//! maintenance. Outage: `-` none, `O` opens, `L` lasts, `E` ends; degraded alert: `-`, `B` begins, `L`, `E`.

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

fn degraded_alerts(policy: &AlertPolicy, history: &str) -> String {
    let letter = |decision: &Decision| match decision.degraded_alert {
        DegradedAlert::None => '-',
        DegradedAlert::Begins => 'B',
        DegradedAlert::Lasts => 'L',
        DegradedAlert::Ends => 'E',
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
        // A single passed run is no recovery.
        (thresholds(1, 2), "FHFHH", "OLLLE"),
        // Degraded is not failed.
        (thresholds(1, 2), "FDH", "OLE"),
        (thresholds(1, 2), "FHD", "OLE"),
        (thresholds(1, 1), "FHFH", "OEOE"),
        (thresholds(3, 2), "HFFHFFH", "-------"),
        (thresholds(3, 2), "HFFFFHH", "---OLLE"),
        (thresholds(3, 2), "FFFHFHH", "--OLLLE"),
        (thresholds(1, 4), "FHHHFHHHH", "OLLLLLLLE"),
        // Invalid thresholds from a manual change of the table.
        (thresholds(0, 0), "HFH", "-OE"),
    ] {
        assert_eq!(outages(&policy, history), expected, "{history} with {policy:?}");
    }
}

#[test]
fn the_state_follows_confirmed_verdicts() {
    for (policy, history, expected) in [
        (thresholds(1, 2), "H", "h"),
        (thresholds(1, 2), "FHH", "xxh"),
        // Nothing is confirmed yet.
        (thresholds(3, 2), "FFF", "??x"),
        (thresholds(3, 2), "HFFF", "hhhx"),
        (thresholds(1, 2), "D", "h"),
        (thresholds(1, 2), "HDDH", "hhdh"),
        (thresholds(3, 2), "HDDDH", "hhhdh"),
        // From down, the state follows the verdict after the recovery.
        (thresholds(1, 2), "FDD", "xxd"),
        (thresholds(1, 2), "FHD", "xxh"),
        // An unconfirmed failure leaves it degraded.
        (thresholds(2, 2), "DDFD", "hddd"),
        (thresholds(2, 2), "DDFFHH", "hddxxh"),
    ] {
        assert_eq!(states(&policy, history), expected, "{history} with {policy:?}");
    }
}

#[test]
fn it_is_degraded_after_at_least_two_runs_and_until_a_healthy_one() {
    for (policy, history, expected) in [
        (thresholds(1, 2), "HDH", "---"),
        (thresholds(1, 2), "DHDHD", "-----"),
        (thresholds(1, 2), "HDDDH", "--BLE"),
        (thresholds(3, 2), "DDDDH", "--BLE"),
        // Neither going down nor one healthy run while it is down ends it.
        (thresholds(1, 2), "DDFFHH", "-BLLLE"),
        (thresholds(1, 2), "DDFHDH", "-BLLLE"),
        (thresholds(1, 2), "FDDH", "--BE"),
    ] {
        assert_eq!(degraded_alerts(&policy, history), expected, "{history} with {policy:?}");
    }
}

#[test]
fn a_suppressed_outage_opens_after_the_suppression() {
    for (history, expected) in [
        ("HfffH", "-----"),
        ("HffhhH", "------"),
        // Still down afterwards: the next failed run opens it.
        ("HffFHH", "---OLE"),
        // A passed run opens nothing, and the second ends the outage silently.
        ("HffHH", "-----"),
        ("HffHF", "----O"),
        // Opened before: continues, and may end during the suppression.
        ("FfffF", "OLLLL"),
        ("FfhhH", "OLLE-"),
    ] {
        assert_eq!(outages(&thresholds(1, 2), history), expected, "{history}");
    }
    assert_eq!(outages(&thresholds(3, 2), "hfffHFFF"), "-------O", "the threshold is reached after the suppression");
    assert_eq!(degraded_alerts(&thresholds(1, 2), "hdddDH"), "----BE");
    assert_eq!(degraded_alerts(&thresholds(1, 2), "DDdhH"), "-BLE-");
    assert_eq!(states(&thresholds(1, 2), "hffhhdd"), "hxxxhhd");
}

#[test]
fn flapping_is_one_outage() {
    let policy = thresholds(1, 2);
    // The fourth change is the first passed run after the second failure.
    assert_eq!(outages(&policy, "HFHHFHHFHHFHH"), "-OLEOLLLLLLLL");
    // Ten passed runs in a row end it.
    assert_eq!(outages(&policy, "HFHHFHHHHHHHHHHH"), "-OLEOLLLLLLLLLE-");
    // Older changes are forgotten: the next failure is a new outage.
    assert_eq!(outages(&policy, "HFHHFHHHHHHHHHHHFHH"), "-OLEOLLLLLLLLLE-OLE");
    // Ten failed runs in a row end the flapping: it is a usual outage.
    assert_eq!(outages(&policy, "HFHFHFFFFFFFFFFHH"), "-OLLLLLLLLLLLLLLE");
    // A recovery threshold above ten still applies.
    let slow = thresholds(1, 12);
    assert_eq!(outages(&slow, "HFHFHHHHHHHHHHHHH"), "-OLLLLLLLLLLLLLE-");
}

#[test]
fn blips_below_the_threshold_page_no_one_even_when_flapping() {
    let policy = thresholds(3, 2);
    let decisions = decisions(&policy, "HFHFFHFFHFH");
    assert!(decisions.iter().all(|decision| decision.outage == Outage::None));
    assert!(decisions.last().unwrap().after.flapping);
}

#[test]
fn restarts_in_a_maintenance_window_do_not_count_as_flapping() {
    let decisions = decisions(&thresholds(1, 2), "Hfhfhfhfhfhh");
    assert!(decisions.iter().all(|decision| !decision.after.flapping));
    assert_eq!(decisions.last().unwrap().after.state, ServiceState::Healthy);
}

#[test]
fn failing_since_is_the_first_failed_run() {
    let since = |policy: &AlertPolicy, history: &str| decisions(policy, history).last().unwrap().after.failing_since;
    assert_eq!(since(&thresholds(3, 2), "HF"), Some(minute(1)));
    assert_eq!(since(&thresholds(3, 2), "HFH"), None);
    assert_eq!(since(&thresholds(3, 2), "HFHFFF"), Some(minute(3)));
    assert_eq!(since(&thresholds(1, 2), "HFHF"), Some(minute(1)), "a single passed run is no recovery");
    assert_eq!(since(&thresholds(1, 2), "HfffF"), Some(minute(1)), "also when it was suppressed");
    assert_eq!(since(&thresholds(1, 2), "HFHH"), None);
}

#[test]
fn the_reason_of_the_suppression_is_named() {
    let around = |maintenance, parents| Around { at: minute(0), maintenance, parents };
    for (around, expected) in [
        (around(false, Parents::Fine), None),
        (around(true, Parents::Fine), Some("maintenance")),
        (around(true, Parents::Down("db".into())), Some("maintenance")),
        (around(false, Parents::Down("db".into())), Some("parent db")),
        (around(false, Parents::Pending), Some("parents")),
    ] {
        let decision = decide(&Standing::NEW, &AlertPolicy::default(), Verdict::Failed, &around);
        assert_eq!(decision.suppressed_by.as_deref(), expected);
        assert_eq!(decision.outage == Outage::Opens, expected.is_none());
        assert!(decision.changed);
        assert_eq!(decision.after.state_changed_at, Some(minute(0)));
    }
}
