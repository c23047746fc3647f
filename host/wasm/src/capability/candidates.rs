//! Import `candidates`: what a balancer may know of the instances while it picks.

use wasmtime::{StoreContextMut, component::Linker};

use crate::{bindings::extension::CANDIDATES, state::StoreState, store_stats::HostImport};

type Store<'a> = StoreContextMut<'a, StoreState>;

/// What a balancer may know of the members while it picks.
pub(crate) struct Candidates {
    /// One bit for each of the first 64 members, the first in the lowest bit.
    first: u64,
    /// The same for those behind them; sets are seldom that large, and a small one is not allocated.
    rest: Vec<u64>,
    pub(crate) random: u64,
}

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(CANDIDATES)?;
    interface.func_wrap("usable", |mut store: Store<'_>, (index,): (u32,)| {
        store.data_mut().on_host_call_of(HostImport::Candidates)?;
        let usable = candidates(store.data()).is_some_and(|all| all.is_usable(index));
        Ok((usable,))
    })?;
    interface.func_wrap("random", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Candidates)?;
        Ok((candidates(store.data()).map_or(0, |all| all.random),))
    })
}

fn candidates(state: &StoreState) -> Option<&Candidates> {
    state.slots.get()
}

impl Candidates {
    /// Asks `may` about each of `n_members`.
    pub(crate) fn new(n_members: usize, random: u64, may: &dyn Fn(usize) -> bool) -> Self {
        let word = |word_idx: usize| {
            let members = word_idx * 64..n_members.min(word_idx * 64 + 64);
            members
                .filter(|index| may(*index))
                .fold(0, |word, index| word | 1 << (index % 64))
        };
        Self {
            first: word(0),
            rest: (1..n_members.div_ceil(64)).map(word).collect(),
            random,
        }
    }

    pub(crate) fn is_usable(&self, index: u32) -> bool {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let word = match (index / 64).checked_sub(1) {
            None => self.first,
            Some(word_idx) => self.rest.get(word_idx).copied().unwrap_or_default(),
        };
        word >> (index % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_is_told_at_the_edges_of_words_and_of_the_set() {
        let candidates = Candidates::new(65, 0, &|index| index != 63);
        assert!(candidates.is_usable(0) && candidates.is_usable(64));
        assert!(!candidates.is_usable(63));
        assert!(!candidates.is_usable(65) && !candidates.is_usable(u32::MAX));
    }
}
