//! Names whose values are secrets: `password`, `api_key`, `X-Auth-Token`, `sessionId`, …
//!
//! A name is split into words in any style (camel, snake, kebab, joined). A word after the secret word can make it
//! harmless (`token_count`, `password_changed_at`, `InvalidTokenError`), and so can the word before it (`page_token`,
//! `PublicKeyToken`). With other words around it, the name counts as secret.
//!
//! Users: `json` (objects' keys), `assignment` (names in text).

use super::kind::Kind;

/// What a name indicates about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Secret {
    /// The word that replaces the value.
    pub(super) kind: Kind,
    /// The certainty.
    pub(super) strength: Strength,
}

/// How certain it is that a name's value is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// Any value is secret.
    Strong,
    /// A plural that may be a count (`tokens: 512`): numbers stay.
    Counted,
    /// A word with other meanings (`session`, `pass`): numbers stay, and in prose only values that look like ids are
    /// redacted.
    Weak,
}

/// Only the last bytes of a name are read.
const LONGEST: usize = 80;
/// After this many words the first ones are dropped.
const WORDS: usize = 16;

/// Whether the value under this name is redacted, and as what.
pub(super) fn secret(name: &str) -> Option<Secret> {
    // The end of a .NET assembly's name.
    if name.len() < 2 || name == "PublicKeyToken" {
        return None;
    }
    let words = Words::of(name);
    for index in (0..words.count).rev() {
        let word = words.get(index);
        let before = if index == 0 { &[][..] } else { words.get(index - 1) };
        let Some((kind, strength)) = stem(word).or_else(|| phrase(before, word)) else { continue };
        let follows = (index + 1..words.count).map(|later| words.get(later));
        if denies_before(before) || follows.clone().any(denies_after) {
            return None;
        }
        // The id of a key is public by design (`access_key_id`); ids of sessions and secrets are not.
        let is_key_id = word.ends_with(b"key") && follows.clone().any(|later| later == b"id");
        // Also with words between, as in `session_id`: an id that grants access.
        let strength = match strength {
            Strength::Weak if follows.clone().any(|later| matches!(later, b"id" | b"key" | b"token")) => {
                Strength::Strong
            }
            given => given,
        };
        return (!is_key_id).then_some(Secret { kind, strength });
    }
    None
}

/// Whether the name is of a version, which looks like an address (`1.2.3.4`).
pub(super) fn names_version(name: &str) -> bool {
    const ENDS: [&str; 7] = ["version", "versions", "release", "build", "modules", "packages", "dependencies"];
    let last = name.bytes().next_back().unwrap_or_default();
    matches!(last | 0x20, b'n' | b's' | b'e' | b'd')
        && ENDS.iter().any(|word| ends_with_ignoring_case(name.as_bytes(), word.as_bytes()))
}

/// Whether the text ends with this lower-case word, in any case.
pub(super) fn ends_with_ignoring_case(text: &[u8], word: &[u8]) -> bool {
    text.len() >= word.len() && text[text.len() - word.len()..].eq_ignore_ascii_case(word)
}

/// A name's words in lower case.
struct Words {
    letters: [u8; LONGEST],
    starts: [u8; WORDS],
    ends: [u8; WORDS],
    count: usize,
}

impl Words {
    fn of(name: &str) -> Self {
        let name = name.as_bytes();
        let name = &name[name.len().saturating_sub(LONGEST)..];
        let mut words = Self { letters: [0; LONGEST], starts: [0; WORDS], ends: [0; WORDS], count: 0 };
        let (mut length, mut inside) = (0_u8, false);
        for (index, &byte) in name.iter().enumerate() {
            if !(byte.is_ascii_alphanumeric() || byte >= 0x80) {
                inside = false;
                continue;
            }
            if !inside || begins_word(name, index) {
                if words.count == WORDS {
                    words.count = 0;
                }
                words.starts[words.count] = length;
                words.count += 1;
                inside = true;
            }
            words.letters[usize::from(length)] = byte.to_ascii_lowercase();
            length += 1;
            words.ends[words.count - 1] = length;
        }
        words
    }

    /// The word, without the digits at its end (`password2`).
    fn get(&self, index: usize) -> &[u8] {
        let word = &self.letters[usize::from(self.starts[index])..usize::from(self.ends[index])];
        let digits = word.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        &word[..word.len() - digits]
    }
}

