//! Durations of the phases, hop by hop. What is recorded stays when an attempt is cut off at its deadline.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

/// A phase of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Name resolution.
    Dns,
    /// The connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the request's first byte to the head of the answer.
    FirstByte,
    /// The body, if it is read.
    Transfer,
}

/// The duration of each phase; none = not reached or not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// Name resolution.
    pub dns: Option<Duration>,
    /// The connection.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// The head of the answer.
    pub first_byte: Option<Duration>,
    /// The body.
    pub transfer: Option<Duration>,
}

impl Phases {
    /// As JSON: milliseconds with one decimal.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let steps = [
            ("dns", self.dns),
            ("connect", self.connect),
            ("tls", self.tls),
            ("first_byte", self.first_byte),
            ("transfer", self.transfer),
        ];
        let known = steps.into_iter().filter_map(|(name, took)| Some((name.to_owned(), milliseconds(took?))));
        Value::Object(Map::from_iter(known))
    }

    fn slot(&mut self, phase: Phase) -> &mut Option<Duration> {
        match phase {
            Phase::Dns => &mut self.dns,
            Phase::Connect => &mut self.connect,
            Phase::Tls => &mut self.tls,
            Phase::FirstByte => &mut self.first_byte,
            Phase::Transfer => &mut self.transfer,
        }
    }
}

/// Milliseconds with at most one decimal.
fn milliseconds(took: Duration) -> Value {
    let tenths = u64::try_from(took.as_micros() / 100).unwrap_or(u64::MAX);
    if tenths.is_multiple_of(10) {
        return Value::from(tenths / 10);
    }
    // Exact up to 2^53 tenths of a millisecond.
    #[expect(clippy::cast_precision_loss, reason = "no check lasts 28,000 years")]
    Value::from(tenths as f64 / 10.0)
}

/// One requested target: the service itself, or where it redirected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Its address, without user, password and query.
    pub url: String,
    /// The address that answered.
    pub address: Option<IpAddr>,
    /// The status of the answer.
    pub status: Option<u16>,
    /// The duration of each phase.
    pub phases: Phases,
}

/// Records the hops and phases of an attempt.
#[derive(Debug, Default)]
pub struct Trace {
    hops: Vec<Hop>,
    running: Option<(Phase, Instant)>,
}

impl Trace {
    /// Starts another hop.
    pub fn hop(&mut self, url: String) {
        self.stop();
        self.hops.push(Hop { url, address: None, status: None, phases: Phases::default() });
    }

    /// The current hop, if there is one.
    pub fn last(&mut self) -> Option<&mut Hop> {
        self.hops.last_mut()
    }

    /// Starts a phase and ends the one before.
    pub fn start(&mut self, phase: Phase) {
        self.stop();
        self.running = Some((phase, Instant::now()));
    }

    /// Ends the current phase. A failed phase counts up to here.
    pub fn stop(&mut self) {
        if let (Some((phase, started)), Some(hop)) = (self.running.take(), self.hops.last_mut()) {
            let slot = hop.phases.slot(phase);
            *slot = Some(slot.unwrap_or_default() + started.elapsed());
        }
    }

    /// All hops, in order.
    #[must_use]
    pub fn into_hops(mut self) -> Vec<Hop> {
        self.stop();
        self.hops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_phases_are_written_in_milliseconds() {
        let phases = Phases {
            dns: Some(Duration::from_micros(1_260)),
            connect: Some(Duration::from_millis(3)),
            ..Phases::default()
        };
        assert_eq!(phases.to_json().to_string(), r#"{"connect":3,"dns":1.2}"#);
    }

    #[test]
    fn a_phase_that_is_cut_off_counts_and_later_ones_are_unknown() {
        let mut trace = Trace::default();
        trace.hop("https://x.example/".into());
        trace.start(Phase::Dns);
        trace.start(Phase::Connect);
        let hops = trace.into_hops();
        assert!(hops[0].phases.dns.is_some() && hops[0].phases.connect.is_some());
        assert_eq!(hops[0].phases.tls, None);
    }
}
