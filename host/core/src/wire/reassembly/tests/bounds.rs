//! Every bound of the reassembly at its edge and one past it.

use super::*;

#[test]
fn a_message_lives_30_seconds_after_its_first_fragment() {
    let mut bench = bench();
    let cut = parts(b"abcdef", 5, 2);
    bench.give(&cut[0]);
    bench.wait(Duration::from_millis(29_999));
    assert_eq!(bench.give(&cut[1]), FragmentOutcome::Pending);
    assert_eq!(bench.stats().open, 1);
    assert_eq!(
        bench.reassembly.poll_timeout(),
        Some(bench.now + Duration::from_millis(1))
    );
    bench.wait(Duration::from_millis(1));
    assert_eq!(
        (
            bench.stats().open,
            bench.stats().expired,
            bench.stats().bytes
        ),
        (0, 1, 0)
    );
    assert_eq!(bench.reassembly.poll_timeout(), None);
}

#[test]
fn a_message_lives_no_longer_than_its_age() {
    let mut bench = Bench::new(Limits {
        fragment_age_max: Duration::from_secs(2),
        ..Limits::default()
    });
    bench.give(&parts(b"abcdef", 5, 2)[0]);
    bench.wait(Duration::from_millis(1999));
    assert_eq!(bench.stats().open, 1);
    bench.wait(Duration::from_millis(1));
    assert_eq!((bench.stats().open, bench.stats().expired), (0, 1));
}

#[test]
fn a_wide_message_lives_30_seconds_after_its_latest_fragment() {
    let mut bench = bench();
    let cut = parts(&[7; 800], 5, 2);
    for (part, frame) in &cut[..5] {
        assert_eq!(bench.give_as(WIDE, part, frame), FragmentOutcome::Pending);
        bench.wait(Duration::from_millis(29_999));
        let (part, frame) = &cut[0];
        assert_eq!(
            bench.give_as(WIDE, part, frame),
            FragmentOutcome::Duplicate,
            "no progress"
        );
    }
    bench.wait(Duration::from_millis(1));
    assert_eq!((bench.stats().open, bench.stats().expired), (0, 1));
}

#[test]
fn a_peer_over_its_bound_loses_its_own_oldest() {
    let limits = Limits {
        reassembly_sessions_per_peer_max: 3,
        ..Limits::default()
    };
    let mut bench = Bench::new(limits);
    bench.peer = address(2);
    bench.give(&parts(b"abcd", 0, 2)[0]);
    bench.peer = address(1);
    for id in 0..3 {
        bench.give(&parts(b"abcd", id, 2)[0]);
    }
    assert_eq!((bench.stats().open, bench.stats().evicted), (4, 0));
    bench.give(&parts(b"abcd", 3, 2)[0]);
    assert_eq!((bench.stats().open, bench.stats().evicted), (4, 1));
    for id in 1..4 {
        assert_eq!(
            payload(bench.give(&parts(b"abcd", id, 2)[1])),
            "abcd",
            "{id}"
        );
    }
    assert_eq!(
        bench.give(&parts(b"abcd", 0, 2)[1]),
        FragmentOutcome::Pending,
        "the oldest is gone"
    );
    bench.peer = address(2);
    assert_eq!(
        payload(bench.give(&parts(b"abcd", 0, 2)[1])),
        "abcd",
        "nothing of another peer"
    );
}

#[test]
fn over_the_bound_of_all_the_peer_with_most_loses() {
    let mut bench = Bench::new(Limits {
        reassembly_sessions_max: 6,
        ..Limits::default()
    });
    bench.give(&parts(b"abcd", 0, 2)[0]);
    bench.peer = address(66);
    for id in 0..200 {
        bench.give(&parts(b"abcd", id, 2)[0]);
        assert!(bench.stats().open <= 6);
    }
    assert_eq!((bench.stats().open, bench.stats().evicted), (6, 195));
    bench.peer = address(1);
    assert_eq!(payload(bench.give(&parts(b"abcd", 0, 2)[1])), "abcd");
}

#[test]
fn the_default_is_a_thousand_messages_of_all_peers() {
    let mut bench = bench();
    for last in 0..=255 {
        bench.peer = address(last);
        for id in 0..4 {
            bench.give(&parts(b"abcd", id, 2)[0]);
        }
    }
    assert_eq!((bench.stats().open, bench.stats().evicted), (1000, 24));
}

#[test]
fn octets_are_bounded_per_peer_and_for_all() {
    let limits = Limits {
        reassembly_bytes_per_peer_max: 20_000,
        reassembly_bytes_max: 50_000,
        ..Limits::default()
    };
    let mut bench = Bench::new(limits);
    for last in 1..=4 {
        bench.peer = address(last);
        for id in 0..40 {
            bench.give(&parts(&[7; 2_000], id, 1_000)[0]);
            assert!(bench.reassembly.by_bytes.of(bench.peer) <= 20_000);
            assert!(bench.stats().bytes <= 50_000);
        }
    }
    assert!(bench.stats().bytes > 45_000, "the room is used");
}

#[test]
fn fragments_without_payload_are_charged() {
    let limits = Limits {
        reassembly_bytes_per_peer_max: 10_000,
        ..Limits::default()
    };
    let mut bench = Bench::new(limits);
    for index in 0..1_000 {
        let part = Fragment {
            id: 1,
            index,
            total: u32::MAX,
        };
        bench.give_as(WIDE, &part, &fragment(1, index, u32::MAX, b""));
    }
    assert!(bench.stats().evicted > 0 && bench.stats().bytes <= 10_000);
}

#[test]
fn a_message_is_as_long_as_the_limit_and_no_longer() {
    for (limit, fits) in [(600, true), (599, false)] {
        let mut bench = Bench::new(Limits {
            message_bytes_max: limit,
            ..Limits::default()
        });
        let cut = parts(&[7; 600], 5, 200);
        let last = cut
            .iter()
            .map(|part| bench.give(part))
            .last()
            .expect("some");
        let refused = FragmentOutcome::Refused(FragmentRefusal::TooLong { bytes: 600, limit });
        assert_eq!(matches!(last, FragmentOutcome::Complete(_)), fits);
        assert_eq!(last == refused, !fits);
        assert_eq!((bench.stats().open, bench.stats().bytes), (0, 0));
    }
}

#[test]
fn forgetting_a_peer_gives_everything_back() {
    let mut bench = bench();
    for id in 0..9 {
        bench.give(&parts(b"abcd", id, 2)[0]);
    }
    let peer = bench.peer;
    bench.reassembly.forget(peer);
    assert_eq!((bench.stats().open, bench.stats().bytes), (0, 0));
    assert_eq!(bench.reassembly.poll_timeout(), None);
}

#[test]
fn a_complete_message_gives_back_its_own_charge_and_no_more() {
    let mut bench = bench();
    bench.give(&parts(b"abcd", 1, 2)[0]);
    let before = bench.stats().bytes;
    for part in &parts(&[7; 3_000], 2, 1_000) {
        bench.give(part);
    }
    assert_eq!((bench.stats().open, bench.stats().bytes), (1, before));
}
