//! Key/value stores as plugins and fronts ask them: the gateway's own file, or a server of others. Tables
//! part one plugin's keys from another's.

use std::{fmt, time::Duration};

use crate::{
    boxed::BoxFuture,
    error::{Blame, Error, Kind},
};

/// Longest key, in octets.
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest value, in octets.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Most keys in one list.
pub const KEYS_MAX: usize = 1000;

/// One store. Implementations are shared, and keep to the limits above where their callers do.
pub trait KeyValueStore: Send + Sync + fmt::Debug {
    /// The value of `key` in `table`.
    ///
    /// # Errors
    /// `unavailable` while the store cannot be asked.
    fn get(&self, table: &str, key: &str) -> BoxFuture<Result<Option<Vec<u8>>, Error>>;

    /// Up to `limit` keys of `table` that begin with `prefix` and come after `after`, in the order of
    /// their octets.
    ///
    /// # Errors
    /// As `get`; `resource-exhausted` where the store would have to look at more than it may.
    fn keys(
        &self,
        table: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<String>, Error>>;

    /// Applies a change. Says whether it changed anything: a `Swap` that did not find what it expected,
    /// or a `Delete` of nothing, did not. What is set is gone after `ttl`, where there is one.
    ///
    /// # Errors
    /// As `get`. Unless the error says `Retry::Elsewhere`, the change may have been made.
    fn write(
        &self,
        table: &str,
        change: KeyChange,
        ttl: Option<Duration>,
    ) -> BoxFuture<Result<bool, Error>>;
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    Set {
        key: String,
        value: Vec<u8>,
    },
    Delete {
        key: String,
    },
    /// Sets or deletes if the value is what is expected; `None` is absent on both sides.
    Swap {
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    },
}

impl KeyChange {
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Set { key, .. } | Self::Delete { key } | Self::Swap { key, .. } => key,
        }
    }

    /// Octets that it writes, about.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        match self {
            Self::Set { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
            Self::Swap { key, value, .. } => key.len() + value.as_ref().map_or(0, Vec::len),
        }
    }
}

/// Checks the length of a key.
///
/// # Errors
/// `invalid-argument` with the length and the limit.
pub fn check_key(key: &str) -> Result<(), Error> {
    let length = key.len();
    if (1..=KEY_BYTES_MAX).contains(&length) {
        return Ok(());
    }
    let message = format!("key of {length} octets is not within 1 to {KEY_BYTES_MAX}");
    Err(Error::invalid_argument(message))
}

/// Checks the length of a value.
///
/// # Errors
/// As `check_key`.
pub fn check_value(length: usize) -> Result<(), Error> {
    if length <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("value of {length} octets exceeds the limit of {VALUE_BYTES_MAX}");
    Err(Error::invalid_argument(message))
}

/// What is told where no store of that name is configured.
#[must_use]
pub fn no_such_store(name: &str) -> Error {
    let message = format!("no store is called {name:?}; add [stores.{name}] to the configuration");
    Error::new(Kind::Unavailable, Blame::Gateway, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_bounded_at_their_edges() {
        assert!(check_key("a").is_ok() && check_key(&"a".repeat(1024)).is_ok());
        assert!(check_key("").is_err() && check_key(&"a".repeat(1025)).is_err());
        assert!(check_value(VALUE_BYTES_MAX).is_ok());
        let error = check_value(VALUE_BYTES_MAX + 1).unwrap_err();
        assert_eq!(
            error.message,
            "value of 1048577 octets exceeds the limit of 1048576"
        );
    }

    #[test]
    fn a_change_knows_its_key_and_what_it_writes() {
        let swap = KeyChange::Swap {
            key: "ab".to_owned(),
            expected: Some(vec![1; 9]),
            value: Some(vec![2; 3]),
        };
        assert_eq!((swap.key(), swap.n_bytes()), ("ab", 5));
    }
}
