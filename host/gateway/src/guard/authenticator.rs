//! Who calls, by the credentials that a call carries.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use futures_util::future::join_all;
use postern_core::{Blame, Call, Error, Kind, Principal, Retry, error::push_json_string};

use super::{
    GuardError, Moment,
    api_keys::KeyRing,
    credentials::{Credentials, Taken, Wanted},
    held::HeldFile,
    issuer::Issuer,
    jwks::Waiting,
    jwt::{Token, TokenError},
    tokens::{Entry, TokenId, Tokens},
};
use crate::config::{Auth, Authentication};

/// Checks credentials.
#[derive(Debug)]
pub(super) struct Authenticator {
    settings: Auth,
    wanted: Wanted,
    issuers: Vec<Arc<Issuer>>,
    keys: KeyRing,
    tokens: Tokens,
}

/// What identifying came to.
#[derive(Debug)]
pub enum Identity {
    /// The call has its principal, or shows no credentials.
    Settled,
    /// Keys that could make the token good are being fetched.
    Waiting(Waiting),
}

/// Why a token says nothing about who calls.
struct Unverified {
    error: TokenError,
    /// Who may have signed it.
    issuer: Option<Arc<Issuer>>,
}

impl Authenticator {
    /// Issuers that are as they were `before` keep their keys; what was read of a file `before`
    /// counts.
    pub(super) fn open(settings: &Auth, before: Option<&Self>) -> Result<Self, GuardError> {
        let held = |path: &Path| before.and_then(|before| before.held(path));
        let mut issuers = Vec::new();
        for (name, jwt) in &settings.jwt {
            let before = before.into_iter().flat_map(|before| &before.issuers);
            let mut same = before.filter(|issuer| issuer.name == *name && issuer.settings() == jwt);
            issuers.push(match same.next() {
                Some(issuer) => Arc::clone(issuer),
                None => Arc::new(Issuer::open(name, jwt, held)?),
            });
        }
        let of_keys = settings.api_keys.file.as_deref().and_then(held);
        let keys = KeyRing::open(&settings.api_keys, of_keys)?;
        let header = || settings.api_keys.header.to_ascii_lowercase();
        Ok(Self {
            wanted: Wanted {
                tokens: !issuers.is_empty(),
                api_key_header: keys.is_used().then(header),
                bytes_max: settings.credentials_bytes_max.octets(),
            },
            settings: settings.clone(),
            issuers,
            keys,
            tokens: Tokens::new(settings.tokens_max),
        })
    }

    pub(super) fn identify(&self, call: &mut Call, now: Moment) -> Result<Identity, Error> {
        let Err(unverified) = self.try_identify(call, now)? else {
            return Ok(Identity::Settled);
        };
        match unverified.ask(now.instant) {
            Some(waiting) => Ok(Identity::Waiting(waiting)),
            None => Err(unverified.into_error()),
        }
    }

    pub(super) fn identify_now(&self, call: &mut Call, now: Moment) -> Result<(), Error> {
        self.try_identify(call, now)?
            .map_err(Unverified::into_error)
    }

    /// The inner error is one that other keys could turn into a success.
    fn try_identify(&self, call: &mut Call, now: Moment) -> Result<Result<(), Unverified>, Error> {
        if call.context.principal.is_some() {
            return Ok(Ok(()));
        }
        if self.need(call) == Authentication::Off {
            return Ok(Ok(()));
        }
        let found = self.wanted.find(&call.headers);
        let found = found.map_err(|error| unauthenticated(&error.to_string()))?;
        let (principal, taken) = match found {
            None => return Ok(Ok(())),
            Some(Credentials::ApiKey(key)) => {
                let found = self.keys.find(&key, now.unix);
                let principal = found.map_err(|error| unauthenticated(&error.to_string()))?;
                (principal, Taken::ApiKey)
            }
            Some(Credentials::Token(token)) => match self.verify(&token, now) {
                Ok(principal) => (principal, Taken::Token),
                Err(unverified) => return Ok(Err(unverified)),
            },
        };
        call.context.principal = Some(principal);
        if !self.settings.forward_credentials {
            call.headers = self.wanted.without(&call.headers, taken);
        }
        Ok(Ok(()))
    }

    pub(super) fn require(&self, call: &Call) -> Result<(), Error> {
        let is_anonymous = call.context.principal.is_none();
        match is_anonymous && self.need(call) == Authentication::Required {
            true => Err(self.nobody(call)),
            false => Ok(()),
        }
    }

