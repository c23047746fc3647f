//! What a configuration wants of TLS: which listeners have it, and which authority issues to them.

use postern_net::tls::alpn;

use super::files::{CertificatesError, IssuedFile};
use crate::{
    acme::{AuthorityFolder, server_tls},
    config::{Config, Protocol, tls::ListenerTls},
};

/// A listener that is to have TLS.
pub(super) struct WantedTls<'a> {
    pub(super) table: String,
    pub(super) settings: &'a ListenerTls,
    pub(super) issued: Vec<IssuedFile>,
    pub(super) protocols: &'static [&'static str],
}

/// Listeners with TLS, with what they speak.
pub(super) fn wanted(config: &Config) -> impl Iterator<Item = WantedTls<'_>> {
    let folder = AuthorityFolder::of(config);
    let in_use = config.tls_in_use().filter(|(_, tls)| tls.is_on());
    in_use.map(move |(table, settings)| {
        let listeners = config.listeners.iter();
        let mut speaks = listeners.map(|(name, one)| (table_of(name), one.protocol));
        let protocol = speaks.find(|(one, _)| *one == table);
        WantedTls {
            issued: IssuedFile::all(settings, &folder),
            settings,
            protocols: match protocol {
                Some((_, Protocol::Vstp)) => &[alpn::VSTP],
                Some((_, Protocol::Mqtt)) => &[alpn::MQTT],
                // These have no name for ALPN.
                Some((_, Protocol::Redis | Protocol::Velithon)) => &[],
                Some((_, Protocol::Http | Protocol::Grpc)) | None => &alpn::HTTP[..],
            },
            table,
        }
    })
}

/// The authority that is to issue certificates.
///
/// # Errors
/// Where its own server could not be verified.
pub(super) fn authority_of(config: &Config) -> Result<Option<AuthorityFolder>, CertificatesError> {
    if config.acme_names().is_empty() {
        return Ok(None);
    }
    let verified = server_tls(&config.acme);
    verified.map_err(|reason| CertificatesError::Authority { reason })?;
    Ok(Some(AuthorityFolder::of(config)))
}

/// The table of a listener's TLS.
pub(crate) fn table_of(listener: &str) -> String {
    format!("listeners.{listener}.tls")
}
