//! Who calls, by the credentials that a call carries.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use futures_util::future::join_all;
use postern_core::{
    Blame, Call, Error, Kind, Peer, Principal, Retry, Transport, error::push_json_string,
};

use super::{
    api_keys::KeyRing,
    connections::Connections,
    credentials::{CallCredentials, CredentialKind, Wanted},
    error::GuardError,
    failures::Failures,
    held::HeldFile,
    issuer::Issuer,
    jwks::PendingFetch,
    jwt::{Token, TokenError},
    moment::Moment,
    tokens::{TokenEntry, TokenId, Tokens},
};
use crate::config::{Auth, AuthenticationMode};

/// Checks credentials.
#[derive(Debug)]
pub(super) struct GuardAuthenticator {
    settings: Auth,
    wanted: Wanted,
    issuers: Vec<Arc<Issuer>>,
    keys: KeyRing,
    connections: Connections,
    tokens: Tokens,
    /// Role of those who are other gateways.
    gateway_role: String,
    failures: Arc<Failures>,
}

/// What identifying came to.
#[derive(Debug)]
pub(crate) enum Identified {
    /// The call has its principal, or shows no credentials.
    Settled,
    /// Keys that could make the token good are being fetched.
    Waiting(PendingFetch),
}

/// Who handed a call to this gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Whoever calls. What it says of the call is a wish.
    #[default]
    Caller,
    /// Another gateway that has proved to be one. What it says of the call it knows.
    Gateway,
}

/// What looking for the proof of a gateway came to.
#[derive(Debug)]
pub(crate) enum Recognition {
    Settled(Sender),
    /// Keys that could make the proof good are being fetched.
    Waiting(PendingFetch),
}

/// Why a token says nothing about who calls.
struct Unverified {
    error: TokenError,
    /// Who may have signed it.
    issuer: Option<Arc<Issuer>>,
}

