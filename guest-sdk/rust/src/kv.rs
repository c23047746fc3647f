//! A persistent key/value store, private to the plugin unless the manifest grants a shared one.
//! A call that returned has been written to disk. Keys are 1 to 1,024 octets, values up to 1 MiB.
//!
//! Values are serde types kept as JSON; [`octets`] keeps them as they are. Every function fails with
//! what the host says (`invalid-argument` for a key or value over its limit, `resource-exhausted`,
//! `unavailable`), reading also with `data-loss` when what is stored is not a `T`.

use serde::{Serialize, de::DeserializeOwned};

use crate::{failure::Failure, host};

/// How often [`update`] tries before it gives up.
const UPDATE_ATTEMPTS_MAX: usize = 16;

/// The value of a key; `None` when there is no such key.
///
/// # Errors
/// `data-loss` when the value is not a `T`, and those of the module.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Failure> {
    host::kv_get(key)?
        .map(|value| read(key, &value))
        .transpose()
}

/// Sets a key, whatever it was.
///
/// # Errors
/// Those of the module.
pub fn set<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<(), Failure> {
    host::kv_set(key, &write(value)?)
}

/// Whether there was such a key.
///
/// # Errors
/// Those of the module.
pub fn delete(key: &str) -> Result<bool, Failure> {
    host::kv_delete(key)
}

/// Sets a key that is absent, in one step. Says whether it did.
///
/// # Errors
/// Those of the module.
pub fn insert<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<bool, Failure> {
    host::kv_swap(key, None, Some(&write(value)?))
}

/// Sets or deletes (`value` none) the key if its value is `expected` (none: absent), in one step.
/// Says whether it did. Values are compared as the JSON that `T` is written as.
///
/// # Errors
/// Those of the module.
pub fn swap<T: Serialize + ?Sized>(
    key: &str,
    expected: Option<&T>,
    value: Option<&T>,
) -> Result<bool, Failure> {
    let expected = expected.map(write).transpose()?;
    let value = value.map(write).transpose()?;
    host::kv_swap(key, expected.as_deref(), value.as_deref())
}

/// Reads, changes and writes in one step: `change` is given the value (none: absent) and says what
/// it becomes (none: deleted). It is called again when another instance was faster. Returns what is
/// stored afterwards.
///
/// # Errors
/// What `change` fails with, `aborted` after 16 lost races, and those of [`get`].
pub fn update<T, F>(key: &str, mut change: F) -> Result<Option<T>, Failure>
where
    T: Serialize + DeserializeOwned,
    F: FnMut(Option<T>) -> Result<Option<T>, Failure>,
{
    for _ in 0..UPDATE_ATTEMPTS_MAX {
        let old = host::kv_get(key)?;
        let new = change(old.as_deref().map(|value| read(key, value)).transpose()?)?;
        let octets = new.as_ref().map(write).transpose()?;
        if host::kv_swap(key, old.as_deref(), octets.as_deref())? {
            return Ok(new);
        }
    }
    Err(Failure::aborted(format!(
        "key `{key}` was changed by others {UPDATE_ATTEMPTS_MAX} times"
    )))
}

/// Up to `limit` (at most 1,000) keys that begin with `prefix` and come after `after`, in order.
///
/// # Errors
/// Those of the module.
pub fn keys(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, Failure> {
    host::kv_keys(prefix, after, limit)
}

/// Values as they are.
pub mod octets {
    use crate::{failure::Failure, host};

    /// The value of a key; `None` when there is no such key.
    ///
    /// # Errors
    /// Those of the module [`kv`](super).
    pub fn get(key: &str) -> Result<Option<Vec<u8>>, Failure> {
        host::kv_get(key)
    }

    /// Sets a key, whatever it was.
    ///
    /// # Errors
    /// Those of the module [`kv`](super).
    pub fn set(key: &str, value: &[u8]) -> Result<(), Failure> {
        host::kv_set(key, value)
    }

    /// As [`kv::swap`](super::swap).
    ///
    /// # Errors
    /// Those of the module [`kv`](super).
    pub fn swap(key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, Failure> {
        host::kv_swap(key, expected, value)
    }
}

fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(value).map_err(|error| {
        Failure::data_loss(format!("value of key `{key}` cannot be read: {error}"))
    })
}

fn write<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value)
        .map_err(|error| Failure::internal(format!("value cannot be written as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, fake::Host};

    #[test]
    fn values_come_back_as_they_were_set() {
        let _host = Host::new();
        assert_eq!(get::<u8>("k"), Ok(None));
        set("k", &7_u8).unwrap();
        assert_eq!(get("k"), Ok(Some(7_u8)));
        assert_eq!((delete("k"), delete("k")), (Ok(true), Ok(false)));
    }

    #[test]
    fn insert_keeps_what_is_there() {
        let _host = Host::new();
        assert_eq!((insert("k", "a"), insert("k", "b")), (Ok(true), Ok(false)));
        assert_eq!(get("k"), Ok(Some("a".to_owned())));
    }

    #[test]
    fn swap_needs_the_expected_value() {
        let _host = Host::new();
        assert_eq!(swap("k", Some(&1), Some(&2)), Ok(false));
        assert_eq!(swap("k", None, Some(&1)), Ok(true));
        assert_eq!(swap("k", Some(&1), Some(&2)), Ok(true));
        assert_eq!(swap("k", Some(&2), None), Ok(true));
        assert_eq!(get::<u8>("k"), Ok(None));
    }

    #[test]
    fn update_tries_again_when_another_was_faster() {
        let _host = Host::new();
        let mut attempts = 0;
        let stored = update("n", |old: Option<u32>| {
            attempts += 1;
            if attempts == 1 {
                set("n", &40_u32)?;
            }
            Ok(Some(old.unwrap_or(0) + 2))
        });
        assert_eq!((stored, attempts), (Ok(Some(42)), 2));
    }

    #[test]
    fn update_gives_up_after_sixteen_lost_races() {
        let _host = Host::new();
        let mut attempts = 0_u32;
        let failure = update("n", |_: Option<u32>| {
            attempts += 1;
            set("n", &attempts)?;
            Ok(Some(0))
        });
        assert_eq!((failure.unwrap_err().kind, attempts), (Kind::Aborted, 16));
    }

    #[test]
    fn a_value_of_another_type_is_data_loss() {
        let _host = Host::new();
        octets::set("k", b"x").unwrap();
        let failure = get::<u8>("k").unwrap_err();
        assert_eq!(failure.kind, Kind::DataLoss);
        assert_eq!(
            failure.message,
            "value of key `k` cannot be read: expected value at line 1 column 1"
        );
    }
}
