//! What is done with the store: one key, or several after one another; and compare and swap: what a key had when
//! its handle was made, and whether it still has it.

use wasmtime::component::Resource;

use super::{
    Store,
    shapes::{Cas, CasError, KeyValueError, NumberedKeys, told},
};
use crate::{
    bindings::Failure,
    kv_table::{self, KEYS_MAX},
    state::StoreState,
    store::Change,
};

/// Times that an increment is tried again because somebody else wrote the key.
const INCREMENT_TRIES_MAX: usize = 100;
/// Keys that `list-keys` gives at a time.
pub(super) const PAGE_KEYS: usize = 100;

pub(super) type Kept<T> = wasmtime::Result<Result<T, Failure>>;

pub(super) async fn get(store: &mut Store<'_>, key: String) -> Kept<Option<Vec<u8>>> {
    store.data_mut().on_host_call()?;
    if let Err(failure) = kv_table::check_key(&key) {
        return Ok(Err(failure));
    }
    Ok(StoreState::kv_get(store, key).await?)
}

pub(super) async fn set(store: &mut Store<'_>, key: String, value: Vec<u8>) -> Kept<()> {
    store.data_mut().on_host_call()?;
    let checked = kv_table::check_key(&key).and_then(|()| kv_table::check_value(value.len()));
    match checked {
        Ok(()) => Ok(write(store, Change::Set { key, value }).await?.map(|_| ())),
        Err(failure) => Ok(Err(failure)),
    }
}

pub(super) async fn delete(store: &mut Store<'_>, key: String) -> Kept<()> {
    store.data_mut().on_host_call()?;
    match kv_table::check_key(&key) {
        Ok(()) => Ok(write(store, Change::Delete { key }).await?.map(|_| ())),
        Err(failure) => Ok(Err(failure)),
    }
}

pub(super) async fn write(store: &mut Store<'_>, change: Change) -> Kept<bool> {
    Ok(StoreState::kv_write(store, change).await?)
}

pub(super) async fn keys(
    store: &mut Store<'_>,
    after: Option<String>,
    limit: usize,
) -> Kept<Vec<String>> {
    store.data_mut().on_host_call()?;
    Ok(StoreState::kv_keys(store, String::new(), after, limit).await?)
}

/// The keys from the `from`th on. The first draft counts them.
pub(super) async fn numbered_keys(store: &mut Store<'_>, from: u64) -> Kept<NumberedKeys> {
    let (mut after, mut left) = (None, from);
    loop {
        let page = match keys(store, after, PAGE_KEYS).await? {
            Ok(page) => page,
            Err(failure) => return Ok(Err(failure)),
        };
        let n_keys = page.len() as u64;
        let is_last = page.len() < PAGE_KEYS;
        if left < n_keys || is_last {
            let skipped = usize::try_from(left).unwrap_or(usize::MAX);
            let keys: Vec<_> = page.into_iter().skip(skipped).collect();
            let cursor = (!is_last).then(|| from + keys.len() as u64);
            return Ok(Ok(NumberedKeys { keys, cursor }));
        }
        left -= n_keys;
        after = page.last().cloned();
    }
}

pub(super) async fn get_many(
    store: &mut Store<'_>,
    keys: Vec<String>,
) -> wasmtime::Result<Result<Vec<(String, Option<Vec<u8>>)>, KeyValueError>> {
    if let Err(refused) = check_many(keys.len()) {
        return Ok(Err(refused));
    }
    let limit = store.data().guest.spec.limits.input_bytes_max;
    let (mut pairs, mut n_octets) = (Vec::with_capacity(keys.len()), 0);
    for key in keys {
        match get(store, key.clone()).await? {
            Ok(value) => {
                n_octets += value.as_ref().map_or(0, Vec::len);
                if n_octets > limit {
                    let message = format!("the values exceed the limit of {limit} octets");
                    return Ok(Err(KeyValueError::Other(message)));
                }
                pairs.push((key, value));
            }
            Err(failure) => return Ok(Err(told(failure))),
        }
    }
    Ok(Ok(pairs))
}

