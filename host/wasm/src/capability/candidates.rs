//! Import `candidates`: what a balancer may know of the instances while it picks.

use wasmtime::{StoreContextMut, component::Linker};

use crate::{
    bindings::extension::CANDIDATES,
    state::State,
    subject::{Candidates, Subject},
};

type Store<'a> = StoreContextMut<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(CANDIDATES)?;
    interface.func_wrap("usable", |mut store: Store<'_>, (index,): (u32,)| {
        store.data_mut().on_host_call()?;
        let usable = candidates(store.data()).is_some_and(|all| all.is_usable(index));
        Ok((usable,))
    })?;
    interface.func_wrap("random", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        Ok((candidates(store.data()).map_or(0, |all| all.random),))
    })
}

fn candidates(state: &State) -> Option<&Candidates> {
    match &state.subject {
        Some(Subject::Candidates(candidates)) => Some(candidates),
        Some(Subject::Exchange(_) | Subject::Frame(_)) | None => None,
    }
}
