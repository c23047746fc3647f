//! Which numbers of an endless sequence have been seen, in constant memory: the window of RFC 4303
//! section 3.4.3 (anti-replay), with messages in place of packets.
//!
//! The upper 32 bits of a number name the series it belongs to. A sender draws them at random when it
//! begins, so that what is left on the way of a sender before on the same port does not move the
//! window of the one after it.

use std::collections::VecDeque;

/// Numbers told apart. A sender keeps its unacknowledged numbers within half of that
/// (`outgoing::SPAN_MAX`), so a number below the window was certainly delivered.
pub(super) const WINDOW: u64 = 2048;
const WORDS: usize = (WINDOW / 64) as usize;

/// Series told apart at a time. There is one, and a second while the first is forgotten.
const SERIES_MAX: usize = 4;

/// The windows of the latest series.
#[derive(Debug, Clone, Default)]
pub(super) struct Replay {
    /// Least recently used first.
    series: VecDeque<(u64, Window)>,
}

#[derive(Debug, Clone)]
struct Window {
    highest: u64,
    /// Bit `n % WINDOW` stands for number n of the window that ends with `highest`.
    bits: Box<[u64; WORDS]>,
}

impl Replay {
    pub(super) fn contains(&self, number: u64) -> bool {
        let mut series = self.series.iter();
        let found = series.find(|(series, _)| *series == number >> 32);
        found.is_some_and(|(_, window)| window.contains(number))
    }

    /// Marks `number`; whether it is new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let found = self
            .series
            .iter()
            .position(|(series, _)| *series == number >> 32);
        let known = found.and_then(|found| self.series.remove(found));
        let (series, mut window) = known.unwrap_or_else(|| (number >> 32, Window::new()));
        let is_new = window.insert(number);
        self.series.push_back((series, window));
        if self.series.len() > SERIES_MAX {
            self.series.pop_front();
        }
        is_new
    }
}

impl Window {
    fn new() -> Self {
        Self {
            highest: 0,
            bits: Box::new([0; WORDS]),
        }
    }

    fn contains(&self, number: u64) -> bool {
        if number > self.highest {
            return false;
        }
        self.highest - number >= WINDOW || self.word(number) & bit(number) != 0
    }

    fn insert(&mut self, number: u64) -> bool {
        if self.contains(number) {
            return false;
        }
        if number > self.highest {
            // What enters the window has not been seen; what leaves it gives up its bit.
            if number - self.highest >= WINDOW {
                self.bits.fill(0);
            } else {
                for entered in self.highest + 1..=number {
                    self.clear(entered);
                }
            }
            self.highest = number;
        }
        if let Some(word) = self.bits.get_mut(word_idx(number)) {
            *word |= bit(number);
        }
        true
    }

    fn word(&self, number: u64) -> u64 {
        self.bits.get(word_idx(number)).copied().unwrap_or(0)
    }

    fn clear(&mut self, number: u64) {
        if let Some(word) = self.bits.get_mut(word_idx(number)) {
            *word &= !bit(number);
        }
    }
}

const fn word_idx(number: u64) -> usize {
    (number % WINDOW / 64) as usize
}

const fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once() {
        let mut replay = Replay::default();
        for number in [1, 2, 5, 3, 64, 65, 63, 4] {
            assert!(replay.insert(number), "{number}");
        }
        for number in [1, 2, 3, 4, 5, 63, 64, 65] {
            assert!(!replay.insert(number), "{number}");
        }
        assert!(!replay.contains(6));
    }

    #[test]
    fn the_window_ends_after_2048_numbers() {
        let mut replay = Replay::default();
        assert!(replay.insert(5000));
        assert!(!replay.contains(5000 - 2047), "the oldest of the window");
        assert!(replay.contains(5000 - 2048), "one past it counts as seen");
        assert!(replay.insert(5000 - 2047));
    }

    #[test]
    fn a_number_that_leaves_the_window_gives_up_its_bit() {
        let mut replay = Replay::default();
        assert!(replay.insert(1));
        assert!(replay.insert(2048));
        assert!(replay.insert(2049), "has the place of 1");
        assert!(replay.insert(9_000_000));
        assert!(replay.insert(8_999_999));
    }

    #[test]
    fn another_series_does_not_move_the_window() {
        let mut replay = Replay::default();
        let series = |name: u64| name << 32;
        assert!(replay.insert(series(9) + 1));
        assert!(replay.insert(series(5) + 1));
        assert!(replay.contains(series(9) + 1) && !replay.contains(series(5) + 2));
    }

    #[test]
    fn four_series_are_told_apart_and_no_more() {
        let mut replay = Replay::default();
        (1..=4_u64).for_each(|name| assert!(replay.insert(name << 32)));
        assert!((1..=4_u64).all(|name| replay.contains(name << 32)));
        assert!(replay.insert(5 << 32));
        assert!(!replay.contains(1 << 32) && replay.contains(2 << 32));
    }

    #[test]
    fn number_zero_counts_like_any_other() {
        let mut replay = Replay::default();
        assert!(replay.insert(0));
        assert!(!replay.insert(0));
    }
}
