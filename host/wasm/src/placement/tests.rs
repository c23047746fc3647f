//! Which calls move a method, and how it comes back.

use super::*;

const SHORT: Duration = Duration::from_micros(2);
const LONG: Duration = Duration::from_millis(5);

fn name(name: &'static str) -> Text {
    Text::from_static(name)
}

fn placement(placements: &Placements) -> Placement {
    placements.of(&name("s"), &name("m"))
}

fn in_place(placements: &Placements, took: Duration, computed: Option<Duration>) -> Placement {
    placements.on_in_place(&name("s"), &name("m"), took, computed);
    placement(placements)
}

#[test]
fn two_long_calls_are_enough_and_nobody_elses_calls_move() {
    let placements = Placements::new();
    assert_eq!(
        in_place(&placements, IN_PLACE_MAX, None),
        Placement::InPlace
    );
    assert_eq!(in_place(&placements, LONG, None), Placement::Measured);
    assert_eq!(
        in_place(&placements, LONG, Some(LONG)),
        Placement::Offloaded
    );
    assert_eq!(
        placements.of(&name("s"), &name("other")),
        Placement::InPlace
    );
}

#[test]
fn a_thread_that_was_taken_away_is_no_fault_of_the_method() {
    let placements = Placements::new();
    for _ in 0..100 {
        assert_eq!(in_place(&placements, LONG, None), Placement::Measured);
        assert_eq!(in_place(&placements, LONG, Some(SHORT)), Placement::InPlace);
    }
    assert_eq!(placements.n_watched.load(Relaxed), 0);
}

#[test]
fn short_calls_clear_a_method() {
    let placements = Placements::new();
    in_place(&placements, LONG, None);
    for _ in 1..WINDOW {
        assert_eq!(
            in_place(&placements, SHORT, Some(SHORT)),
            Placement::Measured
        );
    }
    assert_eq!(
        in_place(&placements, SHORT, Some(SHORT)),
        Placement::InPlace
    );
    assert_eq!(placements.n_watched.load(Relaxed), 0);
}

/// Two long calls, of which the second one computes.
fn offload(placements: &Placements) {
    in_place(placements, LONG, None);
    let placed = in_place(placements, LONG, Some(LONG));
    assert_eq!(placed, Placement::Offloaded);
}

/// How many short calls bring it back.
fn return_calls(placements: &Placements) -> u32 {
    let mut n_calls = 0;
    while placement(placements) == Placement::Offloaded {
        placements.on_computed(&name("s"), &name("m"), SHORT);
        n_calls += 1;
    }
    assert_eq!(placement(placements), Placement::InPlace);
    assert_eq!(placements.n_watched.load(Relaxed), 0);
    n_calls
}

fn rounds(placements: &Placements, n_rounds: u32) {
    (0..n_rounds).for_each(|_| placements.on_round());
}

#[test]
fn an_overrun_of_a_trusted_method_is_a_suspicion() {
    let placements = Placements::new();
    placements.on_overrun(&name("s"), &name("m"), None);
    assert_eq!(placement(&placements), Placement::Measured);
    // One that began before it was measured says nothing new.
    placements.on_overrun(&name("s"), &name("m"), None);
    assert_eq!(placement(&placements), Placement::Measured);
    placements.on_overrun(&name("s"), &name("m"), Some(IN_PLACE_MAX));
    assert_eq!(placement(&placements), Placement::InPlace);
}

#[test]
fn an_overrun_that_computed_offloads() {
    let placements = Placements::new();
    placements.on_overrun(&name("s"), &name("m"), None);
    placements.on_overrun(&name("s"), &name("m"), Some(LONG));
    assert_eq!(placement(&placements), Placement::Offloaded);
}

#[test]
fn the_call_that_was_begun_anew_elsewhere_offloads_if_it_computes() {
    let placements = Placements::new();
    placements.on_overrun(&name("s"), &name("m"), None);
    placements.on_computed(&name("s"), &name("m"), IN_PLACE_MAX);
    assert_eq!(placement(&placements), Placement::Measured);
    placements.on_computed(&name("s"), &name("m"), LONG);
    assert_eq!(placement(&placements), Placement::Offloaded);
}

#[test]
fn each_return_takes_twice_as_many_calls() {
    let placements = Placements::new();
    for times in 0..=RETURN_DOUBLINGS + 2 {
        offload(&placements);
        placements.on_computed(&name("s"), &name("m"), SHORT);
        // A long one begins it anew.
        placements.on_computed(&name("s"), &name("m"), LONG);
        let expected = RETURN << times.min(RETURN_DOUBLINGS);
        assert_eq!(return_calls(&placements), expected, "{times}");
    }
}

#[test]
fn a_doubling_is_forgotten_for_every_so_many_rounds_without_a_long_call() {
    let placements = Placements::new();
    for _ in 0..3 {
        offload(&placements);
        return_calls(&placements);
    }
    rounds(&placements, DECAY_ROUNDS);
    offload(&placements);
    assert_eq!(return_calls(&placements), RETURN << 2, "it was 3 doublings");
    rounds(&placements, DECAY_ROUNDS - 1);
    offload(&placements);
    rounds(&placements, 1);
    assert_eq!(
        return_calls(&placements),
        RETURN << 3,
        "a long call starts over"
    );
    rounds(&placements, DECAY_ROUNDS * 4);
    offload(&placements);
    assert_eq!(return_calls(&placements), RETURN, "all are forgotten");
}

#[test]
fn rounds_shorten_the_return_of_a_method_that_is_hardly_called() {
    let placements = Placements::new();
    for _ in 0..=RETURN_DOUBLINGS {
        offload(&placements);
        return_calls(&placements);
    }
    offload(&placements);
    rounds(&placements, DECAY_ROUNDS * RETURN_DOUBLINGS);
    assert_eq!(placement(&placements), Placement::Offloaded);
    assert_eq!(return_calls(&placements), RETURN);
}

#[test]
fn a_record_survives_its_bits() {
    for placement in [
        Placement::InPlace,
        Placement::Measured,
        Placement::Offloaded,
    ] {
        let record = Record {
            placement,
            n_left: RETURN << RETURN_DOUBLINGS,
            n_suspicions: WINDOW_DOUBLINGS,
            n_offloads: RETURN_DOUBLINGS + 1,
            n_rounds: DECAY_ROUNDS,
        };
        assert_eq!(Record::read(record.write()), record);
    }
}

#[test]
fn names_are_spread_over_all_slots() {
    let slots = (0..1000).map(|number| index(b"users", format!("Method{number}").as_bytes()));
    let used: std::collections::BTreeSet<_> = slots.collect();
    assert_eq!(
        used.into_iter().collect::<Vec<_>>(),
        (0..SLOTS).collect::<Vec<_>>()
    );
    assert_ne!(index(b"a", b"bc"), index(b"ab", b"c"));
}