/// Camel case: `apiKey`, `APIKey`.
fn begins_word(name: &[u8], index: usize) -> bool {
    if index == 0 || !name[index].is_ascii_uppercase() {
        return false;
    }
    let before = name[index - 1];
    let lower_follows = name.get(index + 1).is_some_and(u8::is_ascii_lowercase);
    before.is_ascii_lowercase() || before.is_ascii_digit() || (before.is_ascii_uppercase() && lower_follows)
}

/// A word that marks a secret on its own.
fn stem(word: &[u8]) -> Option<(Kind, Strength)> {
    use Strength::{Counted, Strong, Weak};
    let found = match word {
        b"pwd" | b"passwd" | b"pw" | b"passwort" => (Kind::Password, Strong),
        b"pass" => (Kind::Password, Weak),
        b"token" | b"secret" | b"secrets" | b"bearer" | b"csrf" | b"xsrf" | b"sessid" => (Kind::Token, Strong),
        b"tokens" => (Kind::Token, Counted),
        b"auth" | b"session" | b"sessions" | b"sid" => (Kind::Token, Weak),
        b"jwt" | b"jwts" => (Kind::Jwt, Strong),
        b"creds" | b"cred" | b"ssn" | b"iban" | b"cvv" | b"cvc" | b"csc" | b"pin" | b"otp" | b"totp" | b"mnemonic" => {
            (Kind::Other, Strong)
        }
        _ if word.len() >= 6 => return joined(word),
        _ => return None,
    };
    Some(found)
}

/// A secret word joined with others (`csrfmiddlewaretoken`, `PGPASSWORD`, `jsessionid`).
fn joined(word: &[u8]) -> Option<(Kind, Strength)> {
    use Strength::{Counted, Strong};
    for (index, byte) in word.iter().enumerate() {
        let rest = &word[index..];
        let is = |start: &[u8]| rest.starts_with(start);
        let kind = match byte {
            b'p' if is(b"password") || is(b"passwd") || is(b"passphrase") || is(b"passcode") => Kind::Password,
            b'p' if rest == b"pwd" => Kind::Password,
            b'p' if is(b"privatekey") => Kind::PrivateKey,
            b's' if is(b"secret") && !is(b"secretar") => Kind::Token,
            b's' if is(b"sessionid") || is(b"sessid") || is(b"sessionkey") || is(b"signingkey") => Kind::Token,
            b'a' if is(b"apikey") || is(b"accesskey") || is(b"authkey") || is(b"accountkey") => Kind::Token,
            b'a' if is(b"authorization") || is(b"authorisation") => Kind::Token,
            b'e' if is(b"encryptionkey") => Kind::Token,
            b'm' if is(b"masterkey") => Kind::Token,
            b'c' if is(b"credential") || is(b"cardnumber") || is(b"creditcard") => Kind::Other,
            b'c' if is(b"cookie") => Kind::Cookie,
            b'c' if is(b"csrf") => Kind::Token,
            b't' if rest == b"token" => Kind::Token,
            b't' if rest == b"tokens" => return Some((Kind::Token, Counted)),
            _ => continue,
        };
        return Some((kind, Strong));
    }
    None
}

/// Two words that mark a secret together.
fn phrase(before: &[u8], word: &[u8]) -> Option<(Kind, Strength)> {
    let kind = match (before, word) {
        (b"private", b"key" | b"keys") => Kind::PrivateKey,
        (
            b"api" | b"access" | b"encryption" | b"signing" | b"master" | b"account" | b"shared" | b"storage" | b"auth"
            | b"license" | b"ssh" | b"deploy" | b"webhook" | b"service" | b"role" | b"function" | b"app" | b"write",
            b"key" | b"keys",
        ) => Kind::Token,
        (b"card" | b"account" | b"routing" | b"passport" | b"security" | b"insurance", b"number" | b"no" | b"nr")
        | (b"credit" | b"debit", b"card")
        | (b"social", b"security")
        | (b"security" | b"verification" | b"recovery" | b"backup" | b"access" | b"mfa", b"code" | b"codes")
        | (b"seed", b"phrase") => Kind::Other,
        _ => return None,
    };
    Some((kind, Strength::Strong))
}

