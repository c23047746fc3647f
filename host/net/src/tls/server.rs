//! What a listener shows its clients and asks of them. Replaced while it serves.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::Ticketer,
    server::{
        NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
};

use super::{
    authorities::{authorities, provider},
    certificate::{CertificateChoice, CertificateInfo, KeyPair},
    challenge::ChallengeAnswers,
    error::TlsError,
    pem::Pem,
    refusal::SilentVerifier,
};

/// What a listener shows and asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsSettings {
    /// Chosen by the name that the client asks for; the first where none has it.
    pub pairs: Vec<KeyPair>,
    /// Names whose certificates may come later, in lower case: who asks for one that no certificate has
    /// is refused, and never shown another's. Where there are any, `pairs` may be empty, and authorities
    /// that look whether such a name leads here are answered.
    pub awaited: Vec<String>,
    pub clients: ClientCertificates,
    /// Default 1.2.
    pub version_min: TlsVersion,
    /// Whether a client that comes again may take up its session before (RFC 8446 section 2.2).
    /// Default true.
    pub resumption: bool,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// None is asked for.
    #[default]
    Off,
    /// Who shows one must show a good one.
    Optional(Trust),
    /// Who shows none is refused.
    Required(Trust),
}

/// What the certificates of clients are verified by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    pub authorities: Vec<Pem>,
    /// Lists of revoked certificates (RFC 5280 section 5). Where there is any, each client's
    /// certificate needs the list of whoever signed it. A list that is past its next update counts
    /// still.
    pub revocations: Vec<Pem>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    #[default]
    V1_2,
    V1_3,
}

/// The TLS of a listener. Connections ask for it when they begin.
#[derive(Debug)]
pub struct ServerTls {
    protocols: Vec<Vec<u8>>,
    current: ArcSwap<ServerConfig>,
    held: Mutex<Held>,
    answers: Option<Arc<dyn ChallengeAnswers>>,
    /// Whether any name is awaited.
    awaits: AtomicBool,
}

/// What `current` was made of.
#[derive(Debug)]
struct Held {
    settings: ServerTlsSettings,
    certificates: Vec<CertificateInfo>,
}

/// Settings made ready to be put in force.
struct Made {
    config: ServerConfig,
    certificates: Vec<CertificateInfo>,
}

impl ServerTlsSettings {
    /// One certificate for every client, and nothing asked of them.
    #[must_use]
    pub fn new(pair: KeyPair) -> Self {
        Self {
            pairs: vec![pair],
            awaited: Vec::new(),
            clients: ClientCertificates::Off,
            version_min: TlsVersion::default(),
            resumption: true,
        }
    }
}

impl ServerTls {
    /// `protocols` by their ALPN names, the preferred first.
    ///
    /// # Errors
    /// What cannot be used of `settings`.
    pub fn new(settings: ServerTlsSettings, protocols: &[&str]) -> Result<Self, TlsError> {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        let protocols: Vec<_> = protocols.collect();
        let made = make(&settings, &protocols, None)?;
        Ok(Self {
            answers: None,
            awaits: AtomicBool::new(!settings.awaited.is_empty()),
            protocols,
            current: ArcSwap::from_pointee(made.config),
            held: Mutex::new(Held {
                settings,
                certificates: made.certificates,
            }),
        })
    }

    /// Asks `answers` what authorities are shown that look for an awaited name.
    #[must_use]
    pub fn with_answers(self, answers: Arc<dyn ChallengeAnswers>) -> Self {
        Self {
            answers: Some(answers),
            ..self
        }
    }

    /// Puts `settings` in force for connections that come after. Sessions from before can be resumed
    /// unless whom clients are verified by has changed: a session that is resumed is not verified
    /// again.
    ///
    /// # Errors
    /// What cannot be used; then nothing has changed.
    pub fn replace(&self, settings: ServerTlsSettings) -> Result<(), TlsError> {
        let mut held = self.held.lock();
        if held.settings == settings {
            return Ok(());
        }
        let may_resume = held.settings.clients == settings.clients;
        let current = self.current.load_full();
        let kept = (may_resume && held.settings.resumption).then(|| Arc::clone(&current.ticketer));
        let made = make(&settings, &self.protocols, kept)?;
        self.current.store(Arc::new(made.config));
        self.awaits
            .store(!settings.awaited.is_empty(), Ordering::Release);
        *held = Held {
            settings,
            certificates: made.certificates,
        };
        Ok(())
    }

    /// That in force.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Who knows what authorities are shown, while any name is awaited.
    pub(super) fn answers(&self) -> Option<&dyn ChallengeAnswers> {
        let answers = self.answers.as_deref();
        answers.filter(|_| self.awaits.load(Ordering::Acquire))
    }

    /// What is shown at present.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateInfo> {
        self.held.lock().certificates.clone()
    }
}

fn make(
    settings: &ServerTlsSettings,
    protocols: &[Vec<u8>],
    kept: Option<Arc<dyn ProducesTickets>>,
) -> Result<Made, TlsError> {
    let certified: Result<Vec<_>, _> = settings.pairs.iter().map(KeyPair::certified).collect();
    let (choice, certificates) = CertificateChoice::new(certified?, &settings.awaited)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(settings.version_min.and_later())?;
    let builder = match verifier(&settings.clients)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(choice));
    config.alpn_protocols = protocols.to_vec();
    if settings.resumption {
        config.ticketer = match kept {
            Some(kept) => kept,
            None => Ticketer::new()?,
        };
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Made {
        config,
        certificates,
    })
}

fn verifier(clients: &ClientCertificates) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (trust, is_required) = match clients {
        ClientCertificates::Off => return Ok(None),
        ClientCertificates::Optional(trust) => (trust, false),
        ClientCertificates::Required(trust) => (trust, true),
    };
    let roots = Arc::new(authorities(Some(&trust.authorities))?);
    let lists: Result<Vec<_>, _> = trust.revocations.iter().map(Pem::revocations).collect();
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .with_crls(lists?.into_iter().flatten())
        .only_check_end_entity_revocation();
    let builder = match is_required {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    let verifier = builder.build();
    let verifier = verifier.map_err(|error| TlsError::Setup(error.to_string()))?;
    Ok(Some(Arc::new(SilentVerifier(verifier))))
}

impl TlsVersion {
    pub(super) const fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] =
            [&rustls::version::TLS13, &rustls::version::TLS12];
        static LATER: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self {
            Self::V1_2 => &BOTH,
            Self::V1_3 => &LATER,
        }
    }
}
