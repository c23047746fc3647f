//! Import `kv`: the plugin's own table of the persistent store, or a shared one by grant.

use std::sync::Arc;

use postern_core::Kind;
use postern_system::clock;
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList, WasmStr},
};

use crate::{
    bindings::{self, Failure},
    convert::{failure, text_of},
    host_call::HostCall,
    journal::{self, HostQuestion},
    kv_overlay::KvOverlay,
    kv_table::{KEYS_MAX, Table, check_key, check_value, no_store},
    shadowed,
    state::StoreState,
    store::{Change, StoreError},
    store_stats::HostImport,
    trap::Stop,
};

type Store<'a> = StoreContextMut<'a, StoreState>;

/// A table as a guest has it.
enum KvView {
    Plugin(Table),
    Copy(Arc<KvOverlay>),
}

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::KV)?;
    interface.func_wrap_async("get", |store: Store<'_>, (key,): (WasmStr,)| {
        Box::new(async move { Ok((get(store, key).await?,)) })
    })?;
    interface.func_wrap_async(
        "set",
        |store: Store<'_>, (key, value): (WasmStr, WasmList<u8>)| {
            Box::new(async move {
                let value = read_value(&store, &value);
                Ok((set(store, key, value).await?,))
            })
        },
    )?;
    interface.func_wrap_async("get-text", |store: Store<'_>, (key,): (WasmStr,)| {
        Box::new(async move {
            let value = get(store, key).await?;
            let text = |value| text_of(value, Kind::FailedPrecondition, "value");
            Ok((value.and_then(|value| value.map(text).transpose()),))
        })
    })?;
    interface.func_wrap_async(
        "set-text",
        |store: Store<'_>, (key, value): (WasmStr, WasmStr)| {
            Box::new(async move {
                let value = {
                    let text = value.to_str(&store)?;
                    check_value(text.len()).map(|()| text.as_bytes().to_vec())
                };
                Ok((set(store, key, value).await?,))
            })
        },
    )?;
    interface.func_wrap_async("delete", |store: Store<'_>, (key,): (WasmStr,)| {
        Box::new(async move { Ok((delete(store, key).await?,)) })
    })?;
    type Swap = (WasmStr, Option<WasmList<u8>>, Option<WasmList<u8>>);
    interface.func_wrap_async("swap", |store: Store<'_>, (key, expected, value): Swap| {
        Box::new(async move { Ok((swap(store, key, expected, value).await?,)) })
    })?;
    interface.func_wrap_async(
        "keys",
        |store: Store<'_>, arguments: (String, Option<String>, u32)| {
            Box::new(async move { Ok((keys(store, arguments).await?,)) })
        },
    )
}

async fn get(
    mut store: Store<'_>,
    key: WasmStr,
) -> wasmtime::Result<Result<Option<Vec<u8>>, Failure>> {
    let key = match read_key(&mut store, key)? {
        Ok(key) => key,
        Err(failure) => return Ok(Err(failure)),
    };
    let journal = store.data().journal.as_ref();
    let asking = journal::asking(journal, |_| HostQuestion::read("kv.get").text(&key));
    let real = StoreState::kv_get(&mut store, key);
    Ok(journal::through(asking, real).await?)
}

async fn set(
    mut store: Store<'_>,
    key: WasmStr,
    value: Result<Vec<u8>, Failure>,
) -> wasmtime::Result<Result<(), Failure>> {
    let change = match (read_key(&mut store, key)?, value) {
        (Ok(key), Ok(value)) => Change::Set { key, value },
        (Err(failure), _) | (_, Err(failure)) => return Ok(Err(failure)),
    };
    Ok(write(store, change).await?.map(|_| ()))
}

async fn delete(mut store: Store<'_>, key: WasmStr) -> wasmtime::Result<Result<bool, Failure>> {
    match read_key(&mut store, key)? {
        Ok(key) => Ok(write(store, Change::Delete { key }).await?),
        Err(failure) => Ok(Err(failure)),
    }
}

async fn swap(
    mut store: Store<'_>,
    key: WasmStr,
    expected: Option<WasmList<u8>>,
    value: Option<WasmList<u8>>,
) -> wasmtime::Result<Result<bool, Failure>> {
    let key = read_key(&mut store, key)?;
    let change = match (
        key,
        read_option(&store, expected),
        read_option(&store, value),
    ) {
        (Ok(key), Ok(expected), Ok(value)) => Change::Swap {
            key,
            expected,
            value,
        },
        (Err(failure), ..) | (_, Err(failure), _) | (.., Err(failure)) => return Ok(Err(failure)),
    };
    Ok(write(store, change).await?)
}

async fn keys(
    mut store: Store<'_>,
    (prefix, after, limit): (String, Option<String>, u32),
) -> wasmtime::Result<Result<Vec<String>, Failure>> {
    store.data_mut().on_host_call_of(HostImport::Kv)?;
    let asking = journal::asking(store.data().journal.as_ref(), |_| {
        let question = HostQuestion::read("kv.keys").text(&prefix);
        question.option(after.clone()).text(limit.to_string())
    });
    let limit = usize::try_from(limit).unwrap_or(KEYS_MAX).min(KEYS_MAX);
    let real = StoreState::kv_keys(&mut store, prefix, after, limit);
    Ok(journal::through(asking, real).await?)
}

