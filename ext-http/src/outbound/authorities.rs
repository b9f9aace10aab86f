//! Certificate authorities which a user adds to the public ones.

use std::path::{Path, PathBuf};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject as _},
    },
};

/// Certificates of authorities, in DER.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// Why a file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be read, or is not PEM.
    #[error("cannot read certificates from `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// It holds no certificate.
    #[error("`{path}` holds no certificate\n  hint: a PEM file with `BEGIN CERTIFICATE` is expected", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be an authority's.
    #[error("`{path}` holds a certificate which cannot be used as an authority's", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
}

impl Authorities {
    /// Adds the certificates of a PEM file.
    ///
    /// # Errors
    /// [`AuthorityError`], naming the file.
    pub fn add_file(&mut self, path: &Path) -> Result<(), AuthorityError> {
        let read_error = |source| AuthorityError::Read { path: path.to_owned(), source };
        let certificates: Vec<_> =
            CertificateDer::pem_file_iter(path).map_err(read_error)?.collect::<Result<_, _>>().map_err(read_error)?;
        if certificates.is_empty() {
            return Err(AuthorityError::Empty { path: path.to_owned() });
        }
        for certificate in &certificates {
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|source| AuthorityError::Invalid { path: path.to_owned(), source })?;
        }
        self.0.extend(certificates);
        Ok(())
    }

    pub(super) fn add_to(&self, roots: &mut RootCertStore) {
        // Each was checked when it was added.
        roots.add_parsable_certificates(self.0.iter().cloned());
    }
}
