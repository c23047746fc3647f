//! Compare and swap: what a key had when its handle was made, and whether it still has it.

use wasmtime::component::Resource;

use super::{
    operations::{get, write},
    shapes::{Cas, CasError, KeyValueError, Store, told},
};
use crate::{capability::kv, state::StoreState, store::Change};

/// Handles that one store may have.
const CAS_MAX: usize = 1024;

/// Those of one store, by the number of their handles.
#[derive(Default)]
struct CasTable(Vec<Option<Compared>>);

#[derive(Clone)]
struct Compared {
    key: String,
    current: Option<Vec<u8>>,
}

/// A handle on what `key` has.
pub(super) async fn begin(
    store: &mut Store<'_>,
    key: String,
) -> wasmtime::Result<Result<Resource<Cas>, KeyValueError>> {
    let current = get(store, key.clone()).await?;
    let compared = current.map(|current| Compared { key, current });
    Ok(compared.map_err(told).and_then(|one| keep(store, one)))
}

/// What the key of `cas` has, which is what `swap` compares with from here on.
pub(super) async fn current(
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
    replace(store, cas, seen);
    Ok(Ok(current))
}

/// The handle `rep` was dropped.
pub(super) fn forget(state: &mut StoreState, rep: u32) {
    let table = state.kept.get_mut::<CasTable>();
    if let Some(compared) = table.and_then(|table| table.0.get_mut(rep as usize)) {
        *compared = None;
    }
}

/// Puts a value in place of the one that `cas` has seen.
pub(super) async fn swap(
    store: &mut Store<'_>,
    cas: &Resource<Cas>,
    value: Vec<u8>,
) -> wasmtime::Result<Result<(), CasError>> {
    let Some(Compared { key, current }) = compared(store, cas) else {
        return Ok(Err(CasError::Store(gone())));
    };
    if let Err(failure) = kv::check_value(value.len()) {
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
    let table = table.ok_or_else(gone)?;
    let free = table.0.iter().position(Option::is_none);
    let place = free.unwrap_or(table.0.len());
    if place >= CAS_MAX {
        let message = format!("{CAS_MAX} handles of cas are open, which is the limit");
        return Err(KeyValueError::Other(message));
    }
    match table.0.get_mut(place) {
        Some(free) => *free = Some(compared),
        None => table.0.push(Some(compared)),
    }
    Ok(Resource::new_own(u32::try_from(place).unwrap_or(u32::MAX)))
}

fn compared(store: &mut Store<'_>, cas: &Resource<Cas>) -> Option<Compared> {
    let table = store.data_mut().kept.get_mut::<CasTable>()?;
    table.0.get(cas.rep() as usize)?.clone()
}

fn replace(store: &mut Store<'_>, cas: &Resource<Cas>, compared: Compared) {
    let table = store.data_mut().kept.get_mut::<CasTable>();
    if let Some(place) = table.and_then(|table| table.0.get_mut(cas.rep() as usize)) {
        *place = Some(compared);
    }
}

fn gone() -> KeyValueError {
    KeyValueError::Other("the handle of cas is gone".to_owned())
}
