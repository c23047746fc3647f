//! Which node of a cluster has a key (Redis cluster specification, "Key distribution model").

use std::collections::{BTreeMap, BTreeSet};

use super::location::RedisNode;

/// Hash slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// The slot of `key`: CRC16 of what stands between the first `{` and the next `}`, where that is not
/// empty, or else of all of it.
#[must_use]
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hashed_part(key)) % SLOTS
}

/// Slots of one master, from `first` to `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRange {
    pub first: u16,
    pub last: u16,
    pub node: RedisNode,
}

/// Who has which slot, as a node of the cluster said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotMap {
    /// By the last slot of each range; ranges do not overlap.
    ranges: BTreeMap<u16, (u16, RedisNode)>,
}

impl SlotMap {
    /// Of two ranges that overlap the later one counts, as far as it reaches.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = SlotRange>) -> Self {
        let mut map = Self::default();
        for SlotRange { first, last, node } in ranges {
            if first <= last && last < SLOTS {
                map.insert(first, last, node);
            }
        }
        map
    }

    /// The master of `slot`; none where no node has it.
    #[must_use]
    pub fn node_of(&self, slot: u16) -> Option<&RedisNode> {
        let (_, (first, node)) = self.ranges.range(slot..).next()?;
        (*first <= slot).then_some(node)
    }

    /// A node said that another has `slot`.
    pub fn on_moved(&mut self, slot: u16, node: RedisNode) {
        if slot < SLOTS && self.ranges.len() < usize::from(SLOTS) {
            self.insert(slot, slot, node);
        }
    }

    /// Every master, once.
    #[must_use]
    pub fn masters(&self) -> BTreeSet<RedisNode> {
        let nodes = self.ranges.values();
        nodes.map(|(_, node)| node.clone()).collect()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn insert(&mut self, first: u16, last: u16, node: RedisNode) {
        let overlapped = self.ranges.range(first..);
        let overlapped: Vec<_> = overlapped
            .take_while(|(_, (from, _))| *from <= last)
            .map(|(to, (from, node))| (*from, *to, node.clone()))
            .collect();
        for (from, to, other) in overlapped {
            self.ranges.remove(&to);
            if from < first {
                self.ranges.insert(first - 1, (from, other.clone()));
            }
            if to > last {
                self.ranges.insert(to, (last + 1, other));
            }
        }
        self.ranges.insert(last, (first, node));
    }
}

fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|octet| *octet == b'{') else {
        return key;
    };
    let behind = key.get(open + 1..).unwrap_or_default();
    let close = behind.iter().position(|octet| *octet == b'}');
    match close.and_then(|close| behind.get(..close)) {
        Some(part) if !part.is_empty() => part,
        Some(_) | None => key,
    }
}

/// CRC16-CCITT (XMODEM): polynomial 0x1021, begins with 0, nothing reflected.
fn crc16(octets: &[u8]) -> u16 {
    octets.iter().fold(0, |crc: u16, octet| {
        (0..8).fold(crc ^ (u16::from(*octet) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> RedisNode {
        RedisNode::Host {
            host: "n".into(),
            port,
        }
    }

    fn range(first: u16, last: u16, port: u16) -> SlotRange {
        SlotRange {
            first,
            last,
            node: node(port),
        }
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // As `CLUSTER KEYSLOT` answers.
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"somekey"), 11_058);
        assert_eq!(slot_of(b"foo{hash_tag}"), 2515);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar"), crc16(b"foo{bar") % SLOTS);
    }

    #[test]
    fn a_slot_is_with_the_master_of_its_range() {
        let map = SlotMap::new([
            range(0, 5460, 1),
            range(5461, 10_922, 2),
            range(12_000, 16_383, 3),
        ]);
        assert_eq!(map.node_of(0), Some(&node(1)));
        assert_eq!(map.node_of(5460), Some(&node(1)));
        assert_eq!(map.node_of(5461), Some(&node(2)));
        assert_eq!(map.node_of(11_000), None);
        assert_eq!(map.node_of(16_383), Some(&node(3)));
        assert_eq!(map.masters().len(), 3);
    }

    #[test]
    fn a_slot_that_moved_leaves_its_neighbours_where_they_were() {
        let mut map = SlotMap::new([range(0, 100, 1)]);
        map.on_moved(50, node(2));
        assert_eq!(map.node_of(49), Some(&node(1)));
        assert_eq!(map.node_of(50), Some(&node(2)));
        assert_eq!(map.node_of(51), Some(&node(1)));
        assert_eq!(map.node_of(101), None);
        map.on_moved(SLOTS, node(3));
        assert_eq!(map.masters().len(), 2);
    }

    #[test]
    fn ranges_that_make_no_sense_are_left_out() {
        assert!(SlotMap::new([range(5, 4, 1), range(0, SLOTS, 1)]).is_empty());
    }
}
