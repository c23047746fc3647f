//! Frames of a typical call, encoded and decoded by us and by the published `vstp` crate.
//!
//! Both get the same work: encoding writes one frame; decoding takes frames from a buffer that holds
//! many, as a socket's buffer does. Filling that buffer is not measured.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use postern_core::{
    Headers,
    wire::{Decoder, Frame},
};

use crate::table::{Goal, Table, ratio, show};

const HEADERS: [(&str, &str); 3] = [
    ("service", "users"),
    ("method", "GetUser"),
    ("correlation-id", "4711"),
];
const FRAME_BYTES_MAX: usize = 8 << 20;
/// Rounds of which the fastest counts: what else the machine does only ever adds.
const ROUNDS: usize = 30;

pub(crate) fn run(table: &mut Table) {
    for (n_octets, name) in [
        (0, "0 B"),
        (64, "64 B"),
        (1 << 10, "1 KiB"),
        (64 << 10, "64 KiB"),
        (1 << 20, "1 MiB"),
    ] {
        let goal = if n_octets == 1 << 10 {
            Goal::AtLeast(15.0)
        } else {
            Goal::None
        };
        let payload: Vec<u8> = (0..=250).cycle().take(n_octets).collect();
        let (ours, theirs) = (our_frame(&payload), their_frame(&payload));
        let n_frames = ((1 << 20) / (n_octets + 100)).clamp(4, 2000);

        let (a, b) = (
            encode_ours(&ours, n_frames),
            encode_theirs(&theirs, n_frames),
        );
        table.compare(
            format!("encode {name} (vstp)"),
            show(a),
            show(b),
            ratio(b, a),
            goal,
        );
        let (a, b) = (decode_ours(&ours, n_frames), decode_theirs(&ours, n_frames));
        table.compare(
            format!("decode {name} (vstp)"),
            show(a),
            show(b),
            ratio(b, a),
            goal,
        );
    }
}

fn our_frame(payload: &[u8]) -> Frame {
    let mut headers = Headers::new();
    for (key, value) in HEADERS {
        headers.push(key, value).expect("short headers fit");
    }
    Frame::data(headers, payload.to_vec())
}

fn their_frame(payload: &[u8]) -> vstp::Frame {
    let frame = vstp::Frame::new(vstp::FrameType::Data).with_payload(payload.to_vec());
    HEADERS
        .iter()
        .fold(frame, |frame, (key, value)| frame.with_header(key, value))
}

/// The fastest of the rounds of `work`, each on a fresh `prepare()`, divided by `n`.
fn fastest<S>(n: usize, mut prepare: impl FnMut() -> S, mut work: impl FnMut(S)) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let state = prepare();
        let begin = Instant::now();
        work(state);
        best = best.min(begin.elapsed());
    }
    best / u32::try_from(n).unwrap_or(u32::MAX)
}

fn encode_ours(frame: &Frame, n_frames: usize) -> Duration {
    let mut out = BytesMut::with_capacity(frame.encoded_len());
    fastest(
        n_frames,
        || (),
        |()| {
            for _ in 0..n_frames {
                out.clear();
                black_box(frame).encode(&mut out).expect("within the limit");
                black_box(&out);
            }
        },
    )
}

fn encode_theirs(frame: &vstp::Frame, n_frames: usize) -> Duration {
    fastest(
        n_frames,
        || (),
        |()| {
            for _ in 0..n_frames {
                black_box(vstp::encode_frame(black_box(frame)).expect("within the limit"));
            }
        },
    )
}

fn decode_ours(frame: &Frame, n_frames: usize) -> Duration {
    fastest(
        n_frames,
        || repeated(frame, n_frames),
        |mut buffer| {
            let mut decoder = Decoder::new(FRAME_BYTES_MAX);
            for _ in 0..n_frames {
                black_box(decoder.decode(&mut buffer).expect("legal").expect("whole"));
            }
        },
    )
}

fn decode_theirs(frame: &Frame, n_frames: usize) -> Duration {
    fastest(
        n_frames,
        || repeated(frame, n_frames),
        |mut buffer| {
            for _ in 0..n_frames {
                let decoded = vstp::try_decode_frame(&mut buffer, FRAME_BYTES_MAX);
                black_box(decoded.expect("legal").expect("whole"));
            }
        },
    )
}

fn repeated(frame: &Frame, n_frames: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(frame.encoded_len() * n_frames);
    for _ in 0..n_frames {
        frame.encode(&mut buffer).expect("within the limit");
    }
    buffer
}
