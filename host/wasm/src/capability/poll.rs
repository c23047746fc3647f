//! `wasi:io/poll` for stores that may wait: as wasmtime has it, and until the guest's own end, which nothing else
//! looks at while a guest sleeps or waits for a socket.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use postern_system::clock;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::{WasiView, p2::DynPollable};
use wasmtime_wasi_io::bindings::wasi::io::poll;

use crate::{
    journal::{self, HostQuestion, Journal},
    state::StoreState,
    trap::Stop,
    waited::Waited,
};

/// The resources of a store, and when a wait is over.
struct Bounded<'a> {
    table: &'a mut ResourceTable,
    end: Instant,
    stop: Stop,
    waited: Option<Arc<Waited>>,
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
    state.note_crossings();
    let end = state.end();
    let stop = state.check_time(end).err().unwrap_or(Stop::Deadline);
    let waited = state.waited.clone();
    Bounded {
        journal: state.journal.clone(),
        table: state.ctx().table,
        end,
        stop,
        waited,
    }
}

/// Waits for `ready` until `end`, and as much longer as the other end was waited for meanwhile.
async fn within<T>(
    (end, stop): (Instant, Stop),
    waited: Option<Arc<Waited>>,
    ready: impl Future<Output = T>,
) -> Result<T, Stop> {
    let total = || {
        let waited = waited.as_ref();
        waited.map_or(Duration::ZERO, |waited| waited.total(clock::now()))
    };
    let (before, mut until) = (total(), end);
    let mut ready = pin!(ready);
    loop {
        if let Ok(ready) = tokio::time::timeout_at(until.into(), ready.as_mut()).await {
            return Ok(ready);
        }
        let later = end + total().saturating_sub(before);
        if later <= until {
            return Err(stop);
        }
        until = later;
    }
}

impl poll::Host for Bounded<'_> {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let bound = (self.end, self.stop);
        let asking = journal::asking(self.journal.as_ref(), |_| {
            HostQuestion::effect("poll.poll").text(pollables.len().to_string())
        });
        let ready = poll::Host::poll(self.table, pollables);
        let ready = journal::told_later(asking, ready);
        within(bound, self.waited.clone(), ready).await?
    }
}

impl poll::HostPollable for Bounded<'_> {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        let bound = (self.end, self.stop);
        let asking = journal::asking(self.journal.as_ref(), |_| {
            HostQuestion::effect("poll.block")
        });
        let ready = poll::HostPollable::block(self.table, pollable);
        let ready = journal::told_later(asking, ready);
        within(bound, self.waited.clone(), ready).await?
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
