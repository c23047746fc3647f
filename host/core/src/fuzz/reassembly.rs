//! Whatever fragments arrive, from whom and when: the bounds hold, every message is at most as long
//! as the limit, and what was held is given back.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;

use super::Script;
use crate::{
    headers::Headers,
    limits::Limits,
    testing::epoch,
    wire::{
        Flags, Frame,
        fragment::{Fragment, Numbering},
        reassembly::{FragmentOutcome, Reassembly},
    },
};

/// Peers that speak.
const N_PEERS: u8 = 4;

/// Each step is four octets, and the payload:
///
/// | octet | says |
/// |---|---|
/// | 0 | bits 0-1 the peer, 2 wide, 3 an acknowledgement wanted, 4 a header, 5-7 quarter seconds / 8 |
/// | 1 | `frag-id` (high four bits) and `frag-index` |
/// | 2 | `frag-total` |
/// | 3 | length of the payload, times 16 |
pub fn reassembly(octets: &[u8]) {
    let limits = Limits {
        message_bytes_max: 10_000,
        reassembly_sessions_max: 12,
        reassembly_sessions_per_peer_max: 5,
        reassembly_bytes_max: 40_000,
        reassembly_bytes_per_peer_max: 15_000,
        ..Limits::default()
    };
    let mut script = Script::new(octets);
    let mut reassembly = Reassembly::new(limits.clone());
    let mut now = epoch();
    while !script.is_empty() {
        let (mode, place, total) = (script.octet(), script.octet(), script.octet());
        now += Duration::from_secs(2) * u32::from(mode >> 5);
        reassembly.handle_timeout(now);
        let numbering = if mode & 4 == 0 {
            Numbering::Base
        } else {
            Numbering::Wide
        };
        let part = Fragment {
            id: u32::from(place >> 4),
            index: u32::from(place & 15),
            total: u32::from(total),
        };
        let frame = frame(&mut script, mode);
        let outcome = reassembly.handle_fragment(now, peer(mode), part, numbering, &frame);
        if let FragmentOutcome::Complete(message) = outcome {
            assert!(message.payload.len() <= limits.message_bytes_max);
            assert!(!message.flags.contains(Flags::FRAG));
        }
        let progress = reassembly.progress(peer(mode), part.id, 3);
        if let Some(progress) = progress {
            assert!(
                progress.missing.len() <= 3 && progress.next <= 16,
                "{progress:?}"
            );
        }
        let stats = reassembly.stats();
        assert!(stats.open <= limits.reassembly_sessions_max, "{stats:?}");
        assert!(stats.bytes <= limits.reassembly_bytes_max, "{stats:?}");
        assert_eq!(stats.open == 0, stats.bytes == 0, "{stats:?}");
        assert_eq!(
            stats.open > 0,
            reassembly.poll_timeout().is_some(),
            "{stats:?}"
        );
    }
    for last in 0..N_PEERS / 2 {
        reassembly.forget(peer(last));
    }
    reassembly.handle_timeout(now + limits.fragment_age_max);
    assert_eq!((reassembly.stats().open, reassembly.stats().bytes), (0, 0));
}

fn peer(mode: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, mode % N_PEERS], 9090))
}

fn frame(script: &mut Script<'_>, mode: u8) -> Frame {
    let length = usize::from(script.octet()) * 16;
    let mut payload = script.octets(length.min(64)).to_vec();
    payload.resize(length, 7);
    let mut headers = Headers::new();
    if mode & 16 != 0 {
        // Cannot fail: short.
        let _ = headers.push("k", "v");
    }
    let flags = if mode & 8 == 0 {
        Flags::FRAG
    } else {
        Flags::FRAG.union(Flags::REQ_ACK)
    };
    Frame {
        flags,
        ..Frame::data(headers, Bytes::from(payload))
    }
}
