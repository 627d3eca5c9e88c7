//! The buttons of our Slack messages: `notify` draws them, `slack-actions` gets their clicks.

/// A button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Button {
    /// Acknowledges the incident or alert.
    Acknowledge,
    /// Resolves it.
    Resolve,
}

impl Button {
    /// Every button.
    pub const ALL: [Self; 2] = [Self::Acknowledge, Self::Resolve];

    /// Slack's `action_id`.
    #[must_use]
    pub fn action_id(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }

    /// What people read on it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Acknowledge => "Acknowledge",
            Self::Resolve => "Resolve",
        }
    }

    /// The button of exactly this `action_id`.
    #[must_use]
    pub fn parse(action_id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|button| button.action_id() == action_id)
    }
}
