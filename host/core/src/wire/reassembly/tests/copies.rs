//! The published client's messages of two whole copies, and others under one number.

use super::*;

/// Gives the payloads of what `bench` completes of these datagrams.
fn completed<'a>(
    bench: &mut Bench,
    datagrams: impl IntoIterator<Item = &'a (Fragment, Frame)>,
) -> Vec<Bytes> {
    let given = datagrams.into_iter().map(|part| bench.give(part));
    given
        .filter(|outcome| matches!(outcome, FragmentOutcome::Complete(_)))
        .map(payload)
        .collect()
}

#[test]
fn after_a_loss_the_halves_of_two_unacknowledged_messages_never_meet() {
    for lost in [0, 1] {
        let mut bench = bench();
        let texts: Vec<_> = (0..20_u8).map(|at| vec![at; 1_300]).collect();
        let mut sets: Vec<_> = texts
            .iter()
            .map(|text| copies(text, 1, Flags::empty()))
            .collect();
        sets[0].remove(lost);
        let arrived = completed(&mut bench, sets.iter().flatten());
        assert_eq!(arrived, texts[1..], "without datagram {lost} of the first");
    }
}

#[test]
fn after_a_repetition_the_halves_of_two_unacknowledged_messages_never_meet() {
    for repeated in [0, 1] {
        let mut bench = bench();
        let texts: Vec<_> = (0..20_u8).map(|at| vec![at; 1_300]).collect();
        let mut sets: Vec<_> = texts
            .iter()
            .map(|text| copies(text, 1, Flags::empty()))
            .collect();
        let again = sets[0][repeated].clone();
        sets[0].push(again);
        assert_eq!(completed(&mut bench, sets.iter().flatten()), texts);
    }
}

#[test]
fn messages_sent_at_once_under_the_same_number_all_arrive() {
    for length in [1_300, 3_000] {
        let mut bench = bench();
        let sets = [1, 2, 3].map(|octet| copies(&vec![octet; length], 1, Flags::empty()));
        let total = sets[0].len();
        let interleaved = (0..total).flat_map(|at| sets.iter().map(move |set| &set[at]));
        let expected = [1, 2, 3].map(|octet| vec![octet; length]);
        assert_eq!(completed(&mut bench, interleaved), expected, "{length}");
    }
}

#[test]
fn messages_under_the_same_number_with_headers_of_their_own_all_arrive() {
    let mut bench = bench();
    let sets = ["a", "b"].map(|name| {
        let mut set = parts(b"abcdef", 5, 2);
        for (_, frame) in &mut set {
            frame.headers.push("correlation-id", name).expect("short");
        }
        set
    });
    let interleaved = (0..3).flat_map(|at| sets.iter().map(move |set| &set[at]));
    assert_eq!(completed(&mut bench, interleaved), ["abcdef"; 2]);
}

#[test]
fn two_long_unacknowledged_parts_are_dropped_because_they_may_be_of_two_messages() {
    let octets: Vec<u8> = (0..2_600).map(|at| (at % 251) as u8).collect();
    let cut = parts(&octets, 9, 1_300);
    assert_eq!(completed(&mut bench(), &cut), Vec::<Bytes>::new());
}

#[test]
fn a_number_used_again_for_a_message_that_begins_alike_arrives() {
    let mut bench = bench();
    assert_eq!(completed(&mut bench, &parts(b"abcd", 5, 2)), ["abcd"]);
    bench.wait(Duration::from_millis(1_001));
    assert_eq!(completed(&mut bench, &parts(b"abef", 5, 2)), ["abef"]);
}

proptest! {
    /// The published client's unacknowledged messages over a link that loses, repeats and swaps:
    /// what arrives was sent, and a message none of whose datagrams was touched arrives.
    #[test]
    fn unacknowledged_copies_arrive_as_they_were_sent_or_not_at_all(
        faults in proptest::collection::vec((0..20_u8, 0..20_u8), 40),
    ) {
        let mut bench = bench();
        let mut datagrams = Vec::new();
        let mut untouched = Vec::new();
        for (at, (first, second)) in faults.iter().enumerate() {
            let text = vec![u8::try_from(at).expect("few"); 1_250 + at];
            let set = copies(&text, 1, Flags::empty());
            for (part, fault) in set.iter().zip([first, second]) {
                match fault {
                    0 => {}
                    1 => datagrams.extend([part.clone(), part.clone()]),
                    2 => datagrams.insert(datagrams.len().saturating_sub(1), part.clone()),
                    _ => datagrams.push(part.clone()),
                }
            }
            if *first > 1 && *second > 1 {
                untouched.push(Bytes::from(text));
            }
        }
        let arrived = completed(&mut bench, &datagrams);
        for text in &arrived {
            let at = usize::from(text[0]);
            prop_assert_eq!(text, &vec![text[0]; 1_250 + at]);
        }
        for text in untouched {
            prop_assert!(arrived.contains(&text));
        }
    }
}
