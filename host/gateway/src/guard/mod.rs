//! What everybody needs between a call and its service: who calls, whether it may, how often, and
//! what its headers become. Built whole from a configuration and replaced whole with it.
//!
//! ```text
//! recognise, identify ─▶ (components) ─▶ require ─▶ route ─▶ authorize ─▶ admit ─▶ edit_request ─▶ service
//! proof, credentials                    who must            rules        limits   header rules       │
//!    caller  ◀────────────────────────────────────────────────────────  ReplyEdits::apply ◀──────────┘
//! ```
//! Each step is a function of what the guard holds, the call and the time. What changes by itself
//! (keys that are fetched, files that are read again) is moved by the one task of [`refresh`].
//!
//! **Invariant:** what a call says of itself exempts it from nothing, unless whoever handed it on has
//! proved to be another gateway.
//!
//! **Invariant:** a call whose credentials are looked at and are not good goes no further; a call
//! without any is anonymous, which is for `authentication` and the rules to judge.

mod api_keys;
mod authenticator;
mod authorization;
mod credentials;
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
mod rate;
mod refresh;
mod shelf;
#[cfg(test)]
mod tests;
mod tokens;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use postern_core::{Call, Error, Kind, Principal};
use postern_net::http::FetchError;

use self::{
    authenticator::Authenticator, authorization::Rules, header_rules::HeaderRules, rate::Limits,
};
pub(crate) use self::{authenticator::GATEWAY_HEADER, refresh::refresh};
pub use self::{
    authenticator::{Identity, Recognition, Sender},
    failures::Failures,
    header_rules::ReplyEdits,
    jwks::Waiting,
    keys::KeysError,
};
use crate::{
    config::{Auth, Config, Faults},
    sources::sight::ReadError,
};

/// Everything that stands between callers and services.
#[derive(Debug)]
pub struct Guard {
    authenticator: Authenticator,
    rules: Rules,
    limits: Limits,
    header_rules: HeaderRules,
    failures: Arc<Failures>,
}

/// A moment on both clocks: the one that only moves on, for what was measured here, and the one of
/// the calendar, for what others wrote down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub instant: Instant,
    /// Seconds since 1970.
    pub unix: u64,
}

/// Why a guard cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error(transparent)]
    File(#[from] ReadError),
    #[error("{} is not there", .0.display())]
    Absent(PathBuf),
    #[error("{} is not UTF-8", .0.display())]
    NotText(PathBuf),
    #[error("keys of issuer {issuer} {}: {source}", path.display())]
    Keys {
        issuer: String,
        path: PathBuf,
        source: KeysError,
    },
    #[error("keys of issuer {issuer}: {source}")]
    Fetch { issuer: String, source: FetchError },
    #[error(transparent)]
    Faults(#[from] Faults),
    #[error("{} and {} have the same API key", names[0], names[1])]
    SameKey { names: [String; 2] },
    #[error("{name} has a key in the configuration and one in {}; an owner has one", path.display())]
    SameOwner { name: String, path: PathBuf },
    #[error("limit {limit} admits no call")]
    Rate { limit: String },
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

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self::at(Instant::now())
    }

    /// The moment `instant`, which has just been read.
    #[must_use]
    pub fn at(instant: Instant) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            instant,
            // A clock before 1970 is wrong; no token is good then.
            unix: unix.map_or(u64::MAX, |unix| unix.as_secs()),
        }
    }
}

impl Guard {
    /// Whether a configuration asks for anything that a guard does.
    #[must_use]
    pub fn is_asked_for(config: &Config) -> bool {
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
    pub fn open(
        config: &Config,
        before: Option<&Self>,
        failures: Arc<Failures>,
        now: Instant,
    ) -> Result<Self, GuardError> {
        let authenticator = before.map(|before| &before.authenticator);
        let limits = before.map(|before| &before.limits);
        let role = &config.directory.peer_role;
        let opened = Authenticator::open(&config.auth, role, authenticator, Arc::clone(&failures));
        Ok(Self {
            authenticator: opened?,
            failures,
            rules: Rules::new(&config.authorization),
            limits: Limits::open(&config.limits, limits, now)?,
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
    /// With [`Identity::Waiting`] nothing was decided: keys are on their way. Wait, then call
    /// [`Guard::identify_now`].
    ///
    /// # Errors
    /// `unauthenticated` where credentials are not good; `unavailable` while the issuer's keys
    /// cannot be had.
    pub fn identify(&self, call: &mut Call, now: Moment) -> Result<Identity, Error> {
        let identity = self.authenticator.identify(call, now);
        identity.map_err(|error| self.refuse(call, error, now.instant))
    }

    /// As `identify`, with the keys that are there.
    ///
    /// # Errors
    /// As `identify`.
    pub fn identify_now(&self, call: &mut Call, now: Moment) -> Result<(), Error> {
        let identity = self.authenticator.identify_now(call, now);
        identity.map_err(|error| self.refuse(call, error, now.instant))
    }

    /// Says whether another gateway that has proved to be one has handed the call on. Its proof, header
    /// [`GATEWAY_HEADER`], is taken out in any case.
    ///
    /// # Errors
    /// As `identify`, where there is a proof and it is not good.
    pub fn recognise(&self, call: &mut Call, now: Moment) -> Result<Recognition, Error> {
        let recognition = self.authenticator.recognise(call, now);
        recognition.map_err(|error| self.refuse(call, error, now.instant))
    }

    /// As `recognise`, with the keys that are there.
    ///
    /// # Errors
    /// As `recognise`.
    pub fn recognise_now(&self, call: &mut Call, now: Moment) -> Result<Sender, Error> {
        let sender = self.authenticator.recognise_now(call, now);
        sender.map_err(|error| self.refuse(call, error, now.instant))
    }

    /// What a call is told whose credentials are not good for the reason `error`: that, or when to come
    /// again where its address or its caller has shown too many.
    #[must_use]
    pub fn refuse(&self, call: &Call, error: Error, now: Instant) -> Error {
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
    pub fn require(&self, call: &Call) -> Result<(), Error> {
        self.authenticator.require(call)
    }

    /// Whether the caller may call what it calls.
    ///
    /// # Errors
    /// `permission-denied`, or `unauthenticated` when the caller is anonymous.
    pub fn authorize(&self, call: &Call) -> Result<(), Error> {
        self.rules.authorize(call)
    }

    /// Whether `principal`, or somebody anonymous, may call `service`/`method` as far as the guard is
    /// concerned.
    #[must_use]
    pub fn may_call(&self, principal: Option<&Principal>, service: &str, method: &str) -> bool {
        (principal.is_some() || self.authenticator.may_be_anonymous(service, method))
            && self.rules.allows(service, method, principal)
    }

    /// Counts the call, which `sender` handed on, against each limit that it falls under.
    ///
    /// # Errors
    /// `resource-exhausted` with `Retry::After`.
    pub fn admit(&self, call: &Call, sender: Sender, now: Instant) -> Result<(), Error> {
        self.limits.admit(call, sender, now)
    }

    /// Changes the call's headers by the rules.
    pub fn edit_request(&self, call: &mut Call) {
        self.header_rules.edit_request(call);
    }

    /// What the rules will do to the headers of the call's reply; `None` when nothing. To be taken
    /// before the call is handed on.
    #[must_use]
    pub fn reply_edits(&self, call: &Call) -> Option<ReplyEdits> {
        self.header_rules.reply_edits(call)
    }
}
