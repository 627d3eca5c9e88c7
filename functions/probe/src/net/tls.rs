//! TLS handshakes that record the certificates' expiry, also when the certificates are refused.

use std::io;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use shared::tls::{self, Trust};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::der::Decode as _;

use super::Host;

/// Makes handshakes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls {
    base: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
}

/// The result of a handshake.
#[derive(Debug)]
pub struct Handshake {
    /// The stream, or why there is none.
    pub stream: io::Result<TlsStream<TcpStream>>,
    /// When the first of the server's certificates expires that are needed.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Tls {
    /// Trusts what `trust` says; HTTP/1.1 is negotiated if a protocol is requested.
    ///
    /// # Errors
    /// When the trusted certificates can't be read.
    pub fn new(trust: &Trust) -> anyhow::Result<Self> {
        let mut base = tls::client_config(trust).context("set up TLS")?;
        // A resumed session shows no certificates.
        base.resumption = Resumption::disabled();
        Ok(Self { base: Arc::new(base), verifier: tls::verifier(trust).context("set up TLS")? })
    }

    /// Performs a handshake as a client of this host, with one ALPN protocol or none.
    pub async fn handshake(&self, host: &Host, stream: TcpStream, protocol: Option<&[u8]>) -> Handshake {
        let name = match host {
            // Certificates contain names without the dot at the end.
            Host::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()),
            Host::Address(address) => Ok(ServerName::from(*address)),
        };
        let Ok(name) = name else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a name that a certificate can hold");
            return Handshake { stream: Err(error), expires_at: None };
        };
        let seen = Arc::new(OnceLock::new());
        let mut config = ClientConfig::clone(&self.base);
        config.alpn_protocols.extend(protocol.map(<[u8]>::to_vec));
        let verifier = RecordingVerifier { inner: Arc::clone(&self.verifier), seen: Arc::clone(&seen) };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        Handshake { stream, expires_at: seen.get().copied().flatten() }
    }
}

/// Delegates to another verifier, and records when the certificates expire.
#[derive(Debug)]
struct RecordingVerifier {
    inner: Arc<dyn ServerCertVerifier>,
    seen: Arc<OnceLock<Option<DateTime<Utc>>>>,
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let ends = std::iter::once(end_entity).chain(intermediates).filter_map(|certificate| ends_at(certificate));
        let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        // An expired certificate in an accepted chain is not needed.
        let _ = self.seen.set(ends.filter(|end| judged.is_err() || end.timestamp() > at).min());
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// When a certificate expires; none when it can't be parsed.
fn ends_at(certificate: &[u8]) -> Option<DateTime<Utc>> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let ends = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    DateTime::from_timestamp(i64::try_from(ends.as_secs()).ok()?, 0)
}
