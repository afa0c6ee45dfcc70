//! A server's certificate, made for one run.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// A self-signed certificate and its key, in DER.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    pub(crate) fn new() -> Result<Self, Failure> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
        let (certificate, key) = (made.cert.der().to_vec(), made.signing_key.serialize_der());
        Ok(Self { certificate, key })
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.certificate.clone())
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    pub(crate) fn name(&self) -> Result<ServerName<'static>, Failure> {
        Ok(ServerName::try_from("localhost")?)
    }
}
