//! Handles of resources that the guest of one store has open, of whatever interface of WASI.

use wasmtime::component::ResourceTable;

use crate::slots::Slots;

/// Handles of one store that are open at a time. Each may hold up to 64 KiB of header fields or two
/// pieces of a body outside the guest's memory, so all together hold at most 128 MiB.
const HANDLES_MAX: usize = 1024;

/// Those of one store, from the first use of WASI on.
pub(crate) struct Handles(pub(crate) ResourceTable);

impl Handles {
    /// Makes room for those of a store, where there is none.
    pub(crate) fn prepare(kept: &mut Slots) {
        if kept.get::<Self>().is_none() {
            let mut table = ResourceTable::new();
            table.set_max_capacity(HANDLES_MAX);
            kept.put(Self(table));
        }
    }

    /// How many a guest has open.
    pub(crate) fn count(kept: &mut Slots) -> usize {
        let handles = kept.get_mut::<Self>();
        handles.map_or(0, |Self(table)| table.iter_mut().count())
    }
}
