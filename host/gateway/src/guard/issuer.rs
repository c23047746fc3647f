//! One issuer of tokens: its terms and its keys, wherever they come from.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use postern_core::Principal;
use postern_net::http::{FetchConfig, FetchError, Fetcher};
use tracing::{info, warn};

use super::{
    GuardError,
    held::{HeldFile, read_file},
    jwks::{KeyStore, Timing, Waiting},
    jwt::{Terms, Token, TokenError},
    keys::{KeyId, KeySet, KeysError},
};
use crate::config::{Jwt, Secret};

/// An issuer and its keys at present.
#[derive(Debug)]
pub(super) struct Issuer {
    pub name: String,
    settings: Jwt,
    terms: Terms,
    source: Source,
    store: KeyStore,
}

/// Where keys come from.
#[derive(Debug)]
enum Source {
    Secret(Secret),
    SecretFile(HeldFile),
    Pem(HeldFile),
    Jwks(HeldFile),
    Url { url: String, fetcher: Fetcher },
}

/// A token that is good.
#[derive(Debug)]
pub(super) struct Verified {
    pub principal: Principal,
    /// Seconds since 1970.
    pub until: u64,
    pub key: KeyId,
}

impl Issuer {
    /// Reads its keys, unless they are to be fetched. What a file says is what is `held` of it where
    /// it was read before.
    pub(super) fn open(
        name: &str,
        settings: &Jwt,
        held: impl Fn(&Path) -> Option<HeldFile>,
    ) -> Result<Self, GuardError> {
        let source = Source::of(name, settings, held)?;
        let store = match source.octets() {
            None => KeyStore::to_fetch(timing(settings)),
            Some(octets) => {
                let keys = source.parse(&octets);
                let keys = keys.map_err(|error| source.fault(name, error))?;
                KeyStore::of_keys(keys)
            }
        };
        if let Source::Secret(secret) = &source
            && secret.expose().len() < SECRET_BYTES_MIN
        {
            // RFC 7518 section 3.2 demands as many octets as the hash has.
            warn!(
                issuer = name,
                "the secret is shorter than {SECRET_BYTES_MIN} octets"
            );
        }
        Ok(Self {
            name: name.to_owned(),
            settings: settings.clone(),
            terms: Terms::new(settings),
            source,
            store,
        })
    }

    pub(super) const fn settings(&self) -> &Jwt {
        &self.settings
    }

    pub(super) fn takes(&self, issuer: Option<&str>) -> bool {
        self.terms.takes(issuer)
    }

    /// Whether a token is good: in what it says and in who signed it.
    pub(super) fn verify(
        &self,
        token: &Token<'_>,
        now: Instant,
        unix: u64,
    ) -> Result<Verified, TokenError> {
        self.terms.check(token, unix)?;
        let key = self.store.read(now, |keys| self.find_key(keys, token));
        let key = key.ok_or_else(|| TokenError::NoKeys(self.name.clone()))??;
        Ok(Verified {
            principal: self.terms.principal(token)?,
            until: self.terms.until(token),
            key,
        })
    }

    fn find_key(&self, keys: &KeySet, token: &Token<'_>) -> Result<KeyId, TokenError> {
        let algorithm = token.algorithm();
        let mut candidates = keys.candidates(token.kid(), algorithm).peekable();
        if candidates.peek().is_none() {
            return Err(TokenError::Key(token.kid().unwrap_or_default().to_owned()));
        }
        candidates
            .find(|key| key.verifies(algorithm, token.message().as_bytes(), token.signature()))
            .map(|key| key.id)
            .ok_or(TokenError::Signature)
    }

    /// Whether a key that verified a token is still one of its keys.
    pub(super) fn holds(&self, key: &KeyId, now: Instant) -> bool {
        self.store.holds(key, now)
    }

    /// A fetch to wait for, where one could turn `error` into something better.
    pub(super) fn ask(&self, error: &TokenError, now: Instant) -> Option<Waiting> {
        match error {
            TokenError::NoKeys(_) | TokenError::Key(_) => {
                self.store.ask(now, self.settings.jwks_timeout + GRACE)
            }
            TokenError::Malformed
            | TokenError::Critical
            | TokenError::Algorithm(_)
            | TokenError::Issuer(_)
            | TokenError::Signature
            | TokenError::Expired(_)
            | TokenError::NotYet(_)
            | TokenError::Audience
            | TokenError::Missing(_)
            | TokenError::Claim(_) => None,
        }
    }

    /// How long after a refusal for lack of keys another try may help.
    pub(super) const fn retry_after(&self) -> Duration {
        self.settings.jwks_refetch
    }

