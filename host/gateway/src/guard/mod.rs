//! What everybody needs between a call and its service: who calls, whether it may, how often, and
//! what its headers become. Built whole from a configuration and replaced whole with it.
//!
//! ```text
//! recognise, identify ─▶ (components) ─▶ require ─▶ route ─▶ authorize ─▶ admit ─▶ edit_request ─▶ service
//! proof, credentials                    who must            rules        limits   header rules       │
//!    caller  ◀────────────────────────────────────────────────────────  ReplyEdits::apply ◀──────────┘
//! ```
//! Each step is a function of what the guard holds, the call and the time. What changes by itself
//! (keys that are fetched, files that are read again) is moved by the one task of [`maintain`].
//!
//! **Invariant:** what a call says of itself exempts it from nothing, unless whoever handed it on has
//! proved to be another gateway.
//!
//! **Invariant:** a call whose credentials are looked at and are not good goes no further; a call
//! without any is anonymous, which is for `authentication` and the rules to judge.

mod api_keys;
mod authenticator;
mod authorization;
mod bounded_map;
mod connections;
mod credentials;
mod error;
mod failures;
#[cfg(test)]
mod forge;
pub(crate) mod header_rules;
mod headers;
mod held;
mod issuer;
mod jwks;
mod jwt;
mod keys;
mod moment;
mod rate;
mod refresh;
#[cfg(test)]
mod tests;
mod tokens;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::{Call, Error, Kind, Principal};

use self::{
    authenticator::GuardAuthenticator, authorization::AuthorizationRules,
    header_rules::HeaderRules, rate::RateLimits,
};
pub(crate) use self::{
    authenticator::{GATEWAY_HEADER, Identified, Recognition, Sender, need_of},
    error::GuardError,
    failures::Failures,
    header_rules::ReplyEdits,
    moment::Moment,
    refresh::maintain,
};
use crate::config::{Auth, Config};

/// Everything that stands between callers and services.
#[derive(Debug)]
pub(crate) struct Guard {
    authenticator: GuardAuthenticator,
    rules: AuthorizationRules,
    limits: RateLimits,
    header_rules: HeaderRules,
    failures: Arc<Failures>,
}

/// Files that a guard of this configuration reads when it is opened.
pub(crate) fn files_read(auth: &Auth) -> BTreeSet<PathBuf> {
    let of_issuers = auth.jwt.values().flat_map(|jwt| {
        let (secret, public) = (&jwt.secret_file, &jwt.public_key_file);
        [secret, public, &jwt.jwks_file, &jwt.jwks_ca_file]
    });
    let all = of_issuers.chain([&auth.api_keys.file]);
    all.flatten().cloned().collect()
}

impl Guard {
    /// Whether a configuration asks for anything that a guard does.
    #[must_use]
    pub(crate) fn is_asked_for(config: &Config) -> bool {
        let nothing = Config::default();
        config.auth != nothing.auth
            || config.authorization != nothing.authorization
            || config.limits != nothing.limits
            || config.headers != nothing.headers
    }

    /// Builds what a configuration asks for, and reads the files that it names. Issuers and limits
    /// that are as they were `before` keep their keys and their counts, no token that was verified
    /// before is remembered, and of a file that was read `before` what it said then counts until a
    /// version that is whole comes. Credentials that are not good are counted in `failures`. Blocks on
    /// files.
    ///
    /// # Errors
    /// What cannot be read, with its place; then nothing has changed.
    pub(crate) fn open(
        config: &Config,
        before: Option<&Self>,
        failures: Arc<Failures>,
        now: Instant,
    ) -> Result<Self, GuardError> {
        let authenticator = before.map(|before| &before.authenticator);
        let limits = before.map(|before| &before.limits);
        let role = &config.directory.peer_role;
        let opened =
            GuardAuthenticator::open(&config.auth, role, authenticator, Arc::clone(&failures));
        Ok(Self {
            authenticator: opened?,
            failures,
            rules: AuthorizationRules::new(&config.authorization),
            limits: RateLimits::open(&config.limits, limits, now)?,
            header_rules: HeaderRules::new(&config.headers),
        })
    }

