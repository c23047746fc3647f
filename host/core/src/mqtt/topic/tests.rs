//! Names and filters, both ways.

use proptest::prelude::*;

use super::*;

fn both(name: &str, topic: &str) {
    assert_eq!(to_event(name), topic, "{name}");
    assert_eq!(from_event(topic), name, "{topic}");
}

fn matches(filter: &str, name: &str) -> bool {
    TopicFilter::new(filter).expect("a filter").matches(name)
}

fn filter(text: &str, expected: Result<(), MqttNameError>) {
    assert_eq!(TopicFilter::new(text).map(drop), expected, "{text}");
}

#[test]
fn levels_are_parted_by_slashes_here_and_dots_there() {
    both("orders/created", "orders.created");
    both("orders", "orders");
}

#[test]
fn an_empty_level_is_a_percent_sign() {
    both("/a", "%.a");
    both("a//b", "a.%.b");
    both("a/", "a.%");
    both("/", "%.%");
}

#[test]
fn what_no_level_of_an_event_has_is_escaped() {
    both("a.b/c", "a%2Eb.c");
    both("50%/x", "50%25.x");
    both("a b/c\td", "a%20b.c%09d");
    both("*/>", "%2A.%3E");
    both("a\u{3000}b", "a%E3%80%80b");
    both("grüße", "grüße");
}

#[test]
fn what_no_level_of_mqtt_has_is_escaped() {
    both("a%2Fb", "a/b");
    both("a%2Bb/c%23", "a+b.c#");
}

#[test]
fn a_literal_escape_stays_one() {
    both("a%2Eb", "a%252Eb");
    assert_eq!(from_event("a%2eb"), "a%2eb");
    assert_eq!(from_event("a%C3b"), "a%C3b");
    assert_eq!(from_event("a%41"), "a%41");
}

#[test]
fn wildcards_become_those_of_events() {
    let check = |filter: &str, expected: &[&str]| {
        let patterns = TopicFilter::new(filter).expect("a filter").patterns();
        let patterns = patterns.expect("patterns");
        let found: Vec<_> = patterns.iter().map(TopicPattern::as_str).collect();
        assert_eq!(found, expected, "{filter}");
    };
    check("a/+/b", &["a.*.b"]);
    check("a/#", &["a.>", "a"]);
    check("#", &[">"]);
    check("+/#", &["*.>", "*"]);
    check("/+", &["%.*"]);
}

// The tables of section 4.7.1.
#[test]
fn a_hash_is_the_level_above_and_all_below() {
    for name in ["sport/tennis/player1", "sport/tennis/player1/ranking"] {
        assert!(matches("sport/tennis/player1/#", name));
    }
    assert!(matches("sport/#", "sport"));
    assert!(matches("#", "a/b/c"));
    assert!(!matches("sport/tennis/#", "sport"));
}

#[test]
fn a_plus_is_one_level_which_may_be_empty() {
    assert!(matches("sport/tennis/+", "sport/tennis/player1"));
    assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
    assert!(!matches("sport/+", "sport"));
    assert!(matches("sport/+", "sport/"));
    assert!(matches("+/+", "/finance") && matches("/+", "/finance"));
    assert!(!matches("+", "/finance"));
}

#[test]
fn a_wildcard_in_first_place_wants_no_name_of_the_broker() {
    assert!(!matches("#", "$SYS/broker/uptime"));
    assert!(!matches("+/monitor/Clients", "$SYS/monitor/Clients"));
    assert!(matches("$SYS/#", "$SYS/"));
    assert!(matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
}

#[test]
fn wildcards_stand_alone_and_the_hash_last() {
    filter("a/+/b/#", Ok(()));
    filter("a/#/b", Err(MqttNameError::RestNotLast { level: 2 }));
    let found = '#';
    filter("a/b#", Err(MqttNameError::NotAlone { level: 2, found }));
    let found = '+';
    filter("a+/b", Err(MqttNameError::NotAlone { level: 1, found }));
    filter("", Err(MqttNameError::Empty));
    filter("a\0", Err(MqttNameError::Null));
}

#[test]
fn a_name_has_no_wildcards_and_the_bounds_of_events() {
    let check = |name: &str, expected: MqttNameError| {
        assert_eq!(TopicName::new(name).err(), Some(expected), "{name}");
    };
    check("", MqttNameError::Empty);
    check("a/+", MqttNameError::Wildcard { found: '+' });
    check("a\0b", MqttNameError::Null);
    assert!(TopicName::new(&"a".repeat(255)).is_ok());
    check(&"a".repeat(256), MqttNameError::TooLong { length: 256 });
    assert!(TopicName::new(&["a"; 32].join("/")).is_ok());
    check(&["a"; 33].join("/"), MqttNameError::TooDeep { levels: 33 });
    // What counts is what it is as an event's topic.
    check(&".".repeat(86), MqttNameError::TooLong { length: 258 });
}

#[test]
fn a_share_has_a_name_and_a_filter() {
    let shared = SharedFilter::new("$share/g/a/+").expect("shared");
    assert_eq!(shared.group.as_deref(), Some("g"));
    assert_eq!(shared.filter.as_str(), "a/+");
    assert_eq!(shared.to_string(), "$share/g/a/+");
    let check = |text: &str, expected: MqttNameError| {
        assert_eq!(SharedFilter::new(text).err(), Some(expected), "{text}");
    };
    check("$share/g", MqttNameError::ShareWithoutFilter);
    check("$share/g/", MqttNameError::ShareWithoutFilter);
    check("$share//a", MqttNameError::ShareWithoutName);
    check("$share/g+/a", MqttNameError::ShareName { found: '+' });
    assert_eq!(SharedFilter::new("a/b").expect("own").group, None);
}

proptest! {
    #[test]
    fn a_name_comes_back_as_it_was(name in "[a%./ *>é\u{3000}2EF5B3]{1,12}") {
        let topic = to_event(&name);
        prop_assert_eq!(from_event(&topic), name.clone());
        prop_assert!(crate::event::check_topic(&topic).is_ok(), "{} is {}", name, topic);
    }

    #[test]
    fn patterns_want_what_their_filter_wants(
        filter in "([ab+]|)(/([ab+]|)){0,3}(/#)?",
        name in "[ab]?(/[ab]?){0,4}",
    ) {
        prop_assume!(!name.is_empty());
        let Ok(filter) = TopicFilter::new(&filter) else { return Ok(()) };
        let topic = to_event(&name);
        let patterns = filter.patterns().expect("patterns");
        let is_wanted = patterns.iter().any(|pattern| pattern.matches(&topic));
        prop_assert_eq!(filter.matches(&name), is_wanted, "{} {}", filter, name);
    }
}
