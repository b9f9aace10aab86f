//! TLS for calls out, whoever makes them: HTTP requests of ours, and codecs of guests.

use std::{error::Error, io, sync::Arc};

use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::Authorities;

/// Verifies certificates against the public authorities and `authorities`; no client certificate, no ALPN.
pub(super) fn client_config(authorities: &Authorities) -> ClientConfig {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    authorities.add_to(&mut roots);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The remedy for a certificate which is not trusted, as a `hint:` line; empty where there is none.
pub(crate) fn certificate_hint(error: &rustls::Error) -> &'static str {
    match error {
        // A signature is bad too where an authority has the name of one that is trusted, and another key.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "\n  hint: trust the authority which issued the certificate with `--tls-ca`"
        }
        _ => "",
    }
}

/// The TLS error among the causes of an error.
pub(super) fn tls_error_within(error: &(dyn Error + 'static)) -> Option<rustls::Error> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(found) = current.downcast_ref::<rustls::Error>() {
            return Some(found.clone());
        }
        // An I/O error counts its payload's causes as its own, and leaves out the payload.
        error = match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    None
}
