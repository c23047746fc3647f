//! Roles `authenticator` and `authorizer`: who a caller is, and what it may do.
//!
//! ```
//! use postern_guest::{Authenticator, Authorizer, Credentials, Failure, Identity, Result, call};
//!
//! #[derive(Default)]
//! struct Door;
//!
//! impl Authenticator for Door {
//!     fn authenticate(&mut self, credentials: &Credentials) -> Result<Option<Identity>> {
//!         match (credentials.scheme.as_str(), credentials.token.as_str()) {
//!             ("api-key", "open sesame") => Ok(Some(Identity::new("ali").role("guest"))),
//!             _ => Ok(None),
//!         }
//!     }
//! }
//!
//! impl Authorizer for Door {
//!     fn authorize(&mut self, service: &str, _method: &str) -> Result<()> {
//!         match call::principal() {
//!             Some(_) => Ok(()),
//!             None => Err(Failure::permission_denied(format!("`{service}` is not for strangers"))),
//!         }
//!     }
//! }
//!
//! postern_guest::export!(Door: Authenticator, Authorizer);
//! ```

use std::{fmt, time::Duration};

use crate::{failure::Failure, plugin::Plugin};

/// Says who a caller is.
pub trait Authenticator: Plugin {
    /// `None`: these credentials are not this plugin's to judge, the next one is asked.
    ///
    /// # Errors
    /// `unauthenticated` refuses the call.
    fn authenticate(&mut self, credentials: &Credentials) -> Result<Option<Identity>, Failure>;
}

/// Says what a caller may do.
pub trait Authorizer: Plugin {
    /// Whether the caller ([`call::principal`](crate::call::principal),
    /// [`call::claim`](crate::call::claim)) may make this call.
    ///
    /// # Errors
    /// `permission-denied` refuses the call.
    fn authorize(&mut self, service: &str, method: &str) -> Result<(), Failure>;
}

/// What a caller shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// In lower case: `bearer`, `basic`, or `api-key` for the header `x-vsp-api-key`.
    pub scheme: String,
    /// What follows the scheme; secret, so neither to be logged nor stored.
    pub token: String,
}

/// Who a caller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub roles: Vec<String>,
    /// What else is known: `tenant`, `email`.
    pub claims: Vec<(String, String)>,
    /// How long the gateway may remember this answer for the same credentials; `None`: not beyond
    /// this call.
    pub valid: Option<Duration>,
}

impl Identity {
    /// Somebody without roles and claims, to be asked for at every call.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            roles: Vec::new(),
            claims: Vec::new(),
            valid: None,
        }
    }

    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.claims.push((name.into(), value.into()));
        self
    }

    /// In whole milliseconds.
    #[must_use]
    pub fn valid(self, valid: Duration) -> Self {
        Self {
            valid: Some(valid),
            ..self
        }
    }
}

impl Credentials {
    #[must_use]
    pub fn new(scheme: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            scheme: scheme.into(),
            token: token.into(),
        }
    }
}

/// Without the token: it is secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Credentials");
        shown.field("scheme", &self.scheme).finish_non_exhaustive()
    }
}
