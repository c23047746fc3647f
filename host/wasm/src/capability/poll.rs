//! `wasi:io/poll` for stores that may wait: as wasmtime has it, and until the guest's own end, which nothing else
//! looks at while a guest sleeps or waits for a socket.

use std::time::Instant;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::{WasiView, p2::DynPollable};
use wasmtime_wasi_io::bindings::wasi::io::poll;

use crate::{
    journal::{self, HostQuestion, Journal},
    state::StoreState,
    trap::Stop,
};

/// The resources of a store, and when a wait is over.
struct Bounded<'a> {
    table: &'a mut ResourceTable,
    end: Instant,
    stop: Stop,
    /// Where what was ready when is written down, or comes from.
    journal: Option<Journal>,
}

/// How a store gives them.
struct HasBounded;

impl HasData for HasBounded {
    type Data<'a> = Bounded<'a>;
}

/// Replaces `wasi:io/poll`, which is linked before.
pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    poll::add_to_linker::<StoreState, HasBounded>(linker, bounded)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn bounded(state: &mut StoreState) -> Bounded<'_> {
    let end = state.end();
    let stop = state.check_time(end).err().unwrap_or(Stop::Deadline);
    Bounded {
        journal: state.journal.clone(),
        table: state.ctx().table,
        end,
        stop,
    }
}

impl poll::Host for Bounded<'_> {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let asking = journal::asking(self.journal.as_ref(), |_| {
            HostQuestion::effect("poll.poll").text(pollables.len().to_string())
        });
        let ready = poll::Host::poll(self.table, pollables);
        let ready = journal::told_later(asking, ready);
        let ready = tokio::time::timeout_at(self.end.into(), ready).await;
        ready.map_err(|_| self.stop)?
    }
}

impl poll::HostPollable for Bounded<'_> {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        let asking = journal::asking(self.journal.as_ref(), |_| {
            HostQuestion::effect("poll.block")
        });
        let ready = poll::HostPollable::block(self.table, pollable);
        let ready = journal::told_later(asking, ready);
        let ready = tokio::time::timeout_at(self.end.into(), ready).await;
        ready.map_err(|_| self.stop)?
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        let asking = journal::asking(self.journal.as_ref(), |_| {
            HostQuestion::effect("poll.ready")
        });
        journal::told_later(asking, poll::HostPollable::ready(self.table, pollable)).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(self.table, pollable)
    }
}
