//! What authorities are answered that look whether a name leads here: whatever lies in the folder, so
//! that each of several gateways answers for the one that orders.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use postern_core::BoxFuture;
use postern_net::tls::{ChallengeAnswers, KeyPair, Pem};
use rcgen::{CertificateParams, CustomExtension};
use tokio::task::spawn_blocking;

use super::folder::{AnswerFile, AuthorityFolder};
use crate::config::{ChallengeKind, is_host_name};

/// Answers from the folder of the authority in force.
#[derive(Default)]
pub(crate) struct Answers {
    folder: ArcSwapOption<AuthorityFolder>,
}

/// What is to be answered, of what kind: by key authorization and its digest (RFC 8555 section 8.1).
pub(super) struct ChallengeProof<'a> {
    pub(super) kind: ChallengeKind,
    pub(super) name: &'a str,
    pub(super) token: &'a str,
    pub(super) key_authorization: &'a str,
    pub(super) digest: &'a [u8],
}

impl Answers {
    /// Where to look from here on; nowhere where no name is had from an authority.
    pub(crate) fn set_folder(&self, folder: Option<AuthorityFolder>) {
        self.folder.store(folder.map(Arc::new));
    }

    fn read(&self, kind: ChallengeKind, key: &str) -> BoxFuture<Option<String>> {
        let (folder, key) = (self.folder.load_full(), key.to_owned());
        Box::pin(async move {
            let folder = folder?;
            let reading = spawn_blocking(move || folder.answer(kind.name(), &key));
            reading.await.ok().flatten()
        })
    }
}

impl ChallengeAnswers for Answers {
    fn http(&self, token: &str) -> BoxFuture<Option<String>> {
        self.read(ChallengeKind::Http01, token)
    }

    fn tls_alpn(&self, name: &str) -> BoxFuture<Option<KeyPair>> {
        if !is_host_name(name) {
            return Box::pin(async { None });
        }
        let reading = self.read(ChallengeKind::TlsAlpn01, name);
        Box::pin(async move {
            let pem = Pem::new("the answer to a challenge", reading.await?);
            Some(KeyPair {
                certificate: pem.clone(),
                key: pem,
            })
        })
    }
}

impl ChallengeProof<'_> {
    /// Answers so until what is given is dropped. Blocks.
    ///
    /// # Errors
    /// Why it cannot be answered.
    pub(super) fn put(&self, folder: &AuthorityFolder) -> Result<AnswerFile, String> {
        let Self { kind, name, .. } = *self;
        let (key, text) = match kind {
            ChallengeKind::Http01 => (self.token, self.key_authorization.to_owned()),
            ChallengeKind::TlsAlpn01 => (name, self.certificate().map_err(|e| e.to_string())?),
        };
        let put = folder.put_answer(kind.name(), key, &text);
        put.map_err(|error| format!("the answer for {name} cannot be written: {error}"))
    }

    /// With its key, in PEM (RFC 8737 section 3).
    fn certificate(&self) -> Result<String, rcgen::Error> {
        let mut params = CertificateParams::new(vec![self.name.to_owned()])?;
        let extension = CustomExtension::new_acme_identifier(self.digest);
        params.custom_extensions.push(extension);
        let key = rcgen::KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(key.serialize_pem() + &certificate.pem())
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}
