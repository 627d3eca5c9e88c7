//! What a server answered, as tests read it.

use serde_json::Value;

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The JSON body; null when there is none.
    pub body: Value,
}

impl Answer {
    /// A text field of the body.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_else(|| panic!("no text {name:?} in {}", self.body))
    }

    /// The message of an error answer.
    #[must_use]
    pub fn error(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_else(|| panic!("no error in {}", self.body))
    }
}
