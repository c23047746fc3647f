//! Import `config`: the manifest's table `config`.

use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmStr},
};

use crate::{bindings, state::StoreState, store_stats::HostImport};

type Store<'a> = StoreContextMut<'a, StoreState>;

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CONFIG)?;
    interface.func_wrap("get", |mut store: Store<'_>, (key,): (WasmStr,)| {
        store.data_mut().on_host_call_of(HostImport::Config)?;
        let key = key.to_str(&store)?;
        Ok((store.data().guest.spec.config.get(&*key).cloned(),))
    })?;
    interface.func_wrap("all", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Config)?;
        let config = &store.data().guest.spec.config;
        let all = config
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()));
        Ok((all.collect::<Vec<(String, String)>>(),))
    })
}
