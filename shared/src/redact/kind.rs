//! The kinds of secrets, and the words that replace them, so that a reader still sees what was there.

/// The kind of a redacted secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An e-mail address.
    Email,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A payment card's number.
    Card,
    /// A JSON Web Token.
    Jwt,
    /// A key or token that grants access.
    Token,
    /// A password.
    Password,
    /// A cookie.
    Cookie,
    /// A private key.
    PrivateKey,
    /// Anything else: a value under a secret name, a match of an operator's pattern.
    Other,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Email,
        Self::Ip,
        Self::Card,
        Self::Jwt,
        Self::Token,
        Self::Password,
        Self::Cookie,
        Self::PrivateKey,
        Self::Other,
    ];

    /// The word that replaces it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Email => "[email]",
            Self::Ip => "[ip]",
            Self::Card => "[card]",
            Self::Jwt => "[jwt]",
            Self::Token => "[token]",
            Self::Password => "[password]",
            Self::Cookie => "[cookie]",
            Self::PrivateKey => "[private_key]",
            Self::Other => "[redacted]",
        }
    }
}

/// Masks of SDKs and servers.
const OF_OTHERS: [&str; 4] = ["[Filtered]", "[filtered]", "[REDACTED]", "[FILTERED]"];

/// The length of one of our words, or of another mask, at the beginning of the text.
pub(super) fn word_at_start(text: &str) -> Option<usize> {
    if !text.starts_with('[') {
        return None;
    }
    let ours = Kind::ALL.iter().map(|kind| kind.word());
    ours.chain(OF_OTHERS).find(|word| text.starts_with(word)).map(str::len)
}

/// Whether this value is a mask as a whole.
pub(super) fn is_mask(text: &str) -> bool {
    word_at_start(text) == Some(text.len()) || text.bytes().all(|byte| byte == b'*')
}
