//! Which entries are timed. Two looks at the clock are a tenth of an entry, so not all are.

/// The first entries of a slot, timed one by one.
const ALL: u32 = 64;
/// Of those that follow one in so many is timed and stands for all of them. A prime, so that entries
/// that alternate (`should-handle`, `handle-frame`) are all timed.
const SHARE: u32 = 17;

/// For how many entries the one after `n_entries` stands, if it is timed.
pub(super) const fn weight(n_entries: u32) -> Option<u32> {
    let Some(n_sampled) = n_entries.checked_sub(ALL) else {
        return Some(1);
    };
    if n_sampled % SHARE == SHARE - 1 {
        Some(SHARE)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_timed_stands_for_all_entries_but_those_since_the_last() {
        let mut sum = 0;
        for n_entries in 0..10_000 {
            sum += weight(n_entries).unwrap_or_default();
            let missing = n_entries + 1 - sum;
            assert!(missing < SHARE, "{missing} after {n_entries}");
            assert!(n_entries >= ALL || missing == 0);
        }
    }

    #[test]
    fn entries_that_alternate_are_timed_alike() {
        let timed = (0..10_000).filter(|n_entries| weight(*n_entries).is_some());
        let n_even = timed.clone().filter(|n_entries| n_entries % 2 == 0).count();
        assert!(n_even.abs_diff(timed.count() - n_even) <= 1);
    }
}
