//! Categories: the part of the system that a classification names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The category of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Server code and APIs.
    Backend,
    /// Code in a browser.
    Frontend,
    /// A database or its driver.
    Database,
    /// Authentication, authorisation, abuse.
    Security,
    /// Networks, hosts, time-outs, failed health checks.
    Infrastructure,
    /// Not classified.
    Unknown,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 6] =
        [Self::Backend, Self::Frontend, Self::Database, Self::Security, Self::Infrastructure, Self::Unknown];

    /// The spelling in columns, answers and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Frontend => "frontend",
            Self::Database => "database",
            Self::Security => "security",
            Self::Infrastructure => "infrastructure",
            Self::Unknown => "unknown",
        }
    }

    /// The category of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == text)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