    /// What a call needs. The strictest of the lists that name it decides.
    fn need(&self, call: &Call) -> Authentication {
        let lists = [
            (Authentication::Required, &self.settings.required),
            (Authentication::Optional, &self.settings.optional),
            (Authentication::Off, &self.settings.off),
        ];
        let is_in = |(_, patterns): &(_, &Vec<crate::config::CallPattern>)| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| pattern.matches(&call.service, &call.method))
        };
        let found = lists.into_iter().find(is_in);
        found.map_or(self.settings.authentication, |(need, _)| need)
    }

    fn verify(&self, text: &str, now: Moment) -> Result<Arc<Principal>, Unverified> {
        let id = TokenId::of(text);
        if let Some(principal) = self
            .tokens
            .find(id, now.unix, |entry| self.is_good(entry, now))
        {
            return Ok(principal);
        }
        let token = Token::read(text).map_err(|error| Unverified {
            error,
            issuer: None,
        })?;
        let mut unverified = Unverified {
            error: TokenError::Issuer(token.issuer().unwrap_or_default().to_owned()),
            issuer: None,
        };
        let issuers = self.issuers.iter().enumerate();
        for (issuer_idx, issuer) in issuers.filter(|(_, issuer)| issuer.takes(token.issuer())) {
            match issuer.verify(&token, now.instant, now.unix) {
                Err(error) => {
                    // The one that names the issuer knows best why.
                    if unverified.issuer.is_none() || issuer.settings().issuer.is_some() {
                        unverified = Unverified {
                            error,
                            issuer: Some(Arc::clone(issuer)),
                        };
                    }
                }
                Ok(verified) => {
                    let principal = Arc::new(verified.principal);
                    let entry = Entry {
                        principal: Arc::clone(&principal),
                        issuer_idx,
                        key: verified.key,
                        until: verified.until,
                    };
                    self.tokens.insert(id, entry);
                    return Ok(principal);
                }
            }
        }
        Err(unverified)
    }

    fn is_good(&self, entry: &Entry, now: Moment) -> bool {
        let issuer = self.issuers.get(entry.issuer_idx);
        issuer.is_some_and(|issuer| issuer.holds(&entry.key, now.instant))
    }

    fn nobody(&self, call: &Call) -> Error {
        let keys = self.wanted.api_key_header.as_deref();
        let ways = match (self.wanted.tokens, keys) {
            (true, Some(header)) => format!("authorization: Bearer TOKEN, or {header}: KEY"),
            (false, Some(header)) => format!("{header}: KEY"),
            (true, None) | (false, None) => "authorization: Bearer TOKEN".to_owned(),
        };
        let (service, method) = (&call.service, &call.method);
        let message = format!("{service}/{method} needs credentials; send {ways}");
        Error::new(Kind::Unauthenticated, Blame::Client, message)
    }

    /// Fetches keys whenever that is due. Never completes.
    pub(super) async fn follow(&self) {
        join_all(self.issuers.iter().map(|issuer| issuer.follow())).await;
        std::future::pending().await
    }

    /// Files of keys, as the configuration writes them.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        let of_issuers = self.issuers.iter().filter_map(|issuer| issuer.file());
        let all = of_issuers.chain(self.keys.file());
        all.map(Path::to_owned).collect()
    }

    /// Takes what the file at `path` says.
    pub(super) fn take(&self, path: &Path, octets: &[u8]) {
        self.issuers
            .iter()
            .for_each(|issuer| issuer.take(path, octets));
        self.keys.take(path, octets);
    }

    fn held(&self, path: &Path) -> Option<HeldFile> {
        let mut issuers = self.issuers.iter();
        let of_issuer = issuers.find_map(|issuer| issuer.held(path));
        of_issuer.or_else(|| self.keys.held(path))
    }

    pub(super) const fn settings(&self) -> &Auth {
        &self.settings
    }

    /// Forgets tokens that are not believed any more.
    pub(super) fn sweep(&self, now: Moment) {
        self.tokens
            .sweep(now.unix, |entry| self.is_good(entry, now));
    }

    #[cfg(test)]
    pub(super) fn n_tokens(&self) -> usize {
        self.tokens.len()
    }
}

impl Unverified {
    fn ask(&self, now: Instant) -> Option<Waiting> {
        self.issuer.as_ref()?.ask(&self.error, now)
    }

    fn into_error(self) -> Error {
        match (&self.error, &self.issuer) {
            (TokenError::NoKeys(_), Some(issuer)) => {
                Error::unavailable(Blame::Upstream, self.error.to_string())
                    .with_retry(Retry::After(issuer.retry_after()))
            }
            (error, _) => unauthenticated(&error.to_string()),
        }
    }
}

/// Credentials are there and are not good. The challenge is that of RFC 6750 section 3.1.
fn unauthenticated(why: &str) -> Error {
    let quotable = |c: char| match c {
        '"' | '\\' => '\'',
        ' '..='~' => c,
        _ => '?',
    };
    let why: String = why.chars().take(WHY_CHARS_MAX).collect();
    let described: String = why.chars().map(quotable).collect();
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{described}\"");
    let mut details = b"{\"challenge\":".to_vec();
    push_json_string(&mut details, &challenge);
    details.push(b'}');
    Error::new(Kind::Unauthenticated, Blame::Client, why).with_details(details)
}

/// What a caller wrote in its token may stand in the message, at a length fit for a header.
const WHY_CHARS_MAX: usize = 200;
