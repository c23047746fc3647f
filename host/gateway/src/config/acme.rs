//! Certificates that an authority issues to this gateway by itself (`[acme]`), for the names in `acme`
//! of listeners' TLS.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{DecodeError, Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use postern_core::Transport;

use super::{
    address::ListenAddress,
    leaf::{Secret, word_leaf},
    listener::Listener,
    section::section,
    settings::Config,
    tls::ListenerTls,
};

section! {
    /// Certificates that an authority issues by itself (ACME, RFC 8555), for the names in `acme` of the
    /// listeners' TLS, and renews when two thirds of their lives are over.
    pub(crate) struct Acme {
        /// Where the authority's directory is. The default is Let's Encrypt.
        pub directory: String = LETS_ENCRYPT.to_owned();
        /// Addresses of mail that the authority may write to, such as "ops@example.org". Needed where a
        /// listener has names in `acme`.
        pub contacts: Vec<String> = Vec::new();
        /// Whether you agree to the authority's terms of service. Needed where a listener has names in
        /// `acme`.
        pub terms_agreed: bool = false;
        /// Certificates of the authorities that the directory's server is verified by, in PEM. Those of
        /// the system when left empty.
        pub ca_files: Vec<PathBuf> = Vec::new();
        /// How the authority sees that a name leads here, the preferred first; after a failure the next
        /// is tried. "tls-alpn-01": at port 443, by a listener with TLS that has the name. "http-01": at
        /// port 80, by any plain HTTP listener.
        pub challenges: Vec<ChallengeKind> = ChallengeKind::ALL.to_vec();
        /// Keys of certificates: "p256", "p384" (ECDSA), "rsa2048".
        pub key_type: KeyType = KeyType::P256;
        /// Where account, keys and certificates are kept; `acme` below `data-dir` when left out. Several
        /// gateways may share one, and each name is asked for once.
        pub folder: Option<PathBuf> = None;
        /// Which of the authority's profiles certificates have; its default when left out.
        pub profile: Option<String> = None;
        /// Key identifier of an account that you have with the authority (external account binding).
        pub external_account_id: Option<String> = None;
        /// Key of that account, in base64url as the authority gives it.
        pub external_account_key: Option<Secret> = None;
        /// Wait after a name could not be had; four times as long after each failure that follows, or as
        /// long as the authority asks for.
        pub retry_pause: Duration = Duration::from_secs(60), within "10ms" to "1d";
        /// The longest wait, where the authority asks for no longer one.
        pub retry_pause_max: Duration = Duration::from_secs(6 * 3600), within "10ms" to "7d";
    }
}

/// How an authority sees that a name leads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChallengeKind {
    TlsAlpn01,
    Http01,
}

/// What keys of certificates are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyType {
    P256,
    P384,
    Rsa2048,
}

word_leaf!(ChallengeKind { TlsAlpn01 = "tls-alpn-01", Http01 = "http-01" });
word_leaf!(KeyType { P256 = "p256", P384 = "p384", Rsa2048 = "rsa2048" });

impl ChallengeKind {
    const ALL: [Self; 2] = [Self::TlsAlpn01, Self::Http01];

    /// The port at which an authority asks (RFC 8555 section 8.3, RFC 8737 section 3).
    #[must_use]
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::TlsAlpn01 => 443,
            Self::Http01 => 80,
        }
    }

    fn is_answered_by(self, listener: &Listener) -> bool {
        let mut transports = listener.transports.iter();
        let is_tcp = listener.protocol.is_http() || transports.any(|one| one.0 == Transport::Tcp);
        match self {
            Self::Http01 => listener.protocol.is_http() && !listener.tls.is_on(),
            Self::TlsAlpn01 => is_tcp && !listener.tls.acme.is_empty(),
        }
    }
}