    /// Fetches its keys whenever that is due. Never completes.
    pub(super) async fn follow(&self) {
        let Source::Url { url, fetcher } = &self.source else {
            return std::future::pending().await;
        };
        loop {
            let fetch = self.store.due().await;
            let keys = match fetcher.get(url).await {
                Err(error) => Err(error.to_string()),
                Ok(octets) => self
                    .source
                    .parse(&octets)
                    .map_err(|error| error.to_string()),
            };
            if let Err(error) = &keys {
                warn!(issuer = self.name, %url, %error, "keys cannot be fetched");
            }
            let now = tokio::time::Instant::now().into_std();
            fetch.finish(now, keys.ok());
        }
    }

    /// What it has read of `path`.
    pub(super) fn held(&self, path: &Path) -> Option<HeldFile> {
        let file = self.source.file()?;
        (file.path() == path).then(|| file.copy())
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.source.file().map(HeldFile::path)
    }

    /// Takes what its file says; what is wrong leaves the keys from before.
    pub(super) fn take(&self, path: &Path, octets: &[u8]) {
        let file = self.source.file().filter(|file| file.is_of(path));
        let Some(file) = file.filter(|file| !file.says(octets)) else {
            return;
        };
        match self.source.parse(octets) {
            Ok(keys) => {
                self.store.replace(keys);
                file.set(octets);
                info!(issuer = self.name, "keys were read again");
            }
            Err(error) => warn!(issuer = self.name, %error, "keys stay as they were"),
        }
    }
}

impl Source {
    fn of(
        name: &str,
        jwt: &Jwt,
        held: impl Fn(&Path) -> Option<HeldFile>,
    ) -> Result<Self, GuardError> {
        let file = |path: &Path| held(path).map_or_else(|| HeldFile::read(path), Ok);
        if let Some(secret) = &jwt.secret {
            return Ok(Self::Secret(secret.clone()));
        }
        if let Some(path) = &jwt.secret_file {
            return file(path).map(Self::SecretFile);
        }
        if let Some(path) = &jwt.public_key_file {
            return file(path).map(Self::Pem);
        }
        if let Some(path) = &jwt.jwks_file {
            return file(path).map(Self::Jwks);
        }
        let fetcher = |error: FetchError| GuardError::Fetch {
            issuer: name.to_owned(),
            source: error,
        };
        let url = jwt.jwks_url.clone().unwrap_or_default();
        Fetcher::check(&url, jwt.jwks_allow_http).map_err(fetcher)?;
        let authorities = jwt.jwks_ca_file.as_deref().map(read_file).transpose()?;
        let config = FetchConfig {
            timeout: jwt.jwks_timeout,
            document_bytes_max: jwt.jwks_bytes_max.octets(),
            authorities,
            plain: jwt.jwks_allow_http,
        };
        let fetcher = Fetcher::new(config).map_err(fetcher)?;
        Ok(Self::Url { url, fetcher })
    }

    /// What it says; `None` where that must be fetched.
    fn octets(&self) -> Option<Vec<u8>> {
        match self {
            Self::Secret(secret) => Some(secret.expose().as_bytes().to_vec()),
            Self::SecretFile(_) | Self::Pem(_) | Self::Jwks(_) => self.file().map(HeldFile::octets),
            Self::Url { .. } => None,
        }
    }

    const fn file(&self) -> Option<&HeldFile> {
        match self {
            Self::SecretFile(file) | Self::Pem(file) | Self::Jwks(file) => Some(file),
            Self::Secret(_) | Self::Url { .. } => None,
        }
    }

    fn parse(&self, octets: &[u8]) -> Result<KeySet, KeysError> {
        match self {
            Self::Secret(_) => KeySet::of_secret(octets),
            Self::SecretFile(_) => {
                let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
                KeySet::of_secret(octets.strip_suffix(b"\r").unwrap_or(octets))
            }
            Self::Pem(_) => KeySet::of_pem(octets),
            Self::Jwks(_) | Self::Url { .. } => KeySet::of_jwks(octets),
        }
    }

    fn fault(&self, name: &str, error: KeysError) -> GuardError {
        let path = self.file().map_or_else(|| Path::new(""), HeldFile::path);
        GuardError::Keys {
            issuer: name.to_owned(),
            path: path.to_owned(),
            source: error,
        }
    }
}

const fn timing(jwt: &Jwt) -> Timing {
    Timing {
        refresh: jwt.jwks_refresh,
        refetch: jwt.jwks_refetch,
        stale_max: jwt.jwks_stale_max,
    }
}

/// Octets of a SHA-256.
const SECRET_BYTES_MIN: usize = 32;
/// What a fetch takes beyond its own limit before whoever waits for it is told.
const GRACE: Duration = Duration::from_millis(100);
