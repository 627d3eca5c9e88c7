//! TLS for every client: rustls with aws-lc-rs and compiled-in public roots (reading the system's takes milliseconds at
//! each start).
//!
//! Users: `store` (Postgres), `probe`, every HTTPS client.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Which certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those signed by a public authority.
    PublicRoots,
    /// Those signed by these certificates (PEM text).
    Only(String),
    /// Any: no protection against an active attacker.
    AnyCertificate,
}

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text holds no certificate, or a broken one.
    #[error("no usable certificate in the PEM text")]
    NoCertificate,
    /// rustls refuses the combination.
    #[error("TLS could not be set up")]
    Setup(#[source] rustls::Error),
}

/// A client configuration with this trust.
///
/// # Errors
/// When the given certificates can't be read.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let builder = match trust {
        Trust::PublicRoots => {
            builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
        }
        Trust::Only(pem) => builder.with_root_certificates(roots_of(pem)?),
        Trust::AnyCertificate => builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider))),
    };
    Ok(builder.with_no_client_auth())
}

/// The certificate verifier of this trust, for a client that needs more than its verdict.
///
/// # Errors
/// When the given certificates can't be read.
pub fn verifier(trust: &Trust) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = match trust {
        Trust::PublicRoots => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Trust::Only(pem) => roots_of(pem)?,
        Trust::AnyCertificate => return Ok(Arc::new(AcceptAny(provider))),
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(verifier.map_err(|_| TlsError::NoCertificate)?)
}

fn roots_of(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| TlsError::NoCertificate)?;
        roots.add(certificate).map_err(|_| TlsError::NoCertificate)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(roots)
}

/// Accepts every certificate; signatures are still checked, so that the handshake itself is sound.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_certificate_is_refused() {
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(client_config(&Trust::Only(pem.to_owned())).is_err(), "{pem}");
        }
    }

    #[test]
    fn the_other_trusts_need_no_certificates() {
        assert!(client_config(&Trust::PublicRoots).is_ok());
        assert!(client_config(&Trust::AnyCertificate).is_ok());
    }
}
