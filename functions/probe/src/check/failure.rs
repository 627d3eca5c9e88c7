//! Why an attempt failed, derived from the errors' types.

use std::error::Error;
use std::io;
use std::time::Duration;

use shared::model::FailureReason;

use crate::net::{Blocked, ConnectError, DnsError};

/// Operating system errors that are this process's own fault: ENOMEM, ENFILE, EMFILE, EADDRNOTAVAIL and ENOBUFS
/// (Linux), the last two again (macOS).
const OURS: [i32; 7] = [12, 23, 24, 99, 105, 49, 55];

/// Why an attempt failed, or its target is degraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For machines.
    pub reason: FailureReason,
    /// For people.
    pub text: String,
    /// Whether a name server answered that the name or its records do not exist: our network works then.
    pub name_server_answered: bool,
}

impl Failure {
    /// A failure with a reason and its text.
    #[must_use]
    pub fn new(reason: FailureReason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), name_server_answered: false }
    }

    /// A name server's negative answer.
    #[must_use]
    pub fn not_there(text: impl Into<String>) -> Self {
        Self { name_server_answered: true, ..Self::new(FailureReason::Dns, text) }
    }

    /// No answer within the timeout.
    #[must_use]
    pub fn timed_out(timeout: Duration) -> Self {
        Self::new(FailureReason::Timeout, format!("no answer within {timeout:?}"))
    }

    /// The failure of a socket, or of TLS on it.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Self {
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        let mut reason = FailureReason::Connect;
        while let Some(cause) = next {
            if let Some(error) = cause.downcast_ref::<rustls::Error>() {
                return Self::of_tls(error);
            }
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                // An `io::Error` does not return what it wraps as its source.
                if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    return Self::of_tls(error);
                }
                if error.raw_os_error().is_some_and(|code| OURS.contains(&code)) {
                    return Self::new(FailureReason::Ours, format!("the check could not be sent: {error}"));
                }
                reason = reason_of(error.kind()).unwrap_or(reason);
            }
            next = cause.source();
        }
        let text = match reason {
            FailureReason::ConnectionRefused => "connection refused".to_owned(),
            FailureReason::ConnectionReset => format!("the connection was closed without an answer: {error}"),
            FailureReason::Timeout => "no answer: the connection timed out".to_owned(),
            _ => format!("it can't be reached: {error}"),
        };
        Self::new(reason, text)
    }

    /// The failure of TLS. Certificate errors contain times in seconds, which would differ each time: they are
    /// replaced.
    fn of_tls(error: &rustls::Error) -> Self {
        use rustls::CertificateError as Certificate;
        let text = match error {
            rustls::Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
                "the certificate has expired".to_owned()
            }
            rustls::Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
                "the certificate is not valid yet".to_owned()
            }
            rustls::Error::InvalidCertificate(
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
            ) => "the certificate is not for this name".to_owned(),
            rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
                "the certificate's issuer is not trusted".to_owned()
            }
            other => other.to_string(),
        };
        Self::new(FailureReason::Tls, format!("TLS failed: {text}"))
    }
}

fn reason_of(kind: io::ErrorKind) -> Option<FailureReason> {
    match kind {
        io::ErrorKind::ConnectionRefused => Some(FailureReason::ConnectionRefused),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Some(FailureReason::ConnectionReset),
        io::ErrorKind::TimedOut => Some(FailureReason::Timeout),
        _ => None,
    }
}

impl From<Blocked> for Failure {
    fn from(blocked: Blocked) -> Self {
        Self::new(FailureReason::Blocked, format!("its address is not permitted: {blocked}"))
    }
}

impl From<DnsError> for Failure {
    fn from(error: DnsError) -> Self {
        if let DnsError::Io(error) = &error
            && error.raw_os_error().is_some_and(|code| OURS.contains(&code))
        {
            return Self::new(FailureReason::Ours, format!("the check could not be sent: {error}"));
        }
        let cause = match &error {
            DnsError::Io(cause) => format!("{error}: {cause}"),
            _ => error.to_string(),
        };
        let text = format!("the name can't be resolved: {cause}");
        if error.says_there_is_none() { Self::not_there(text) } else { Self::new(FailureReason::Dns, text) }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Dns(error) => error.into(),
            ConnectError::Blocked(error) => error.into(),
            ConnectError::Io(error) => Self::of_io(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_are_classified_by_their_kind() {
        use FailureReason::{Connect, ConnectionRefused, ConnectionReset, Ours, Timeout, Tls};
        let tls = rustls::Error::HandshakeNotComplete;
        for (error, reason) in [
            (io::Error::from_raw_os_error(111), ConnectionRefused),
            (io::Error::from_raw_os_error(104), ConnectionReset),
            (io::Error::from_raw_os_error(110), Timeout),
            (io::Error::from_raw_os_error(101), Connect),
            (io::Error::from_raw_os_error(24), Ours),
            (io::ErrorKind::UnexpectedEof.into(), ConnectionReset),
            (io::Error::new(io::ErrorKind::InvalidData, tls), Tls),
        ] {
            assert_eq!(Failure::of_io(&error).reason, reason, "{error}");
        }
    }
}
