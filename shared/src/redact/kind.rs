//! The words that stand where a secret stood: one for each kind, so that a reader still sees what was there.
//!
//! Users: every other file of `redact`.

/// What was taken out.
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
    /// A key or token that opens something.
    Token,
    /// A password.
    Password,
    /// A cookie.
    Cookie,
    /// A private key.
    PrivateKey,
    /// Anything else: a value under a key that looks secret, what an operator's pattern found.
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

    /// What is written in its place.
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

/// Masks that SDKs and servers put in before us.
const OF_OTHERS: [&str; 4] = ["[Filtered]", "[filtered]", "[REDACTED]", "[FILTERED]"];

/// Whether the text begins with one of our words, or another's mask; gives its length.
pub(super) fn word_at_start(text: &str) -> Option<usize> {
    if !text.starts_with('[') {
        return None;
    }
    let ours = Kind::ALL.iter().map(|kind| kind.word());
    ours.chain(OF_OTHERS).find(|word| text.starts_with(word)).map(str::len)
}

/// Whether nothing is left to take out of this value: it is a mask as a whole.
pub(super) fn is_mask(text: &str) -> bool {
    word_at_start(text) == Some(text.len()) || text.bytes().all(|byte| byte == b'*')
}
