//! Import `config`: the manifest's table `config`.

use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmStr},
};

use crate::{
    bindings,
    journal::{self, HostQuestion},
    state::StoreState,
    store_stats::HostImport,
};

type Store<'a> = StoreContextMut<'a, StoreState>;

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CONFIG)?;
    interface.func_wrap("get", |mut store: Store<'_>, (key,): (WasmStr,)| {
        store.data_mut().on_host_call_of(HostImport::Config)?;
        let key = key.to_str(&store)?;
        let state = store.data();
        let asking = journal::asking(state.journal.as_ref(), |_| {
            HostQuestion::read("config.get").text(&*key)
        });
        let value = || state.guest.spec.config.get(&*key).cloned();
        journal::told(asking, || Ok(value())).map(|value| (value,))
    })?;
    interface.func_wrap("all", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Config)?;
        let state = store.data();
        let asking = journal::asking(state.journal.as_ref(), |_| HostQuestion::read("config.all"));
        let all = || {
            let all = state.guest.spec.config.iter();
            let all = all.map(|(key, value)| (key.clone(), value.clone()));
            all.collect::<Vec<(String, String)>>()
        };
        journal::told(asking, || Ok(all())).map(|all| (all,))
    })
}