impl GuardAuthenticator {
    /// Issuers that are as they were `before` keep their keys; what was read of a file `before`
    /// counts.
    pub(super) fn open(
        settings: &Auth,
        gateway_role: &str,
        before: Option<&Self>,
        failures: Arc<Failures>,
    ) -> Result<Self, GuardError> {
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
            connections: Connections::open(settings)?,
            tokens: Tokens::new(settings.tokens_max),
            gateway_role: gateway_role.to_owned(),
            failures,
        })
    }

    pub(super) fn identify(&self, call: &mut Call, now: Moment) -> Result<Identified, Error> {
        let Err(unverified) = self.try_identify(call, now)? else {
            return Ok(Identified::Settled);
        };
        match unverified.ask(now.instant) {
            Some(waiting) => Ok(Identified::Waiting(waiting)),
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
        if self.need(call) == AuthenticationMode::Off {
            return Ok(Ok(()));
        }
        let found = self.wanted.find(&call.headers);
        let found = found.map_err(|error| unauthenticated(&error.to_string()))?;
        let (principal, taken) = match found {
            None => {
                call.context.principal = self.connections.find(&call.context.peer);
                return Ok(Ok(()));
            }
            Some(CallCredentials::ApiKey(key)) => {
                let found = self.keys.find(&key, now.unix);
                let principal = found.map_err(|error| unauthenticated(&error.to_string()))?;
                (principal, CredentialKind::ApiKey)
            }
            Some(CallCredentials::Token(token)) => {
                match self.verify(&token, &call.context.peer, now)? {
                    Ok(principal) => (principal, CredentialKind::Token),
                    Err(unverified) => return Ok(Err(unverified)),
                }
            }
        };
        call.context.principal = Some(principal);
        if !self.settings.forward_credentials {
            call.headers = self.wanted.without(&call.headers, taken);
        }
        Ok(Ok(()))
    }

    /// Says whether another gateway has handed the call on, and takes its proof out of the headers.
    pub(super) fn recognise(&self, call: &mut Call, now: Moment) -> Result<Recognition, Error> {
        match self.try_recognise(call, now)? {
            Ok(sender) => Ok(Recognition::Settled(sender)),
            Err(unverified) => match unverified.ask(now.instant) {
                Some(waiting) => Ok(Recognition::Waiting(waiting)),
                None => Err(unverified.into_error()),
            },
        }
    }

    pub(super) fn recognise_now(&self, call: &mut Call, now: Moment) -> Result<Sender, Error> {
        self.try_recognise(call, now)?
            .map_err(Unverified::into_error)
    }

    /// The inner error is one that other keys could turn into a success.
    fn try_recognise(
        &self,
        call: &mut Call,
        now: Moment,
    ) -> Result<Result<Sender, Unverified>, Error> {
        let is_proof = |key: &[u8]| key.eq_ignore_ascii_case(GATEWAY_HEADER.as_bytes());
        if !call.headers.entries().any(|(key, _)| is_proof(key)) {
            return Ok(Ok(Sender::Caller));
        }
        let can_check = self.wanted.tokens || self.wanted.api_key_header.is_some();
        let is_plugin = call.context.peer.transport == Transport::Plugin;
        let mut sender = Sender::Caller;
        if can_check && !is_plugin && self.need(call) != AuthenticationMode::Off {
            let mut proofs = call.headers.iter().filter(|(key, _)| is_proof(key));
            let (first, second) = (proofs.next(), proofs.next());
            let Some((_, proof)) = first.filter(|_| second.is_none()) else {
                return Err(unauthenticated(
                    "the call carries the proofs of several gateways",
                ));
            };
            let principal = match self.principal_of(&proof, &call.context.peer, now)? {
                Ok(principal) => principal,
                Err(unverified) => return Ok(Err(unverified)),
            };
            if !principal
                .roles
                .iter()
                .any(|role| **role == *self.gateway_role)
            {
                let (name, role) = (&principal.name, &self.gateway_role);
                let why = format!("{name} is no gateway: it lacks the role {role}");
                return Err(unauthenticated(&why));
            }
            sender = Sender::Gateway;
        }
        call.headers = call.headers.without(is_proof);
        Ok(Ok(sender))
    }

    /// Whose proof it is: an API key or a token.
    fn principal_of(
        &self,
        proof: &[u8],
        peer: &Peer,
        now: Moment,
    ) -> Result<Result<Arc<Principal>, Unverified>, Error> {
        let unknown = match self.keys.find(proof, now.unix) {
            Ok(principal) => return Ok(Ok(principal)),
            Err(error) => error,
        };
        match std::str::from_utf8(proof) {
            Ok(token) if self.wanted.tokens && proof.len() <= self.wanted.bytes_max => {
                self.verify(token, peer, now)
            }
            Ok(_) | Err(_) => Err(unauthenticated(&unknown.to_string())),
        }
    }

    pub(super) fn require(&self, call: &Call) -> Result<(), Error> {
        let is_anonymous = call.context.principal.is_none();
        match is_anonymous && self.need(call) == AuthenticationMode::Required {
            true => Err(self.nobody(call)),
            false => Ok(()),
        }
    }

    /// What a call needs. The strictest of the lists that name it decides.
    fn need(&self, call: &Call) -> AuthenticationMode {
        need_of(&self.settings, &call.service, &call.method)
    }

    /// Whether the caller would not be refused for being anonymous.
    pub(super) fn may_be_anonymous(&self, service: &str, method: &str) -> bool {
        need_of(&self.settings, service, method) != AuthenticationMode::Required
    }

    /// # Errors
    /// The outer one when `peer` has shown too many tokens that were not good for another to be
    /// looked at.
    fn verify(
        &self,
        text: &str,
        peer: &Peer,
        now: Moment,
    ) -> Result<Result<Arc<Principal>, Unverified>, Error> {
        let id = TokenId::of(text);
        let is_good = |entry: &TokenEntry| self.is_good(entry, now);
        if let Some(principal) = self.tokens.find(id, now.unix, is_good) {
            return Ok(Ok(principal));
        }
        self.failures.check(peer, now.instant)?;
        Ok(self.verify_new(id, text, now))
    }

    fn verify_new(
        &self,
        id: TokenId,
        text: &str,
        now: Moment,
    ) -> Result<Arc<Principal>, Unverified> {
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
                    let entry = TokenEntry {
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

    fn is_good(&self, entry: &TokenEntry, now: Moment) -> bool {
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
    pub(super) fn evict_expired(&self, now: Moment) {
        self.tokens
            .evict_expired(now.unix, |entry| self.is_good(entry, now));
    }

    #[cfg(test)]
    pub(super) fn n_tokens(&self) -> usize {
        self.tokens.len()
    }
}

impl Unverified {
    fn ask(&self, now: Instant) -> Option<PendingFetch> {
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

/// What calls of `service`/`method` need. The strictest of the lists that name it decides.
pub(crate) fn need_of(auth: &Auth, service: &str, method: &str) -> AuthenticationMode {
    let lists = [
        (AuthenticationMode::Required, &auth.required),
        (AuthenticationMode::Optional, &auth.optional),
        (AuthenticationMode::Off, &auth.off),
    ];
    let is_in = |(_, patterns): &(_, &Vec<crate::config::CallPattern>)| {
        let mut patterns = patterns.iter();
        patterns.any(|pattern| pattern.matches(service, method))
    };
    let found = lists.into_iter().find(is_in);
    found.map_or(auth.authentication, |(need, _)| need)
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

/// Header by which another gateway proves to be one: a token or an API key of a principal with the
/// role `directory.peer-role`.
pub(crate) const GATEWAY_HEADER: &str = "x-vsp-gateway";
/// What a caller wrote in its token may stand in the message, at a length fit for a header.
const WHY_CHARS_MAX: usize = 200;