    /// Files of keys that can change while it serves.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        self.authenticator.files()
    }

    /// How often those are looked at where the system does not tell of changes.
    pub(crate) const fn files_interval(&self) -> Duration {
        self.authenticator.settings().files_interval
    }

    /// Says who calls: sets `context.principal`, or leaves the caller anonymous. Credentials that
    /// said so are taken out of the headers unless they are to be forwarded. A call that has a
    /// principal already keeps it: a plugin's call is made for whoever called the plugin.
    ///
    /// With [`Identified::Waiting`] nothing was decided: keys are on their way. Wait, then call
    /// [`Guard::identify_now`].
    ///
    /// # Errors
    /// `unauthenticated` where credentials are not good; `unavailable` while the issuer's keys
    /// cannot be had.
    pub(crate) fn identify(&self, call: &mut Call, now: Moment) -> Result<Identified, Error> {
        let identity = self.authenticator.identify(call, now);
        identity.map_err(|error| self.refuse(call, error, now.instant))
    }

    /// As `identify`, with the keys that are there.
    ///
    /// # Errors
    /// As `identify`.
    pub(crate) fn identify_now(&self, call: &mut Call, now: Moment) -> Result<(), Error> {
        let identity = self.authenticator.identify_now(call, now);
        identity.map_err(|error| self.refuse(call, error, now.instant))
    }

    /// Says whether another gateway that has proved to be one has handed the call on. Its proof, header
    /// [`GATEWAY_HEADER`], is taken out in any case.
    ///
    /// # Errors
    /// As `identify`, where there is a proof and it is not good.
    pub(crate) fn recognise(&self, call: &mut Call, now: Moment) -> Result<Recognition, Error> {
        let recognition = self.authenticator.recognise(call, now);
        recognition.map_err(|error| self.refuse(call, error, now.instant))
    }

    /// As `recognise`, with the keys that are there.
    ///
    /// # Errors
    /// As `recognise`.
    pub(crate) fn recognise_now(&self, call: &mut Call, now: Moment) -> Result<Sender, Error> {
        let sender = self.authenticator.recognise_now(call, now);
        sender.map_err(|error| self.refuse(call, error, now.instant))
    }

    /// What a call is told whose credentials are not good for the reason `error`: that, or when to come
    /// again where its address or its caller has shown too many.
    #[must_use]
    pub(crate) fn refuse(&self, call: &Call, error: Error, now: Instant) -> Error {
        if error.kind != Kind::Unauthenticated {
            return error;
        }
        let counted = self.failures.count(&call.context.peer, now);
        let counted = counted.and_then(|()| self.limits.admit_failed(call, now));
        counted.err().unwrap_or(error)
    }

    /// Whether the call may be anonymous, if it is. To be asked when everybody who could say who
    /// calls has been asked.
    ///
    /// # Errors
    /// `unauthenticated`, saying which credentials are taken.
    pub(crate) fn require(&self, call: &Call) -> Result<(), Error> {
        self.authenticator.require(call)
    }

    /// Whether the caller may call what it calls.
    ///
    /// # Errors
    /// `permission-denied`, or `unauthenticated` when the caller is anonymous.
    pub(crate) fn authorize(&self, call: &Call) -> Result<(), Error> {
        self.rules.authorize(call)
    }

    /// Whether `principal`, or somebody anonymous, may call `service`/`method` as far as the guard is
    /// concerned.
    #[must_use]
    pub(crate) fn may_call(
        &self,
        principal: Option<&Principal>,
        service: &str,
        method: &str,
    ) -> bool {
        (principal.is_some() || self.authenticator.may_be_anonymous(service, method))
            && self.rules.allows(service, method, principal)
    }

    /// Whether a caller of `service`/`method` would not be refused for being anonymous.
    #[must_use]
    pub(crate) fn may_be_anonymous(&self, service: &str, method: &str) -> bool {
        self.authenticator.may_be_anonymous(service, method)
    }

    /// Counts the call, which `sender` handed on, against each limit that it falls under.
    ///
    /// # Errors
    /// `resource-exhausted` with `Retry::After`.
    pub(crate) fn admit(&self, call: &Call, sender: Sender, now: Instant) -> Result<(), Error> {
        self.limits.admit(call, sender, now)
    }

    /// Changes the call's headers by the rules.
    pub(crate) fn edit_request(&self, call: &mut Call) {
        self.header_rules.edit_request(call);
    }

    /// What the rules will do to the headers of the call's reply; `None` when nothing. To be taken
    /// before the call is handed on.
    #[must_use]
    pub(crate) fn reply_edits(&self, call: &Call) -> Option<ReplyEdits> {
        self.header_rules.reply_edits(call)
    }
}