/// Replaces the number of a key by what `add` makes of it.
pub(super) async fn increment<N>(
    store: &mut Store<'_>,
    key: String,
    add: impl Fn(Option<N>) -> Option<N>,
) -> Kept<N>
where
    N: std::str::FromStr + ToString + Copy,
{
    let other = |message: String| kv_table::invalid(message);
    for _ in 0..INCREMENT_TRIES_MAX {
        let before = match get(store, key.clone()).await? {
            Ok(before) => before,
            Err(failure) => return Ok(Err(failure)),
        };
        let number = match &before {
            None => None,
            Some(octets) => {
                let text = std::str::from_utf8(octets).ok();
                match text.and_then(|text| text.parse().ok()) {
                    Some(number) => Some(number),
                    None => return Ok(Err(other(format!("the value of {key:?} is no number")))),
                }
            }
        };
        let Some(after) = add(number) else {
            return Ok(Err(other(format!("the number of {key:?} would overflow"))));
        };
        let change = Change::Swap {
            key: key.clone(),
            expected: before,
            value: Some(after.to_string().into_bytes()),
        };
        match write(store, change).await? {
            Ok(true) => return Ok(Ok(after)),
            Ok(false) => {}
            Err(failure) => return Ok(Err(failure)),
        }
    }
    Ok(Err(other(format!("others write {key:?} all the time"))))
}

pub(super) fn check_many(n_keys: usize) -> Result<(), KeyValueError> {
    match n_keys <= KEYS_MAX {
        true => Ok(()),
        false => {
            let message = format!("{n_keys} keys exceed the limit of {KEYS_MAX}");
            Err(KeyValueError::Other(message))
        }
    }
}

/// Handles that one store may have.
const CAS_MAX: usize = 1024;
/// Octets that they hold together, outside of the guest's memory: as many as eight of the largest values.
const CAS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Those of one store, by the number of their handles.
#[derive(Default)]
struct CasTable(Vec<Option<Compared>>);

#[derive(Clone)]
struct Compared {
    key: String,
    current: Option<Vec<u8>>,
}

impl Compared {
    fn n_octets(&self) -> usize {
        self.key.len() + self.current.as_ref().map_or(0, Vec::len)
    }
}

impl CasTable {
    /// Keeps one more; the number of its handle.
    fn keep(&mut self, compared: Compared) -> Result<usize, KeyValueError> {
        let free = self.0.iter().position(Option::is_none);
        let place = free.unwrap_or(self.0.len());
        if place >= CAS_MAX {
            let message = format!("{CAS_MAX} handles of cas are open, which is the limit");
            return Err(KeyValueError::Other(message));
        }
        self.check_room(place, &compared)?;
        match self.0.get_mut(place) {
            Some(free) => *free = Some(compared),
            None => self.0.push(Some(compared)),
        }
        Ok(place)
    }

    /// Puts `compared` in the place of what the handle has.
    fn replace(&mut self, place: usize, compared: Compared) -> Result<(), KeyValueError> {
        self.check_room(place, &compared)?;
        if let Some(place) = self.0.get_mut(place) {
            *place = Some(compared);
        }
        Ok(())
    }

    /// Whether there is room for `compared` at `place` beside all others.
    fn check_room(&self, place: usize, compared: &Compared) -> Result<(), KeyValueError> {
        let all = self.0.iter().enumerate();
        let others = all.filter(|(other, _)| *other != place);
        let held = others.filter_map(|(_, other)| Some(other.as_ref()?.n_octets()));
        let octets = held.sum::<usize>() + compared.n_octets();
        if octets <= CAS_BYTES_MAX {
            return Ok(());
        }
        let message = format!(
            "the handles of cas would hold {octets} octets, the limit is {CAS_BYTES_MAX}; drop some of them"
        );
        Err(KeyValueError::Other(message))
    }
}

/// A handle on what `key` has.
pub(super) async fn begin_cas(
    store: &mut Store<'_>,
    key: String,
) -> wasmtime::Result<Result<Resource<Cas>, KeyValueError>> {
    let current = get(store, key.clone()).await?;
    let compared = current.map(|current| Compared { key, current });
    Ok(compared.map_err(told).and_then(|one| keep(store, one)))
}

