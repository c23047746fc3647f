//! Packets that wait to be written: short ones copied together, long payloads as they are.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};

/// Octets for one client. Takes no memory while it is empty.
#[derive(Debug, Default)]
pub struct PacketBuffer {
    chunks: VecDeque<Bytes>,
    /// Behind the chunks.
    tail: BytesMut,
    /// Of the chunks.
    n_octets: usize,
}

impl PacketBuffer {
    /// Where packets are appended.
    #[inline]
    pub const fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends a payload; a long one is shared, not copied.
    #[inline]
    pub fn push_payload(&mut self, payload: &Bytes) {
        if payload.len() <= COPY_BYTES_MAX {
            self.tail.extend_from_slice(payload);
            return;
        }
        self.n_octets += self.tail.len() + payload.len();
        self.chunks.push_back(self.tail.split().freeze());
        self.chunks.push_back(payload.clone());
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.n_octets + self.tail.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be written next, as many slices as fit; how many there are.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let tail = std::iter::once(&self.tail[..]);
        let all = self.chunks.iter().map(|chunk| &chunk[..]).chain(tail);
        let all = all.filter(|octets| !octets.is_empty());
        let mut n_slices = 0;
        for (slot, octets) in into.iter_mut().zip(all) {
            *slot = IoSlice::new(octets);
            n_slices += 1;
        }
        n_slices
    }

    /// Drops what was written off the front.
    pub fn advance(&mut self, mut n_octets: usize) {
        while let Some(front) = self.chunks.front_mut() {
            let taken = front.len().min(n_octets);
            front.advance(taken);
            self.n_octets -= taken;
            n_octets -= taken;
            if !front.is_empty() {
                return;
            }
            self.chunks.pop_front();
        }
        self.tail.advance(n_octets.min(self.tail.len()));
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// Payloads up to here are copied: as much as a slice of its own costs the kernel.
const COPY_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(buffer: &PacketBuffer) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let n_slices = buffer.slices(&mut slices);
        slices[..n_slices]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    #[test]
    fn long_payloads_stay_in_order_between_short_ones() {
        let long = Bytes::from(vec![7; COPY_BYTES_MAX + 1]);
        let mut buffer = PacketBuffer::default();
        buffer.tail().extend_from_slice(b"ab");
        buffer.push_payload(&long);
        buffer.push_payload(&Bytes::from_static(b"cd"));
        let expected = [b"ab", &long[..], b"cd"].concat();
        assert_eq!(
            (written(&buffer), buffer.len()),
            (expected.clone(), expected.len())
        );
        for n_octets in [1, 3, COPY_BYTES_MAX - 1, 1] {
            let left = written(&buffer)[n_octets..].to_vec();
            buffer.advance(n_octets);
            assert_eq!((written(&buffer), buffer.len()), (left.clone(), left.len()));
        }
        buffer.advance(1);
        assert!(buffer.is_empty() && buffer.tail.capacity() == 0);
    }
}
