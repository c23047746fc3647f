//! `wasi:io` for stores that cannot wait. What is ready at once is done; the rest traps by its name.
//!
//! wasmtime's own synchronous variants wait by blocking the thread, and panic on a thread of tokio's.

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::{
    WasiView,
    p2::{
        DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult,
        bindings::sync::io::{poll, streams},
    },
};

use crate::{bindings, state::StoreState, trap::waiting};

/// Version of WASI 0.2 under which wasmtime links its interfaces.
pub(crate) const WASI_VERSION: &str = bindings::WASI_VERSION;

/// Most octets of one `blocking-write-and-flush`, as the interface says.
const WRITE_BYTES_MAX: usize = 4096;

/// The resources of a store.
struct Table<'a>(&'a mut ResourceTable);

/// How a store gives its table.
struct HasTable;

impl HasData for HasTable {
    type Data<'a> = Table<'a>;
}

/// Replaces `wasi:io/poll` and `wasi:io/streams` in a linker that allows it.
pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    poll::add_to_linker::<StoreState, HasTable>(linker, table)?;
    streams::add_to_linker::<StoreState, HasTable>(linker, table)
}

fn table(state: &mut StoreState) -> Table<'_> {
    Table(state.ctx().table)
}

impl poll::Host for Table<'_> {
    fn poll(&mut self, _: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        Err(waiting("wasi:io/poll.poll"))
    }
}

impl poll::HostPollable for Table<'_> {
    fn ready(&mut self, _: Resource<DynPollable>) -> wasmtime::Result<bool> {
        Err(waiting("wasi:io/poll.ready"))
    }

    fn block(&mut self, _: Resource<DynPollable>) -> wasmtime::Result<()> {
        Err(waiting("wasi:io/poll.block"))
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(self.0, pollable)
    }
}

impl streams::Host for Table<'_> {
    fn convert_stream_error(
        &mut self,
        error: StreamError,
    ) -> wasmtime::Result<streams::StreamError> {
        streams::Host::convert_stream_error(self.0, error)
    }
}

impl streams::HostInputStream for Table<'_> {
    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        streams::HostInputStream::read(self.0, stream, len)
    }

    fn blocking_read(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<Vec<u8>> {
        Err(blocking("blocking-read"))
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        streams::HostInputStream::skip(self.0, stream, len)
    }

    fn blocking_skip(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        Err(blocking("blocking-skip"))
    }

    fn subscribe(
        &mut self,
        stream: Resource<DynInputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostInputStream::subscribe(self.0, stream)
    }

    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        self.0.delete(stream)?;
        Ok(())
    }
}

impl streams::HostOutputStream for Table<'_> {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        streams::HostOutputStream::check_write(self.0, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, octets: Vec<u8>) -> StreamResult<()> {
        streams::HostOutputStream::write(self.0, stream, octets)
    }

    /// What there is room for is written; standard output and standard error always have some.
    fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        octets: Vec<u8>,
    ) -> StreamResult<()> {
        let length = octets.len();
        if length > WRITE_BYTES_MAX {
            let message = format!("write of {length} octets exceeds {WRITE_BYTES_MAX}");
            return Err(StreamError::Trap(wasmtime::Error::msg(message)));
        }
        let stream = self.0.get_mut(&stream)?;
        if stream.check_write()? < length {
            return Err(blocking("blocking-write-and-flush"));
        }
        stream.write(octets.into())?;
        stream.flush()
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        streams::HostOutputStream::flush(self.0, stream)
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        let stream = self.0.get_mut(&stream)?;
        stream.flush()?;
        match stream.check_write()? {
            0 => Err(blocking("blocking-flush")),
            _ => Ok(()),
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<DynOutputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostOutputStream::subscribe(self.0, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        streams::HostOutputStream::write_zeroes(self.0, stream, len)
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        _: Resource<DynOutputStream>,
        _: u64,
    ) -> StreamResult<()> {
        Err(blocking("blocking-write-zeroes-and-flush"))
    }

    fn splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        streams::HostOutputStream::splice(self.0, to, from, len)
    }

    fn blocking_splice(
        &mut self,
        _: Resource<DynOutputStream>,
        _: Resource<DynInputStream>,
        _: u64,
    ) -> StreamResult<u64> {
        Err(blocking("blocking-splice"))
    }

    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        self.0.delete(stream)?;
        Ok(())
    }
}

fn blocking(function: &str) -> StreamError {
    StreamError::Trap(waiting(&format!("wasi:io/streams.{function}")))
}