/// What the key of `cas` has, which is what `swap` compares with from here on.
pub(super) async fn current_of(
    store: &mut Store<'_>,
    cas: &Resource<Cas>,
) -> wasmtime::Result<Result<Option<Vec<u8>>, KeyValueError>> {
    let Some(Compared { key, .. }) = compared(store, cas) else {
        return Ok(Err(gone()));
    };
    let current = match get(store, key.clone()).await? {
        Ok(current) => current,
        Err(failure) => return Ok(Err(told(failure))),
    };
    let seen = Compared {
        key,
        current: current.clone(),
    };
    let replaced = match store.data_mut().kept.get_mut::<CasTable>() {
        Some(table) => table.replace(cas.rep() as usize, seen),
        None => Err(gone()),
    };
    Ok(replaced.map(|()| current))
}

/// The handle `rep` was dropped.
pub(super) fn forget_cas(state: &mut StoreState, rep: u32) {
    let table = state.kept.get_mut::<CasTable>();
    if let Some(compared) = table.and_then(|table| table.0.get_mut(rep as usize)) {
        *compared = None;
    }
}

/// Puts a value in place of the one that `cas` has seen.
pub(super) async fn swap_compared(
    store: &mut Store<'_>,
    cas: &Resource<Cas>,
    value: Vec<u8>,
) -> wasmtime::Result<Result<(), CasError>> {
    let Some(Compared { key, current }) = compared(store, cas) else {
        return Ok(Err(CasError::Store(gone())));
    };
    if let Err(failure) = kv_table::check_value(value.len()) {
        return Ok(Err(CasError::Store(told(failure))));
    }
    let change = Change::Swap {
        key: key.clone(),
        expected: current,
        value: Some(value),
    };
    match write(store, change).await? {
        Ok(true) => Ok(Ok(())),
        Ok(false) => {
            let current = match get(store, key.clone()).await? {
                Ok(current) => current,
                Err(failure) => return Ok(Err(CasError::Store(told(failure)))),
            };
            let kept = keep(store, Compared { key, current });
            Ok(Err(kept.map_or_else(CasError::Store, CasError::Failed)))
        }
        Err(failure) => Ok(Err(CasError::Store(told(failure)))),
    }
}

fn keep(store: &mut Store<'_>, compared: Compared) -> Result<Resource<Cas>, KeyValueError> {
    let slots = &mut store.data_mut().kept;
    if slots.get::<CasTable>().is_none() {
        slots.put(CasTable::default());
    }
    let table = slots.get_mut::<CasTable>();
    let place = table.ok_or_else(gone)?.keep(compared)?;
    Ok(Resource::new_own(u32::try_from(place).unwrap_or(u32::MAX)))
}

fn compared(store: &mut Store<'_>, cas: &Resource<Cas>) -> Option<Compared> {
    let table = store.data_mut().kept.get_mut::<CasTable>()?;
    table.0.get(cas.rep() as usize)?.clone()
}

fn gone() -> KeyValueError {
    KeyValueError::Other("the handle of cas is gone".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(n_octets: usize) -> Compared {
        Compared {
            key: String::new(),
            current: Some(vec![0; n_octets]),
        }
    }

    #[test]
    fn handles_of_cas_are_bounded_in_number_and_in_what_they_hold() {
        let mut table = CasTable::default();
        for place in 0..CAS_MAX {
            assert_eq!(table.keep(of(0)), Ok(place));
        }
        assert!(table.keep(of(0)).is_err());
        table.0[7] = None;
        assert_eq!(
            table.keep(of(CAS_BYTES_MAX)),
            Ok(7),
            "all that there is room for"
        );
        table.0[8] = None;
        let told = format!("{:?}", table.keep(of(1)).expect_err("one octet too many"));
        assert!(told.contains("the limit is 8388608"), "{told}");
        assert!(
            table.replace(9, of(1)).is_err(),
            "nor in the place of another"
        );
        assert_eq!(
            table.replace(7, of(CAS_BYTES_MAX - 1)),
            Ok(()),
            "its own goes"
        );
        assert_eq!(table.keep(of(1)), Ok(8));
    }
}
