//! Replaces `${PROBE_SECRET_…}` with that environment variable's value in what is sent.

use secrecy::{ExposeSecret as _, SecretString};
use shared::config::Secrets;
use shared::model::{CheckSettings, FailureReason};

use super::Failure;

/// Shorter values are not redacted in answers: they occur by chance.
const MIN_HIDDEN_BYTES: usize = 4;

/// The secret values that were sent, so that they can be redacted in answers.
#[derive(Debug, Default)]
pub(super) struct Sent {
    values: Vec<SecretString>,
}

impl Sent {
    /// The text with each reference replaced.
    ///
    /// # Errors
    /// Names the variable that is not set or may not be sent.
    pub(super) fn fill(&mut self, text: &str, secrets: &Secrets) -> Result<String, Failure> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or_else(|| misconfigured("\"${\" is not closed"))?;
            if !name.starts_with(CheckSettings::SECRET_PREFIX) {
                return Err(misconfigured(&format!("the variable {name} may not be sent")));
            }
            let value = secrets.get(name).ok_or_else(|| misconfigured(&format!("the variable {name} is not set")))?;
            filled.push_str(before);
            filled.push_str(value.expose_secret());
            self.values.push(value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// The text without any of the values.
    pub(super) fn hide(&self, mut text: String) -> String {
        for value in &self.values {
            let value = value.expose_secret();
            if value.len() >= MIN_HIDDEN_BYTES && text.contains(value) {
                text = text.replace(value, "[redacted]");
            }
        }
        text
    }
}

fn misconfigured(text: &str) -> Failure {
    Failure::new(FailureReason::Misconfigured, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets::from_lookup(|name| (name == "PROBE_SECRET_KEY").then(|| "s3cret-value".to_owned()))
    }

    #[test]
    fn references_are_replaced_and_their_values_hidden_again() {
        let mut sent = Sent::default();
        let filled = sent.fill("a ${PROBE_SECRET_KEY} b ${PROBE_SECRET_KEY}", &secrets()).unwrap();
        assert_eq!(filled, "a s3cret-value b s3cret-value");
        assert_eq!(sent.hide("you said s3cret-value".into()), "you said [redacted]");
    }

    #[test]
    fn a_variable_that_is_not_set_or_not_allowed_is_named() {
        for (text, named) in
            [("${PROBE_SECRET_NONE}", "PROBE_SECRET_NONE"), ("${DATABASE_URL}", "DATABASE_URL"), ("${x", "not closed")]
        {
            let failure = Sent::default().fill(text, &secrets()).unwrap_err();
            assert_eq!(failure.reason, FailureReason::Misconfigured);
            assert!(failure.text.contains(named), "{}", failure.text);
        }
    }
}
