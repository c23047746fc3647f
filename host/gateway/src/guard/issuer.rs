//! One issuer of tokens: its terms and its keys, wherever they come from.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use postern_core::Principal;
use postern_net::http::{FetchConfig, FetchError, Fetcher};
use postern_system::clock;
use tracing::{info, warn};

use super::{
    error::GuardError,
    held::HeldFile,
    jwks::{JwksTiming, KeyStore, PendingFetch},
    jwt::{Terms, Token, TokenError, algorithm},
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
    Url(Box<KeyUrl>),
}

/// A set of keys behind an address of the web.
#[derive(Debug)]
struct KeyUrl {
    url: String,
    fetcher: ArcSwap<Fetcher>,
    /// Certificates of those who vouch for the server, in the place of the system's.
    authorities: Option<HeldFile>,
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
                let keys = source.parse(&octets, settings);
                let keys = keys.and_then(|keys| keys.check().map(|()| keys));
                let keys = keys.map_err(|error| source.fault(name, error))?;
                tell_empty(name, &keys);
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
    pub(super) fn ask(&self, error: &TokenError, now: Instant) -> Option<PendingFetch> {
        match error {
            // A wrong signature may be that of a key which has taken the name of another.
            TokenError::NoKeys(_) | TokenError::Key(_) | TokenError::Signature => {
                self.store.ask(now, self.settings.jwks_timeout + GRACE)
            }
            TokenError::Malformed
            | TokenError::Critical
            | TokenError::Algorithm(_)
            | TokenError::Issuer(_)
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
        let Source::Url(source) = &self.source else {
            return std::future::pending().await;
        };
        let url = &source.url;
        loop {
            let fetch = self.store.due().await;
            let fetcher = source.fetcher.load_full();
            let keys = match fetcher.get(url).await {
                Err(error) => Err(error.to_string()),
                Ok(octets) => self
                    .source
                    .parse(&octets, &self.settings)
                    .inspect(|keys| tell_empty(&self.name, keys))
                    .map_err(|error| error.to_string()),
            };
            if let Err(error) = &keys {
                warn!(issuer = self.name, %url, %error, "keys cannot be fetched");
            }
            let now = clock::now();
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
        let issuer = &self.name;
        if let Source::Url(source) = &self.source {
            match fetcher(&self.settings, Some(octets)) {
                Ok(fetcher) => {
                    source.fetcher.store(Arc::new(fetcher));
                    file.set(octets);
                    self.store.fetch_again();
                    info!(issuer, "authorities were read again, keys are fetched");
                }
                Err(error) => warn!(issuer, %error, "authorities stay as they were"),
            }
            return;
        }
        match self.source.parse(octets, &self.settings) {
            Ok(keys) => {
                tell_empty(issuer, &keys);
                self.store.replace(keys);
                file.set(octets);
                info!(issuer, "keys were read again");
            }
            Err(error) => warn!(issuer, %error, "keys stay as they were"),
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
        let fault = |error: FetchError| GuardError::Fetch {
            issuer: name.to_owned(),
            source: error,
        };
        let url = jwt.jwks_url.clone().unwrap_or_default();
        Fetcher::check(&url, jwt.jwks_allow_http).map_err(fault)?;
        let authorities = jwt.jwks_ca_file.as_deref().map(file).transpose()?;
        let octets = authorities.as_ref().map(HeldFile::octets);
        let fetcher = fetcher(jwt, octets.as_deref()).map_err(fault)?;
        Ok(Self::Url(Box::new(KeyUrl {
            url,
            fetcher: ArcSwap::from_pointee(fetcher),
            authorities,
        })))
    }

    /// What it says; `None` where that must be fetched.
    fn octets(&self) -> Option<Vec<u8>> {
        match self {
            Self::Secret(secret) => Some(secret.expose().as_bytes().to_vec()),
            Self::SecretFile(_) | Self::Pem(_) | Self::Jwks(_) => self.file().map(HeldFile::octets),
            Self::Url(_) => None,
        }
    }

    /// What it reads: its keys, or those who vouch for where it has them from.
    fn file(&self) -> Option<&HeldFile> {
        match self {
            Self::SecretFile(file) | Self::Pem(file) | Self::Jwks(file) => Some(file),
            Self::Url(source) => source.authorities.as_ref(),
            Self::Secret(_) => None,
        }
    }

    /// The keys in `octets`, one of which can verify what `settings` allow.
    fn parse(&self, octets: &[u8], settings: &Jwt) -> Result<KeySet, KeysError> {
        let keys = match self {
            Self::Secret(_) => KeySet::of_secret(octets),
            Self::SecretFile(_) => {
                let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
                KeySet::of_secret(octets.strip_suffix(b"\r").unwrap_or(octets))
            }
            Self::Pem(_) => KeySet::of_pem(octets),
            Self::Jwks(_) | Self::Url(_) => KeySet::of_jwks(octets),
        }?;
        let algorithms: Vec<_> = settings.algorithms().into_iter().map(algorithm).collect();
        keys.check_fits(&algorithms)?;
        Ok(keys)
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

/// # Errors
/// `authorities` hold no certificate that can be used.
fn fetcher(jwt: &Jwt, authorities: Option<&[u8]>) -> Result<Fetcher, FetchError> {
    Fetcher::new(FetchConfig {
        timeout: jwt.jwks_timeout,
        document_bytes_max: jwt.jwks_bytes_max.octets(),
        authorities: authorities.map(<[u8]>::to_vec),
        plain: jwt.jwks_allow_http,
    })
}

/// An issuer has withdrawn every key, or names none that this gateway knows.
fn tell_empty(issuer: &str, keys: &KeySet) {
    if keys.is_empty() {
        warn!(issuer, "the set holds no key: none of its tokens is good");
    }
}

const fn timing(jwt: &Jwt) -> JwksTiming {
    JwksTiming {
        refresh: jwt.jwks_refresh,
        refetch: jwt.jwks_refetch,
        stale_max: jwt.jwks_stale_max,
    }
}

/// Octets of a SHA-256.
const SECRET_BYTES_MIN: usize = 32;
/// What a fetch takes beyond its own limit before whoever waits for it is told.
const GRACE: Duration = Duration::from_millis(100);
