//! Who answers for a service, and what changes there. The manifest grants services:
//! `[grants] directory = ["users"]`, where `*` is every one.
//!
//! ```
//! use std::time::Duration;
//! use postern_guest::{Failure, directory};
//! # fn main() -> Result<(), Failure> {
//! # let host = postern_guest::fake::Host::new();
//! # host.service("users", &[directory::ServiceInstance::new("users-1")]);
//! let listing = directory::discover("users")?;
//! let well = listing.instances.iter().filter(|instance| instance.healthy).count();
//! # assert_eq!(well, 1);
//!
//! // At once what there is, then what is different, for as long as the call may take.
//! let mut watch = directory::watch("users");
//! while let Some(listing) = watch.next(Duration::from_millis(200))? {
//!     postern_guest::info!("{} answer for users", listing.instances.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Waiting counts as time of a unary call and not as time of a stream: a watch that goes on belongs into a
//! streaming method. Entries that ask for permissions are found while a call is answered whose caller has
//! one of them. Every function fails with `permission-denied` without a grant, `unavailable` where the
//! gateway has no directory, and `out-of-range` for more than 4 MiB.

use std::{collections::BTreeMap, time::Duration};

use crate::{failure::Failure, host};

/// One that answers for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceInstance {
    pub id: String,
    /// Where it is reached: `tcp://10.0.0.7:9090`. Empty for a plugin of this gateway.
    pub addresses: Vec<String>,
    /// A semantic version, where it states one.
    pub version: Option<String>,
    pub zone: Option<String>,
    /// Its share of the calls beside others; 0 while it is taken out. 100 where nobody says.
    pub weight: u32,
    pub metadata: BTreeMap<String, String>,
    /// Whether it answered when it was last asked.
    pub healthy: bool,
    /// Told by another gateway that is lost at present.
    pub stale: bool,
}

/// All instances of a service at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Two listings of one service with the same revision are equal.
    pub revision: String,
    /// In the order of ids; empty when nobody answers for the service.
    pub instances: Vec<ServiceInstance>,
}

/// The listings of one service, one after the other.
#[derive(Debug, Clone)]
pub struct Watch {
    service: String,
    /// Of what was told last.
    revision: Option<String>,
}

/// The instances of a service.
///
/// # Errors
/// Those of the module.
pub fn discover(service: &str) -> Result<Listing, Failure> {
    host::directory_discover(service)
}

/// Waits until the instances of a service are others than those of `revision`; `None` when they are still the
/// same after `timeout`, and a little before the call's own time is over.
///
/// # Errors
/// Those of the module.
pub fn next_change(
    service: &str,
    revision: &str,
    timeout: Duration,
) -> Result<Option<Listing>, Failure> {
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    host::directory_next_change(service, revision, timeout_ms)
}

/// What there is of a service, and then what changes.
#[must_use]
pub fn watch(service: &str) -> Watch {
    Watch {
        service: service.to_owned(),
        revision: None,
    }
}

impl Watch {
    /// The first listing at once, each further one when it is another than the one before. `None` when none
    /// was within `timeout`; ask again as long as you want to know.
    ///
    /// # Errors
    /// Those of the module.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Listing>, Failure> {
        let listing = match &self.revision {
            None => Some(discover(&self.service)?),
            Some(revision) => next_change(&self.service, revision, timeout)?,
        };
        if let Some(listing) = &listing {
            self.revision = Some(listing.revision.clone());
        }
        Ok(listing)
    }
}

impl ServiceInstance {
    /// A healthy instance without anything else, for tests.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            addresses: Vec::new(),
            version: None,
            zone: None,
            weight: 100,
            metadata: BTreeMap::new(),
            healthy: true,
            stale: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, fake::Host};

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn a_watch_tells_what_is_there_and_then_what_is_different() {
        let host = Host::new();
        let one = ServiceInstance::new("users-1");
        host.service("users", std::slice::from_ref(&one));
        let all = std::slice::from_ref(&one);
        assert_eq!(discover("users").unwrap().instances, all);
        let mut watch = watch("users");
        assert_eq!(watch.next(SHORT).unwrap().unwrap().instances, all);
        assert_eq!(watch.next(SHORT), Ok(None));
        let other = ServiceInstance {
            healthy: false,
            ..one.clone()
        };
        host.service("users", std::slice::from_ref(&other));
        assert_eq!(watch.next(SHORT).unwrap().unwrap().instances, [other]);
        host.service("users", &[one]);
        host.service("users", &[]);
        assert_eq!(watch.next(SHORT).unwrap().unwrap().instances, []);
    }

    #[test]
    fn a_service_that_is_not_granted_is_refused() {
        let _host = Host::new();
        let failure = discover("users").unwrap_err();
        assert_eq!(failure.kind, Kind::PermissionDenied);
        assert!(
            failure.message.contains("[grants] directory"),
            "{}",
            failure.message
        );
        let failure = next_change("users", "", SHORT).unwrap_err();
        assert_eq!(failure.kind, Kind::PermissionDenied);
    }
}
