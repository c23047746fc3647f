//! What a journal writes down and gives again.

use postern_core::Kind;
use rand_core::TryRng as _;

use super::*;

type Asked<T> = Result<Result<T, Failure>, ()>;

fn get(key: &str) -> HostQuestion {
    HostQuestion::read("kv.get").text(key)
}

fn set(key: &str, value: &'static str) -> HostQuestion {
    HostQuestion::effect("kv.set")
        .text(key)
        .about()
        .octets(value)
}

fn now<T: Answer>(journal: &Journal, question: HostQuestion, real: Asked<T>) -> Result<T, Failure> {
    let asking = asking(Some(journal), |_| question);
    through_now(asking, || real).expect("nothing stops it")
}

/// Asks for what is not there.
fn replayed<T: Answer>(journal: &Journal, question: HostQuestion) -> Result<T, Failure> {
    let asking = asking(Some(journal), |_| question);
    through_now::<T, ()>(asking, || panic!("a replay asks nobody")).expect("nothing stops it")
}

fn again(journal: &Journal) -> Journal {
    let host = journal.host().expect("it fits");
    let line = serde_json::to_string(&host).unwrap();
    let read = serde_json::from_str(&line).unwrap();
    Journal::replaying(JournalStart::default(), &read).unwrap()
}

fn changes(journal: &Journal) -> Vec<AskChange> {
    let differences = journal.differences();
    differences
        .iter()
        .map(|difference| difference.change)
        .collect()
}

/// Two reads of a key around a write of it.
fn recorded() -> Journal {
    let journal = Journal::recording(JournalStart::default());
    let none = now(&journal, get("a"), Ok(Ok(None::<Vec<u8>>)));
    assert_eq!(none.unwrap(), None);
    now(&journal, set("a", "1"), Ok(Ok(true))).unwrap();
    now(&journal, get("a"), Ok(Ok(Some(b"1".to_vec())))).unwrap();
    journal
}

#[test]
fn the_same_questions_have_the_same_answers_in_their_order() {
    let journal = again(&recorded());
    let none = replayed::<Option<Vec<u8>>>(&journal, get("a"));
    assert_eq!(none.unwrap(), None);
    assert!(replayed::<bool>(&journal, set("a", "1")).unwrap());
    let one = replayed::<Option<Vec<u8>>>(&journal, get("a"));
    assert_eq!(one.unwrap(), Some(b"1".to_vec()));
    assert_eq!(changes(&journal), []);
}

#[test]
fn a_failure_is_given_again() {
    let journal = Journal::recording(JournalStart::default());
    let failure = Failure {
        kind: Kind::NotFound.into(),
        message: "no".to_owned(),
        details: Some("{}".to_owned()),
    };
    now::<bool>(&journal, set("a", "1"), Ok(Err(failure))).unwrap_err();
    let failure = replayed::<bool>(&again(&journal), set("a", "1")).unwrap_err();
    assert_eq!(Kind::from(failure.kind), Kind::NotFound);
    assert_eq!(
        (failure.message.as_str(), failure.details.as_deref()),
        ("no", Some("{}"))
    );
}

#[test]
fn what_is_asked_otherwise_is_a_difference_with_its_name() {
    let journal = again(&recorded());
    let unrecorded = replayed::<Option<Vec<u8>>>(&journal, get("b")).unwrap_err();
    assert_eq!(Kind::from(unrecorded.kind), Kind::Unavailable);
    assert!(unrecorded.message.contains("kv.get \"b\""));
    // By its key: the recorded answer.
    assert!(replayed::<bool>(&journal, set("a", "2")).unwrap());
    replayed::<Option<Vec<u8>>>(&journal, get("a")).unwrap();
    replayed::<Option<Vec<u8>>>(&journal, get("a")).unwrap();
    let third = replayed::<Option<Vec<u8>>>(&journal, get("a")).unwrap();
    assert_eq!(third, Some(b"1".to_vec()), "the last answer");
    let told: Vec<_> = journal
        .differences()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "asked for kv.get \"b\", which was not recorded",
            "asked for kv.set \"a\", \"2\", recorded was kv.set \"a\", \"1\"",
            "asked for kv.get \"a\" more often than recorded",
        ]
    );
}

#[test]
fn an_effect_that_is_missing_counts_and_a_read_that_is_missing_is_a_note() {
    let journal = again(&recorded());
    let missing = changes(&journal);
    assert_eq!(
        missing,
        [AskChange::NotRead, AskChange::NotDone, AskChange::NotRead]
    );
    assert!(AskChange::NotRead.is_note() && !AskChange::NotDone.is_note());
}

fn increase(series: &str, value: &'static str) -> HostQuestion {
    HostQuestion::count("metrics.increase")
        .text(series)
        .about()
        .octets(value)
}

