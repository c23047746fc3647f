//! What an authority is answered that looks whether a name leads here before it issues a certificate
//! (ACME, RFC 8555 section 8): over plain HTTP at a path with a token, or in a handshake of a protocol
//! of its own (TLS-ALPN-01, RFC 8737), which ends with it.

use std::{fmt, io, sync::Arc};

use postern_core::BoxFuture;
use rustls::{
    ServerConfig,
    server::{ClientHello, NoServerSessionStorage},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    alpn, authorities::provider, certificate::KeyPair, error::TlsError, server::TlsVersion,
};

/// Knows what authorities are to be answered.
pub trait ChallengeAnswers: fmt::Debug + Send + Sync + 'static {
    /// The key authorization for the token of HTTP-01; none where nobody has asked for it.
    fn http(&self, token: &str) -> BoxFuture<Option<String>>;

    /// What is shown for `name`, in lower case, in the handshake of TLS-ALPN-01; none where nobody has
    /// asked for it.
    fn tls_alpn(&self, name: &str) -> BoxFuture<Option<KeyPair>>;
}

/// An authority was answered in a handshake: there is nothing to be served.
#[derive(Debug, thiserror::Error)]
#[error("an authority looked whether {name} leads here, and was answered")]
pub(crate) struct AnsweredChallenge {
    pub(super) name: String,
}

impl AnsweredChallenge {
    /// Whether that is what ended a handshake.
    pub(crate) fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// The token that is asked for at `path`.
pub(crate) fn token_of(path: &str) -> Option<&str> {
    let is_of_token = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    let token = path.strip_prefix(WELL_KNOWN)?;
    let is_token = (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(is_of_token);
    is_token.then_some(token)
}

/// The name that an authority looks for, where that is what a client says hello for: it names this
/// protocol and no other (RFC 8737 section 3).
pub(super) fn name_of(hello: &ClientHello<'_>) -> Option<String> {
    let mut protocols = hello.alpn()?;
    let is_challenge = protocols.next() == Some(alpn::ACME_TLS_1.as_bytes());
    let is_alone = protocols.next().is_none();
    let name = hello.server_name().filter(|_| is_challenge && is_alone)?;
    Some(name.to_ascii_lowercase())
}

/// Shows `pair` and ends: no session comes of it.
///
/// # Errors
/// What cannot be used of `pair`.
pub(super) fn config(pair: &KeyPair) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let key = provider.key_provider.load_private_key(pair.key.key()?)?;
    // Whether both fit together is not asked: the extension that makes it a proof is critical, and no
    // verifier knows it.
    let shown = CertifiedKey::new(pair.certificate.certificates()?, key);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(TlsVersion::default().and_later())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![alpn::ACME_TLS_1.as_bytes().to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// RFC 8555 section 8.3.
const WELL_KNOWN: &str = "/.well-known/acme-challenge/";
/// Tokens have 128 bits or more in base64url (RFC 8555 section 8.1), 43 letters in practice.
const TOKEN_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_stands_behind_the_path_in_base64url() {
        let check = |path: &str, expected: Option<&str>| assert_eq!(token_of(path), expected);
        check("/.well-known/acme-challenge/aZ09-_", Some("aZ09-_"));
        for path in [
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge",
            "/.well-known/acme-challenge/a/b",
            "/.well-known/acme-challenge/../key",
            "/.well-known/acme-challenge/a.b",
            "/.well-known/acme-challenge/a%2e",
            "/x/.well-known/acme-challenge/a",
        ] {
            check(path, None);
        }
        let longest = "a".repeat(TOKEN_BYTES_MAX);
        check(&format!("{WELL_KNOWN}{longest}"), Some(&longest));
        check(&format!("{WELL_KNOWN}{longest}a"), None);
    }
}
