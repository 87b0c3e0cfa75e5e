//! Whose certificates are trusted.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

#[cfg(feature = "redis")]
use base64::Engine;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};

use super::EndpointError;

/// TLS settings shared by all pools: the system's roots, Mozilla's where there are none, and the
/// authorities in `extra_ca`.
pub fn tls_config(extra_ca: Option<&PathBuf>) -> Result<Arc<ClientConfig>, EndpointError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = extra_ca {
        extra(path, &mut roots)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| EndpointError(format!("TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Adds the certificates of a PEM file.
fn extra(
    path: &Path,
    roots: &mut RootCertStore,
) -> Result<Vec<CertificateDer<'static>>, EndpointError> {
    let name = path.display();
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| EndpointError(format!("extra_ca {name}: {error}")))?;
    if certificates.is_empty() {
        return Err(EndpointError(format!("extra_ca {name}: holds no PEM certificate")));
    }
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| EndpointError(format!("extra_ca {name}: {error}")))?;
    }
    Ok(certificates)
}

/// The machine's authorities and those of a file, as one PEM text: for clients that take no other.
///
/// # Errors
/// The file can't be read, or holds no certificate that is good for this.
#[cfg(feature = "redis")]
pub fn authorities(extra_ca: &Path) -> Result<Vec<u8>, EndpointError> {
    let mut all = extra(extra_ca, &mut RootCertStore::empty())?;
    let usual = rustls_native_certs::load_native_certs().certs;
    all.extend(usual.into_iter().filter(|one| RootCertStore::empty().add(one.clone()).is_ok()));
    let pem = |one: &CertificateDer<'_>| {
        let text = base64::engine::general_purpose::STANDARD.encode(one);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    Ok(all.iter().map(pem).collect::<String>().into_bytes())
}
