//! Imports `wasi:config/store` and `wasi:config/runtime`: the manifest's table `config`, as components of
//! other hosts ask for it.

use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, Lower, WasmStr},
};

use crate::state::StoreState;

type Store<'a> = StoreContextMut<'a, StoreState>;

/// The interfaces, with their versions. All have the same functions.
const INTERFACES: [&str; 4] = [
    "wasi:config/store@0.2.0-draft-2024-09-27",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/runtime@0.2.0-draft",
];

/// Why there is no configuration. Never so here.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
enum ConfigError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    for name in INTERFACES {
        let mut interface = linker.instance(name)?;
        interface.func_wrap("get", |mut store: Store<'_>, (key,): (WasmStr,)| {
            store.data_mut().on_host_call()?;
            let key = key.to_str(&store)?;
            let value = store.data().guest.spec.config.get(&*key).cloned();
            Ok((Ok::<_, ConfigError>(value),))
        })?;
        interface.func_wrap("get-all", |mut store: Store<'_>, (): ()| {
            store.data_mut().on_host_call()?;
            let config = &store.data().guest.spec.config;
            let all = config
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()));
            let all: Vec<(String, String)> = all.collect();
            Ok((Ok::<_, ConfigError>(all),))
        })?;
    }
    Ok(())
}