#[test]
fn metrics_that_are_changed_otherwise_are_notes() {
    let journal = Journal::recording(JournalStart::default());
    let full = Failure {
        kind: Kind::ResourceExhausted.into(),
        message: "one more series than there may be".to_owned(),
        details: None,
    };
    now(&journal, increase("jobs", "1"), Ok(Ok(()))).unwrap();
    now::<()>(
        &journal,
        increase("jobs{kind=\"mail\"}", "1"),
        Ok(Err(full)),
    )
    .unwrap_err();
    now(&journal, increase("jobs", "3"), Ok(Ok(()))).unwrap();
    let replay = again(&journal);
    let counted = |question, real: Result<(), Failure>| {
        let asking = asking(Some(&replay), |_| question);
        told::<Result<(), Failure>, ()>(asking, || Ok(real)).expect("nothing stops it")
    };
    // What the table had no room for has none again, whatever there is here.
    let refused = counted(increase("jobs{kind=\"mail\"}", "1"), Ok(())).unwrap_err();
    assert_eq!(Kind::from(refused.kind), Kind::ResourceExhausted);
    counted(increase("jobs", "2"), Ok(())).unwrap();
    counted(increase("other", "1"), Ok(())).unwrap();
    let told = replay.differences();
    assert!(told.iter().all(|difference| difference.change.is_note()));
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "asked for metrics.increase \"jobs\", \"2\", recorded was metrics.increase \"jobs\", \"1\"",
            "asked for metrics.increase \"other\", \"1\", which was not recorded",
            "did not ask for metrics.increase \"jobs\", \"3\", which was recorded",
        ]
    );
}

#[test]
fn notes_leave_room_for_what_counts() {
    let journal = again(&recorded());
    for n in 0..1000 {
        let series = format!("jobs{{n=\"{n}\"}}");
        let asking = asking(Some(&journal), |_| increase(&series, "1"));
        told::<Result<(), Failure>, ()>(asking, || Ok(Ok(())))
            .unwrap()
            .unwrap();
    }
    replayed::<bool>(&journal, set("b", "1")).unwrap_err();
    let told = changes(&journal);
    let n_counted = told.iter().filter(|change| **change == AskChange::Counted);
    assert_eq!(n_counted.count(), 100);
    assert!(told.contains(&AskChange::Unrecorded) && told.contains(&AskChange::NotDone));
}

#[test]
fn what_was_taken_in_another_order_is_found_once_each() {
    let journal = Journal::recording(JournalStart::default());
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")] {
        now(&journal, set(key, value), Ok(Ok(true))).unwrap();
    }
    let replay = again(&journal);
    for (key, value) in [("b", "2"), ("a", "1"), ("d", "4"), ("c", "3")] {
        assert!(replayed::<bool>(&replay, set(key, value)).unwrap());
    }
    assert_eq!(changes(&replay), []);
    // All are taken: the next has none.
    assert!(replayed::<bool>(&replay, set("a", "1")).is_err());
}

#[test]
fn arguments_take_room_also_where_they_are_empty() {
    let journal = Journal::recording(JournalStart::default());
    let parts = (0..CALL_BYTES_MAX / 16).fold(get("a"), |question, _| question.text(""));
    now(&journal, parts, Ok(Ok(None::<Vec<u8>>))).unwrap();
    assert_eq!(journal.host(), None, "it is too much");
}

#[test]
fn an_answer_of_another_shape_is_none() {
    let journal = again(&recorded());
    assert!(replayed::<u64>(&journal, set("a", "1")).is_err());
    assert_eq!(changes(&journal).first(), Some(&AskChange::Unrecorded));
}

#[test]
fn clocks_and_random_numbers_come_again() {
    let journal = Journal::recording(JournalStart::default());
    let read = |journal: &Journal| {
        let mut random = journal.random(0);
        let random = random.try_next_u64().unwrap();
        let wall = [journal.wall_nanos(), journal.wall_nanos()];
        (random, wall, journal.monotonic_nanos())
    };
    let first = read(&journal);
    let replay = again(&journal);
    assert_eq!(read(&replay), first);
    assert_eq!(changes(&replay), []);
    assert!(replay.wall_nanos() > first.1[1], "it goes on");
    assert_eq!(changes(&replay), [AskChange::Clock]);
}

#[test]
fn what_a_replay_was_told_is_a_record_again() {
    let journal = recorded();
    journal.on_line("a line");
    let replay = again(&journal);
    replayed::<Option<Vec<u8>>>(&replay, get("a")).unwrap();
    replayed::<bool>(&replay, set("a", "1")).unwrap();
    replayed::<Option<Vec<u8>>>(&replay, get("a")).unwrap();
    replay.on_line("a line");
    assert_eq!(replay.host(), journal.host());
}

#[test]
fn a_call_that_holds_too_much_is_not_recorded() {
    let journal = Journal::recording(JournalStart::default());
    assert!(journal.charge(CALL_BYTES_MAX));
    assert!(journal.host().is_some());
    assert!(!journal.charge(1));
    assert_eq!(journal.host(), None);
    assert!(!journal.charge(0), "and stays so");
}

#[test]
fn a_record_that_cannot_be_is_refused() {
    let host = journal_host();
    let replay = |host: &RecordedHost| Journal::replaying(JournalStart::default(), host);
    assert!(replay(&host).is_ok());
    let level = RecordedHost {
        log_level: "loud".to_owned(),
        ..host.clone()
    };
    assert_eq!(replay(&level).unwrap_err(), "\"loud\" is no log level");
    let seed = RecordedHost {
        seed: "7".to_owned(),
        ..host
    };
    assert!(replay(&seed).unwrap_err().contains("64 hex digits"));
}

fn journal_host() -> RecordedHost {
    recorded().host().expect("it fits")
}
