//! Imports `wasi:keyvalue/store`, `atomics` and `batch`: the plugin's table of the persistent store, as
//! components of other hosts ask for it. Two drafts are about:
//!
//! | | `0.2.0-draft` | `0.2.0-draft2` |
//! | --- | --- | --- |
//! | cursor of `list-keys` | a number | a text |
//! | `increment` | `u64` | `s64` |
//! | `get-many` gives | `option<tuple<string, list<u8>>>` | `tuple<string, option<list<u8>>>` |
//! | `cas` and `swap` | none | as of the draft |
//!
//! What `increment` counts is kept as decimal digits.

mod operations;
mod shapes;

use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType},
};

use self::operations::{
    Kept, PAGE_KEYS, begin_cas, check_many, current_of, delete, forget_cas, get, get_many,
    increment, keys, numbered_keys, set, swap_compared,
};
use self::shapes::{Cas, KeyValueError, NumberedKeys, told};
use crate::{call_path::link_bailout, state::StoreState, trap::waiting};

type Store<'a> = StoreContextMut<'a, StoreState>;
type Answer<T> = wasmtime::Result<(Result<T, KeyValueError>,)>;

/// `store.bucket`. All that there are of one store are the same table.
struct Bucket;

/// `store.key-response` of the second draft.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
struct NamedKeys {
    keys: Vec<String>,
    cursor: Option<String>,
}

const DRAFT: &str = "0.2.0-draft";
const DRAFT_2: &str = "0.2.0-draft2";
const BUCKET: &str = "bucket";
const CAS: &str = "cas";

/// Functions of both drafts, by interface.
const FUNCTIONS: [(&str, &[&str]); 3] = [
    (
        "store",
        &[
            "open",
            "[method]bucket.get",
            "[method]bucket.set",
            "[method]bucket.delete",
            "[method]bucket.exists",
            "[method]bucket.list-keys",
        ],
    ),
    (
        "atomics",
        &[
            "increment",
            "swap",
            "[static]cas.new",
            "[method]cas.current",
        ],
    ),
    ("batch", &["get-many", "set-many", "delete-many"]),
];

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    for draft in [DRAFT, DRAFT_2] {
        define_bucket(linker, draft)?;
        link_store(&mut linker.instance(&name("store", draft))?)?;
        link_batch(&mut linker.instance(&name("batch", draft))?)?;
    }
    link_first(linker)?;
    link_second(linker)
}

/// For calls that may be begun anew: all of it bails out.
pub(crate) fn link_inline(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    link_each(linker, |interface, _, function| {
        link_bailout(interface, function)
    })
}

/// For components that are entered directly: all of it traps.
pub(crate) fn link_direct(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    link_each(linker, |interface, name, function| {
        let told = format!("{name}.{function}");
        interface.func_new(function, move |_, _, _, _| Err(waiting(&told)))
    })
}

fn link_each(
    linker: &mut Linker<StoreState>,
    link: impl Fn(&mut LinkerInstance<'_, StoreState>, &str, &str) -> wasmtime::Result<()>,
) -> wasmtime::Result<()> {
    for draft in [DRAFT, DRAFT_2] {
        define_bucket(linker, draft)?;
        for (interface, functions) in FUNCTIONS {
            let name = name(interface, draft);
            let mut linked = linker.instance(&name)?;
            for function in functions {
                link(&mut linked, &name, function)?;
            }
        }
    }
    define_cas(linker)
}

fn name(interface: &str, draft: &str) -> String {
    format!("wasi:keyvalue/{interface}@{draft}")
}

fn define_bucket(linker: &mut Linker<StoreState>, draft: &str) -> wasmtime::Result<()> {
    let mut store = linker.instance(&name("store", draft))?;
    store.resource(BUCKET, ResourceType::host::<Bucket>(), |_, _| Ok(()))
}

fn define_cas(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut atomics = linker.instance(&name("atomics", DRAFT_2))?;
    atomics.resource(CAS, ResourceType::host::<Cas>(), |mut store, rep| {
        forget_cas(store.data_mut(), rep);
        Ok(())
    })
}

/// What of `store` is alike in both drafts.
fn link_store(store: &mut LinkerInstance<'_, StoreState>) -> wasmtime::Result<()> {
    store.func_wrap("open", |mut store: Store<'_>, (name,): (String,)| {
        store.data_mut().on_host_call()?;
        let granted = store.data().guest.spec.grants.kv.as_deref();
        let is_known = ["", "default"].contains(&&*name) || granted == Some(&*name);
        let opened = match is_known {
            true => Ok(Resource::<Bucket>::new_own(0)),
            false => Err(KeyValueError::NoSuchStore),
        };
        Ok((opened,))
    })?;
    type Key = (Resource<Bucket>, String);
    store.func_wrap_async(
        "[method]bucket.get",
        |mut store: Store<'_>, (_, key): Key| {
            Box::new(async move { answer(get(&mut store, key).await) })
        },
    )?;
    store.func_wrap_async(
        "[method]bucket.exists",
        |mut store: Store<'_>, (_, key): Key| {
            Box::new(async move {
                let found = get(&mut store, key).await?;
                Ok((found.map(|value| value.is_some()).map_err(told),))
            })
        },
    )?;
    store.func_wrap_async(
        "[method]bucket.set",
        |mut store: Store<'_>, (_, key, value): (Resource<Bucket>, String, Vec<u8>)| {
            Box::new(async move { answer(set(&mut store, key, value).await) })
        },
    )?;
    store.func_wrap_async(
        "[method]bucket.delete",
        |mut store: Store<'_>, (_, key): Key| {
            Box::new(async move { answer(delete(&mut store, key).await) })
        },
    )
}

