//! The subject of a notification: an incident, or an alert that belongs to none.
//!
//! Users: `notify`, `admin`, `slack-actions`, `pagerduty-events`, `cli`; the rows of `notification_members`.

use std::fmt;

use uuid::Uuid;

use super::IncidentId;

/// The subject of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An incident, and the alerts that belong to it.
    Incident(IncidentId),
    /// An alert.
    Alert(Uuid),
}

impl Subject {
    /// The length of the column of incident ids.
    const ID_CHARS: usize = 50;

    /// Parses `incident:INC-…` or `alert:UUID`, or the id alone: an id that is no UUID is an incident's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(id) = text.strip_prefix("alert:") {
            return Uuid::try_parse(id).ok().map(Self::Alert);
        }
        match text.strip_prefix("incident:") {
            Some(id) => incident(id),
            None => Uuid::try_parse(text).ok().map(Self::Alert).or_else(|| incident(text)),
        }
    }
}

fn incident(id: &str) -> Option<Subject> {
    let is_plain = |letter: char| !letter.is_control() && !letter.is_whitespace();
    let is_id = !id.is_empty() && id.chars().count() <= Subject::ID_CHARS && id.chars().all(is_plain);
    is_id.then(|| Subject::Incident(IncidentId::from_stored(id.to_owned())))
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incident(id) => write!(formatter, "incident:{id}"),
            Self::Alert(id) => write!(formatter, "alert:{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT: &str = "0192f6a1-7e57-7c3e-9d5b-0c9b3a1f0001";

    #[test]
    fn a_subject_is_parsed_with_and_without_its_prefix() {
        for (text, written) in [
            ("incident:INC-MWTIGJFU-L1J3P9C2", "incident:INC-MWTIGJFU-L1J3P9C2"),
            ("INC-MWTIGJFU-L1J3P9C2", "incident:INC-MWTIGJFU-L1J3P9C2"),
            (&format!("alert:{ALERT}"), &format!("alert:{ALERT}")),
            (ALERT, &format!("alert:{ALERT}")),
        ] {
            let subject = Subject::parse(text).unwrap();
            assert_eq!(subject.to_string(), written);
            assert_eq!(Subject::parse(written), Some(subject));
        }
    }

    #[test]
    fn an_invalid_id_is_refused() {
        let long = "I".repeat(51);
        for text in ["", "incident:", "alert:", "alert:INC-1", "INC 1", "INC-\0", "INC-\n1", &long] {
            assert_eq!(Subject::parse(text), None, "{text:?}");
        }
    }
}