/// Words before a secret word that make it harmless.
fn denies_before(word: &[u8]) -> bool {
    matches!(
        word,
        b"invalid"
            | b"bad"
            | b"missing"
            | b"expired"
            | b"unexpected"
            | b"illegal"
            | b"wrong"
            | b"page"
            | b"no"
            | b"cancellation"
            | b"continuation"
            | b"has"
            | b"is"
            | b"public"
            | b"unknown"
            | b"duplicate"
    )
}

/// Words after a secret word: the name is about the secret, not the secret.
#[rustfmt::skip]
fn denies_after(word: &[u8]) -> bool {
    matches!(
        word,
        b"count" | b"counts" | b"counter" | b"type" | b"types" | b"length" | b"len" | b"size" | b"expires" | b"expiry"
            | b"expiration" | b"expired" | b"at" | b"in" | b"ttl" | b"age" | b"name" | b"names" | b"url" | b"uri"
            | b"endpoint" | b"path" | b"policy" | b"enabled" | b"disabled" | b"required" | b"valid" | b"invalid"
            | b"present" | b"missing" | b"exists" | b"changed" | b"created" | b"updated" | b"status" | b"state"
            | b"strength" | b"attempts" | b"limit" | b"limits" | b"budget" | b"usage" | b"used" | b"max" | b"min"
            | b"index" | b"version" | b"algorithm" | b"alg" | b"scope" | b"scopes" | b"error" | b"errors" | b"mode"
            | b"exception" | b"failure" | b"failed" | b"mismatch" | b"found" | b"domain" | b"secure" | b"provider"
            | b"manager" | b"service" | b"class" | b"format" | b"prefix" | b"regex" | b"pattern" | b"duration"
            | b"timeout" | b"handler" | b"middleware" | b"factory" | b"filter" | b"source" | b"store" | b"backend"
            | b"request" | b"view" | b"controller" | b"validator" | b"warning" | b"per" | b"rate" | b"cost" | b"total"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const SECRET: &[&str] = &[
        "password", "PASSWORD", "Passwd", "user_password", "userPassword", "password2", "passwordConfirmation",
        "PGPASSWORD", "MYSQL_PWD", "db_pass", "passphrase", "secret", "client_secret", "clientSecret",
        "SECRET_KEY_BASE", "aws_secret_access_key", "api_key", "apiKey", "APIKey", "apikey", "X-Api-Key", "api-key",
        "access_token", "accessToken", "refreshtoken", "id_token", "csrfmiddlewaretoken", "X-CSRFToken", "token",
        "tokens", "authorization", "Proxy-Authorization", "credentials", "private_key", "privateKey", "session",
        "session_id", "sessionid", "PHPSESSID", "JSESSIONID", "connect.sid", "csrf", "cookie", "Set-Cookie",
        "cookies", "ssn", "iban", "cvv", "card_number", "cardNumber", "creditCard", "pin", "otp", "jwt", "AccountKey",
        "SharedAccessKey", "service_role_key", "spring.datasource.password", "secret_id", "bearer",
    ];

    #[rustfmt::skip]
    const OTHERS: &[&str] = &[
        "", "a", "name", "key", "token_count", "tokenCount", "token_type", "password_length", "passwordChangedAt",
        "token_expires_at", "secret_name", "InvalidTokenError", "SessionExpired", "page_token", "nextPageToken",
        "PublicKeyToken", "public_key", "cookie_domain", "access_key_id", "api_key_id", "tokenizer", "secretary",
        "passenger", "bypass", "compass", "author", "authority", "authorized", "shipping", "pinned", "monkey",
        "keyboard", "authenticated", "has_password", "is_secret", "passed", "compassion", "authorization_url",
        "CancellationToken", "sessions_count", "spinner", "tokens_per_second", "cards", "account",
    ];

    #[test]
    fn secret_names_are_recognised_in_every_style() {
        for name in SECRET {
            assert!(secret(name).is_some(), "{name}");
        }
    }

    #[test]
    fn names_about_secrets_and_other_names_are_not() {
        for name in OTHERS {
            assert_eq!(secret(name), None, "{name}");
        }
    }

    #[test]
    fn endless_names_are_read_at_their_end() {
        assert!(secret(&format!("{}password", "ä".repeat(500))).is_some());
        assert!(secret(&format!("{}.password", "a.".repeat(50))).is_some());
    }
}