fn link_batch(batch: &mut LinkerInstance<'_, StoreState>) -> wasmtime::Result<()> {
    type Pairs = (Resource<Bucket>, Vec<(String, Vec<u8>)>);
    batch.func_wrap_async("set-many", |mut store: Store<'_>, (_, pairs): Pairs| {
        Box::new(async move {
            if let Err(refused) = check_many(pairs.len()) {
                return Ok((Err(refused),));
            }
            for (key, value) in pairs {
                if let Err(failure) = set(&mut store, key, value).await? {
                    return Ok((Err(told(failure)),));
                }
            }
            Ok((Ok(()),))
        })
    })?;
    batch.func_wrap_async(
        "delete-many",
        |mut store: Store<'_>, (_, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move {
                if let Err(refused) = check_many(keys.len()) {
                    return Ok((Err(refused),));
                }
                for key in keys {
                    if let Err(failure) = delete(&mut store, key).await? {
                        return Ok((Err(told(failure)),));
                    }
                }
                Ok((Ok(()),))
            })
        },
    )
}

/// What is the first draft's own.
fn link_first(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut store = linker.instance(&name("store", DRAFT))?;
    store.func_wrap_async(
        "[method]bucket.list-keys",
        |mut store: Store<'_>, (_, cursor): (Resource<Bucket>, Option<u64>)| {
            Box::new(async move {
                let page = numbered_keys(&mut store, cursor.unwrap_or_default()).await?;
                Ok((page.map_err(told),)) as Answer<NumberedKeys>
            })
        },
    )?;
    let mut atomics = linker.instance(&name("atomics", DRAFT))?;
    atomics.func_wrap_async(
        "increment",
        |mut store: Store<'_>, (_, key, delta): (Resource<Bucket>, String, u64)| {
            Box::new(async move {
                let add = move |before: Option<u64>| before.unwrap_or_default().checked_add(delta);
                answer(increment(&mut store, key, add).await)
            })
        },
    )?;
    let mut batch = linker.instance(&name("batch", DRAFT))?;
    batch.func_wrap_async(
        "get-many",
        |mut store: Store<'_>, (_, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move {
                let pairs = get_many(&mut store, keys).await?;
                let found = |(key, value): (String, Option<Vec<u8>>)| Some((key, value?));
                Ok((pairs.map(|pairs| pairs.into_iter().map(found).collect::<Vec<_>>()),))
            })
        },
    )
}

/// What is the second draft's own.
fn link_second(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut store = linker.instance(&name("store", DRAFT_2))?;
    store.func_wrap_async(
        "[method]bucket.list-keys",
        |mut store: Store<'_>, (_, cursor): (Resource<Bucket>, Option<String>)| {
            Box::new(async move {
                let keys = keys(&mut store, cursor, PAGE_KEYS).await?;
                let page = keys.map(|keys| NamedKeys {
                    cursor: keys.last().filter(|_| keys.len() == PAGE_KEYS).cloned(),
                    keys,
                });
                Ok((page.map_err(told),))
            })
        },
    )?;
    define_cas(linker)?;
    let mut atomics = linker.instance(&name("atomics", DRAFT_2))?;
    atomics.func_wrap_async(
        "increment",
        |mut store: Store<'_>, (_, key, delta): (Resource<Bucket>, String, i64)| {
            Box::new(async move {
                let add = move |before: Option<i64>| before.unwrap_or_default().checked_add(delta);
                answer(increment(&mut store, key, add).await)
            })
        },
    )?;
    atomics.func_wrap_async(
        "[static]cas.new",
        |mut store: Store<'_>, (_, key): (Resource<Bucket>, String)| {
            Box::new(async move { Ok((begin_cas(&mut store, key).await?,)) })
        },
    )?;
    atomics.func_wrap_async(
        "[method]cas.current",
        |mut store: Store<'_>, (cas,): (Resource<Cas>,)| {
            Box::new(async move { Ok((current_of(&mut store, &cas).await?,)) })
        },
    )?;
    atomics.func_wrap_async(
        "swap",
        |mut store: Store<'_>, (cas, value): (Resource<Cas>, Vec<u8>)| {
            Box::new(async move { Ok((swap_compared(&mut store, &cas, value).await?,)) })
        },
    )?;
    let mut batch = linker.instance(&name("batch", DRAFT_2))?;
    batch.func_wrap_async(
        "get-many",
        |mut store: Store<'_>, (_, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move { Ok((get_many(&mut store, keys).await?,)) })
        },
    )
}

fn answer<T>(kept: Kept<T>) -> Answer<T> {
    Ok((kept?.map_err(told),))
}