impl Acme {
    /// Where the files of this authority lie; each authority has a folder of its own.
    #[must_use]
    pub(crate) fn authority_folder(&self, data_dir: &Path) -> PathBuf {
        let folder = self.folder.clone();
        let folder = folder.unwrap_or_else(|| data_dir.join("acme"));
        let (_, address) = self.directory.split_once("://").unwrap_or_default();
        let is_kept = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let name = address.trim_matches('/').to_ascii_lowercase();
        folder.join(name.replace(|c: char| !is_kept(c), "-"))
    }

    /// Identifier and key of the account that you have with the authority.
    ///
    /// # Errors
    /// Where the key is not base64url.
    pub(crate) fn external_account(&self) -> Result<Option<(&str, Vec<u8>)>, DecodeError> {
        let id = self.external_account_id.as_deref();
        let Some((id, key)) = id.zip(self.external_account_key.as_ref()) else {
            return Ok(None);
        };
        let key = URL_SAFE_NO_PAD.decode(key.expose().trim_end_matches('='));
        key.map(|key| Some((id, key)))
    }

    /// As the authority is told: "mailto:ops@example.org".
    #[must_use]
    pub(crate) fn contact_urls(&self) -> Vec<String> {
        let contacts = self.contacts.iter();
        let urls = contacts.map(|contact| match contact.contains(':') {
            true => contact.clone(),
            false => format!("mailto:{contact}"),
        });
        urls.collect()
    }
}

impl Config {
    /// Every name for which a certificate is to be had, in order.
    #[must_use]
    pub(crate) fn acme_names(&self) -> BTreeSet<String> {
        let names = self.tls_in_use().flat_map(|(_, tls)| &tls.acme);
        names.cloned().collect()
    }

    /// The TLS of what is opened, with the path of its table.
    pub(crate) fn tls_in_use(&self) -> impl Iterator<Item = (String, &ListenerTls)> {
        let listeners = self.listeners.iter().filter(|(_, one)| one.enabled);
        let listeners = listeners.map(|(name, one)| (format!("listeners.{name}.tls"), &one.tls));
        let admin = self.admin.enabled.then_some(&self.admin.tls);
        listeners.chain(admin.map(|tls| ("admin.tls".to_owned(), tls)))
    }

    /// Where `kind` is answered.
    pub(crate) fn answering(&self, kind: ChallengeKind) -> impl Iterator<Item = &ListenAddress> {
        let listeners = self.listeners.values().filter(|one| one.enabled);
        let listeners = listeners.filter(move |one| kind.is_answered_by(one));
        let is_tls = kind == ChallengeKind::TlsAlpn01;
        let admin = &self.admin;
        let is_admin = is_tls && admin.enabled && !admin.tls.acme.is_empty();
        let listeners = listeners.map(|one| &one.address);
        listeners.chain(is_admin.then_some(&admin.address))
    }
}

/// <https://letsencrypt.org/docs/acme-protocol-updates/>
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_authority_has_a_folder_of_its_own() {
        let check = |directory: &str, folder: Option<&str>, expected: &str| {
            let acme = Acme {
                directory: directory.to_owned(),
                folder: folder.map(PathBuf::from),
                ..Acme::default()
            };
            let found = acme.authority_folder(Path::new("data"));
            assert_eq!(found, Path::new(expected));
        };
        check(
            LETS_ENCRYPT,
            None,
            "data/acme/acme-v02.api.letsencrypt.org-directory",
        );
        check(
            "https://Ca.example:14000/dir/",
            Some("/shared"),
            "/shared/ca.example-14000-dir",
        );
        check("https://../../etc", Some("/shared"), "/shared/..-..-etc");
    }

    #[test]
    fn a_contact_is_an_address_of_mail_or_any_url() {
        let acme = Acme {
            contacts: vec!["a@b.example".to_owned(), "mailto:c@d.example".to_owned()],
            ..Acme::default()
        };
        let expected = ["mailto:a@b.example", "mailto:c@d.example"];
        assert_eq!(acme.contact_urls(), expected);
    }
}
