//! `wasi:io/poll` for stores that may wait, as wasmtime has it; where there is a journal, what was ready
//! when is written down and comes again without waiting.

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::{WasiView, p2::DynPollable};
use wasmtime_wasi_io::bindings::wasi::io::poll;

use crate::{
    journal::{self, HostQuestion, Journal},
    state::StoreState,
};

/// The resources of a store, and its journal.
struct Polls<'a> {
    table: &'a mut ResourceTable,
    journal: Option<Journal>,
}

/// How a store gives them.
struct HasPolls;

impl HasData for HasPolls {
    type Data<'a> = Polls<'a>;
}

/// Replaces `wasi:io/poll` in a linker that has it.
pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    poll::add_to_linker::<StoreState, HasPolls>(linker, |state| Polls {
        journal: state.journal.clone(),
        table: state.ctx().table,
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

impl poll::Host for Polls<'_> {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let asking = journal::asking(self.journal.as_ref(), |_| {
            HostQuestion::effect("poll.poll").text(pollables.len().to_string())
        });
        journal::told_later(asking, poll::Host::poll(self.table, pollables)).await
    }
}

impl poll::HostPollable for Polls<'_> {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        let asking = journal::asking(self.journal.as_ref(), |_| {
            HostQuestion::effect("poll.ready")
        });
        journal::told_later(asking, poll::HostPollable::ready(self.table, pollable)).await
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        let asking = journal::asking(self.journal.as_ref(), |_| {
            HostQuestion::effect("poll.block")
        });
        journal::told_later(asking, poll::HostPollable::block(self.table, pollable)).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(self.table, pollable)
    }
}