async fn write(mut store: Store<'_>, change: Change) -> Result<Result<bool, Failure>, Stop> {
    let asking = journal::asking(store.data().journal.as_ref(), |_| question_of(&change));
    let real = StoreState::kv_write(&mut store, change);
    journal::through(asking, real).await
}

/// What a journal writes of a change.
fn question_of(change: &Change) -> HostQuestion {
    let about = |ask, key: &String| HostQuestion::effect(ask).text(key).about();
    match change {
        Change::Set { key, value } => about("kv.set", key).octets(value.clone()),
        Change::Delete { key } => about("kv.delete", key),
        Change::Swap {
            key,
            expected,
            value,
        } => {
            let question = about("kv.swap", key).option(expected.clone());
            question.option(value.clone())
        }
    }
}

impl StoreState {
    /// The value of `key` in the table that the guest has.
    pub(crate) async fn kv_get(
        store: &mut Store<'_>,
        key: String,
    ) -> Result<Result<Option<Vec<u8>>, Failure>, Stop> {
        let Some(view) = store.data().kv_view() else {
            return Ok(Err(no_store()));
        };
        Self::within_kv_bounds(store, view.get(key)).await
    }

    /// Up to `limit` keys that begin with `prefix` and come after `after`.
    pub(crate) async fn kv_keys(
        store: &mut Store<'_>,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Result<Vec<String>, Failure>, Stop> {
        let Some(view) = store.data().kv_view() else {
            return Ok(Err(no_store()));
        };
        Self::within_kv_bounds(store, view.keys(prefix, after, limit)).await
    }

    /// Makes a change; says whether it changed anything.
    pub(crate) async fn kv_write(
        store: &mut Store<'_>,
        change: Change,
    ) -> Result<Result<bool, Failure>, Stop> {
        let context = store.data().context();
        let Some(view) = store.data().kv_view() else {
            return Ok(Err(no_store()));
        };
        if matches!(view, KvView::Plugin(_))
            && let Err(refused) = shadowed::permit(context, "a write to the store")
        {
            return Ok(Err(refused));
        }
        let mark = shadowed::mark(context).cloned();
        let writing = async {
            let written = view.write(change).await;
            if let (Err(StoreError::CopyFull { .. }), Some(mark)) = (&written, mark) {
                mark.note_effect();
            }
            written
        };
        Self::within_kv_bounds(store, writing).await
    }

    /// The table as this entry has it; `None` where the gateway has no store.
    fn kv_view(&self) -> Option<KvView> {
        let table = self.guest.shared.get::<Table>()?;
        let overlay = shadowed::state::<KvOverlay>(self.context());
        Some(
            match overlay.filter(|overlay| overlay.is_over(&table.name)) {
                Some(overlay) => KvView::Copy(overlay),
                None => KvView::Plugin(table.clone()),
            },
        )
    }

    /// Waits for the store, at most until the call's end. A write that was begun is then still done.
    async fn within_kv_bounds<T>(
        store: &mut Store<'_>,
        future: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Result<T, Failure>, Stop> {
        let guest = &store.data().guest;
        let begun = HostCall::begin(&guest.sandbox, &guest.spec.limits, &guest.plugin);
        let host_call = match begun {
            Ok(host_call) => host_call,
            Err(failure) => return Ok(Err(failure)),
        };
        let end = store.data().end();
        // It has an end of its own (`limits.time`), for which nobody else polls it.
        let result = tokio::time::timeout_at(end.min(host_call.end()).into(), future).await;
        let stats = store.data().host_calls.stats();
        stats.on_wait(HostImport::Kv, host_call.time());
        let Ok(result) = result else {
            // Where it is not the guest's own end that came, the guest is told and goes on.
            return match (store.data().check_time(clock::now()), host_call.late()) {
                (Ok(()), Some(late)) => Ok(Err(late)),
                (Err(stop), _) => Err(stop),
                (Ok(()), None) => Err(store.data().check_time(end).err().unwrap_or(Stop::Deadline)),
            };
        };
        Ok(result.map_err(|error| {
            // The store itself says once that it failed; each call that meets it is an exception of its
            // own.
            tracing::debug!(plugin = %store.data().guest.plugin, %error, "key/value store failed");
            failure(error.kind(), error.to_string())
        }))
    }
}

impl KvView {
    async fn get(&self, key: String) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Plugin(table) => table.get(key).await,
            Self::Copy(overlay) => overlay.get(key).await,
        }
    }

    async fn keys(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Plugin(table) => table.keys(prefix, after, limit).await,
            Self::Copy(overlay) => overlay.keys(prefix, after, limit).await,
        }
    }

    async fn write(&self, change: Change) -> Result<bool, StoreError> {
        match self {
            Self::Plugin(table) => table.write(change).await,
            Self::Copy(overlay) => overlay.write(change).await,
        }
    }
}

fn read_key(store: &mut Store<'_>, key: WasmStr) -> wasmtime::Result<Result<String, Failure>> {
    store.data_mut().on_host_call_of(HostImport::Kv)?;
    let key = key.to_str(&*store)?;
    Ok(check_key(&key).map(|()| key.into_owned()))
}

fn read_value(store: &Store<'_>, value: &WasmList<u8>) -> Result<Vec<u8>, Failure> {
    check_value(value.len())?;
    Ok(value.as_le_slice(store).to_vec())
}

fn read_option(store: &Store<'_>, value: Option<WasmList<u8>>) -> Result<Option<Vec<u8>>, Failure> {
    value.map(|value| read_value(store, &value)).transpose()
}
