//! A selective acknowledgement: which fragments of a message have arrived. Format: reliable.rs,
//! table "header of ACK".

use crate::{
    headers::{HeaderError, Headers},
    wire::{
        frame::{Frame, FrameType},
        reassembly::ReassemblyProgress,
    },
};

/// Ranges in one acknowledgement. 40 ranges of two ten-digit numbers are 880 octets, which leaves
/// the frame below 1200.
pub(in crate::wire) const RANGES_MAX: usize = 40;

const ID_KEY: &str = "sack";
const EPOCH_KEY: &str = "sack-epoch";
const NEXT_KEY: &str = "sack-next";
const MISSING_KEY: &str = "sack-missing";

/// Of message `id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::wire) struct Sack {
    pub(in crate::wire) id: u64,
    pub(in crate::wire) progress: ReassemblyProgress,
}

impl Sack {
    /// Reads the headers of an ACK; `None` when they are not those of a selective acknowledgement or
    /// its ranges are not in order.
    pub(in crate::wire) fn parse(headers: &Headers) -> Option<Self> {
        let id = headers.get_str(ID_KEY)?.parse().ok()?;
        let epoch = headers.get_str(EPOCH_KEY)?.parse().ok()?;
        let next = headers.get_str(NEXT_KEY)?.parse().ok()?;
        let list = headers.get_str(MISSING_KEY)?;
        let mut missing: Vec<(u32, u32)> = Vec::new();
        for range in list.split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            let follows = missing.last().is_none_or(|(_, before)| *before < first);
            if !follows || first > last || last >= next || missing.len() == RANGES_MAX {
                return None;
            }
            missing.push((first, last));
        }
        Some(Self {
            id,
            progress: ReassemblyProgress {
                epoch,
                next,
                missing,
            },
        })
    }

    /// # Errors
    /// Cannot fail with at most `RANGES_MAX` ranges.
    pub(in crate::wire) fn to_frame(&self) -> Result<Frame, HeaderError> {
        let ReassemblyProgress {
            epoch,
            next,
            missing,
        } = &self.progress;
        let range = |(first, last): &(u32, u32)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        };
        let list: Vec<String> = missing.iter().map(range).collect();
        let mut headers = Headers::new();
        headers.push(ID_KEY, self.id.to_string())?;
        headers.push(EPOCH_KEY, epoch.to_string())?;
        headers.push(NEXT_KEY, next.to_string())?;
        headers.push(MISSING_KEY, list.join(","))?;
        Ok(Frame {
            headers,
            ..Frame::new(FrameType::Ack)
        })
    }

    /// Whether the receiver has fragment `index`.
    pub(in crate::wire) fn has(&self, index: u32) -> bool {
        let ReassemblyProgress { next, missing, .. } = &self.progress;
        let range_idx = missing.partition_point(|(_, last)| *last < index);
        index < *next
            && missing
                .get(range_idx)
                .is_none_or(|(first, _)| index < *first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sack(next: u32, missing: &[(u32, u32)]) -> Sack {
        Sack {
            id: 7,
            progress: ReassemblyProgress {
                epoch: 3,
                next,
                missing: missing.to_vec(),
            },
        }
    }

    #[test]
    fn reads_what_it_writes() {
        for sack in [
            sack(0, &[]),
            sack(9, &[(0, 0), (2, 4), (7, 7)]),
            sack(u32::MAX, &[(1, 2)]),
        ] {
            let frame = sack.to_frame().expect("few ranges");
            assert_eq!(Sack::parse(&frame.headers), Some(sack));
        }
    }

    #[test]
    fn the_longest_fits_a_datagram() {
        let base = u32::MAX - 1000;
        let ranges: Vec<_> = (0..40)
            .map(|at| (base + at * 3, base + at * 3 + 1))
            .collect();
        let mut sack = sack(u32::MAX, &ranges);
        (sack.id, sack.progress.epoch) = (u64::MAX, u64::MAX);
        let frame = sack.to_frame().expect("at the limit");
        assert!(frame.encoded_len() <= 1200, "{}", frame.encoded_len());
        assert_eq!(Sack::parse(&frame.headers), Some(sack));
    }

    #[test]
    fn knows_what_arrived() {
        let sack = sack(9, &[(0, 0), (2, 4), (7, 7)]);
        let has: Vec<u32> = (0..12).filter(|index| sack.has(*index)).collect();
        assert_eq!(has, [1, 5, 6, 8]);
    }

    #[test]
    fn refuses_ranges_out_of_order_or_past_the_end() {
        for list in ["3,2", "2-1", "9", "1-9", "1,1", "x", "1--2", "1-2-3", "-"] {
            let mut headers = Headers::new();
            for (key, value) in [
                (ID_KEY, "1"),
                (EPOCH_KEY, "1"),
                (NEXT_KEY, "9"),
                (MISSING_KEY, list),
            ] {
                headers.push(key, value).expect("short");
            }
            assert_eq!(Sack::parse(&headers), None, "{list}");
        }
    }

    #[test]
    fn refuses_more_than_40_ranges() {
        let ranges: Vec<_> = (0..41).map(|at| (at * 2, at * 2)).collect();
        let frame = sack(100, &ranges).to_frame().expect("still a section");
        assert_eq!(Sack::parse(&frame.headers), None);
    }
}
