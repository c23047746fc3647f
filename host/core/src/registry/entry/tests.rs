//! Every bound of an entry at its edge and one past it, and what an entry holds.

use bytes::Bytes;

use super::{super::address::Location, *};

/// Writes one part of a draft.
type Set<T> = fn(&mut Draft, T);

#[test]
fn a_draft_of_two_names_is_an_entry() {
    let entry = Entry::new(&draft()).expect("nothing to refuse");
    assert_eq!(entry.weight, WEIGHT_DEFAULT);
    assert_eq!(entry.into_draft(), draft());
}

#[test]
fn names_are_there_short_and_printable() {
    let cases: [(&str, Set<Text>); 9] = [
        ("instance", |draft, name| draft.instance = InstanceId(name)),
        ("service", |draft, name| draft.service = name),
        ("zone", |draft, name| draft.zone = Some(name)),
        ("virtual network", |draft, name| draft.vnets = [name].into()),
        ("permission", |draft, name| {
            draft.permissions = [name].into()
        }),
        ("key of metadata", |draft, name| {
            draft.metadata = [(name, Text::default())].into();
        }),
        ("parameter", |draft, name| {
            draft.params = [(name, true.into())].into();
        }),
        ("parameter", |draft, name| {
            let inner: Params = [(name, true.into())].into();
            draft.params = [("outer".into(), inner.into())].into();
        }),
        ("method", |draft, name| {
            draft.methods = Some(vec![method(name)])
        }),
    ];
    for (what, set) in cases {
        let with = |name: &str| check(|draft| set(draft, name.into()));
        assert_eq!(with(""), Err(EntryError::Empty { what }));
        assert_eq!(with("a\nb"), Err(EntryError::Control { what }));
        assert_eq!(with(&"n".repeat(NAME_BYTES_MAX)), Ok(()));
        let (bytes, limit) = (NAME_BYTES_MAX + 1, NAME_BYTES_MAX);
        let too_long = EntryError::TooLong { what, bytes, limit };
        assert_eq!(with(&"n".repeat(bytes)), Err(too_long));
    }
}

#[test]
fn values_are_short_and_printable() {
    let cases: [(&str, Set<Text>); 3] = [
        ("value of metadata", |draft, text| {
            draft.metadata = [("key".into(), text)].into();
        }),
        ("value of a parameter", |draft, text| {
            draft.params = [("key".into(), text.into())].into();
        }),
        ("value of a parameter", |draft, text| {
            draft.params = [("key".into(), vec![text.into()].into())].into();
        }),
    ];
    for (what, set) in cases {
        let with = |text: &str| check(|draft| set(draft, text.into()));
        assert_eq!(with(""), Ok(()));
        assert_eq!(with("a\tb"), Err(EntryError::Control { what }));
        assert_eq!(with(&"t".repeat(TEXT_BYTES_MAX)), Ok(()));
        let (bytes, limit) = (TEXT_BYTES_MAX + 1, TEXT_BYTES_MAX);
        let too_long = EntryError::TooLong { what, bytes, limit };
        assert_eq!(with(&"t".repeat(bytes)), Err(too_long));
    }
}

#[test]
fn counts_are_bounded() {
    let cases: [(&str, usize, Set<Vec<Text>>); 4] = [
        ("virtual networks", VNETS_MAX, |draft, names| {
            draft.vnets = names.into_iter().collect();
        }),
        ("permissions", PERMISSIONS_MAX, |draft, names| {
            draft.permissions = names.into_iter().collect();
        }),
        ("pairs of metadata", METADATA_MAX, |draft, names| {
            draft.metadata = names.into_iter().map(|name| (name.clone(), name)).collect();
        }),
        ("methods", METHODS_MAX, |draft, names| {
            draft.methods = Some(names.into_iter().map(method).collect());
        }),
    ];
    for (what, limit, set) in cases {
        let with = |count: usize| {
            let names = (0..count).map(|n| Text::from(n.to_string())).collect();
            check(|draft| set(draft, names))
        };
        assert_eq!(with(limit), Ok(()));
        assert_eq!(with(limit + 1), Err(EntryError::TooMany { what, limit }));
    }
}

#[test]
fn weight_is_bounded_and_may_be_nothing() {
    let with = |weight| check(|draft| draft.weight = weight);
    assert_eq!(with(0), Ok(()));
    assert_eq!(with(WEIGHT_MAX), Ok(()));
    let (weight, limit) = (WEIGHT_MAX + 1, WEIGHT_MAX);
    assert_eq!(with(weight), Err(EntryError::Weight { weight, limit }));
}

#[test]
fn an_address_stands_once_for_its_scheme() {
    let with = |texts: &[&str]| {
        let addresses = texts.iter().map(|text| Address::parse(text).expect(text));
        check(|draft| draft.addresses = addresses.collect())
    };
    let all = [
        "udp://h:1",
        "tcp://h:1",
        "tls://h:1",
        "quic://h:1",
        "ws://h:1/x",
        "wss://h:1",
        "http://h:1",
        "https://h:1",
        "grpc://h:1",
        "grpcs://h:1",
        "velithon://h:1",
        "velithons://h:1",
        "unix:///s",
    ];
    assert_eq!(with(&all), Ok(()));
    let transport = Transport::Tcp;
    assert_eq!(
        with(&["tcp://h:1", "tcp://i:1"]),
        Err(EntryError::TransportTwice { transport })
    );
    let (what, limit) = ("addresses", 13);
    assert_eq!(
        with(&["tcp://h:1"; 14]),
        Err(EntryError::TooMany { what, limit })
    );
    // Written field by field, an address is checked all the same.
    let (host, port) = ("h".into(), 0);
    let location = Location::Host { host, port };
    let address = Address {
        transport,
        location,
    };
    let refused = Err(EntryError::Address(AddressError::Port));
    assert_eq!(check(|draft| draft.addresses = vec![address]), refused);
}

#[test]
fn a_method_stands_once_and_is_found() {
    let mut written = draft();
    written.methods = Some(vec![method("read".into()), method("write".into())]);
    let entry = Entry::new(&written).expect("two methods");
    assert_eq!(entry.method("write"), Some(&method("write".into())));
    assert_eq!(entry.method("delete"), None);
    let twice = vec![method("read".into()), method("read".into())];
    let refused = Err(EntryError::MethodTwice {
        name: "read".into(),
    });
    assert_eq!(check(|draft| draft.methods = Some(twice)), refused);
}

#[test]
fn all_texts_together_are_bounded() {
    // The names of `draft` take 2 octets, each pair 1 + 1,023, the last what is missing.
    let with = |last: usize| {
        check(|draft| {
            let key = |n: u8| Text::from(char::from(b'a' + n).to_string());
            let value = Text::from("v".repeat(1023));
            draft.metadata = (0..15).map(|n| (key(n), value.clone())).collect();
            let last = Text::from("v".repeat(last));
            draft.metadata.insert("z".into(), last);
        })
    };
    assert_eq!(with(1021), Ok(()));
    let (bytes, limit) = (ENTRY_BYTES_MAX + 1, ENTRY_BYTES_MAX);
    assert_eq!(with(1022), Err(EntryError::TooLarge { bytes, limit }));
}

#[test]
fn an_entry_does_not_keep_the_buffer_it_came_in() {
    let mut octets = vec![b'a'; 1 << 20];
    octets[100] = b'/';
    let buffer = Bytes::from(octets);
    let text = |end| Text::from_utf8(buffer.slice(0..end)).expect("ASCII");
    let mut written = Draft::new(text(1), text(2));
    written.zone = Some(text(3));
    written.vnets = [text(4)].into();
    written.permissions = [text(5)].into();
    written.metadata = [(text(6), text(7))].into();
    let inner: Params = [(text(8), vec![text(9).into()].into())].into();
    written.params = [(text(10), inner.into())].into();
    written.methods = Some(vec![method(text(11))]);
    let (host, path) = (
        text(12),
        Text::from_utf8(buffer.slice(100..113)).expect("ASCII"),
    );
    written.addresses = vec![
        Address::new(Transport::Tcp, host, 1).expect("a name"),
        Address {
            transport: Transport::Unix,
            location: Location::Path(path),
        },
    ];
    let entry = Entry::new(&written).expect("short");
    assert_eq!(*entry, written);
    drop(written);
    // `try_into_mut` succeeds for the last who holds a buffer.
    assert!(
        buffer.try_into_mut().is_ok(),
        "an entry of {} holds it",
        entry.instance
    );
}

fn check(change: impl FnOnce(&mut Draft)) -> Result<(), EntryError> {
    let mut written = draft();
    change(&mut written);
    Entry::new(&written).map(drop)
}

fn draft() -> Draft {
    Draft::new("i", "s")
}

fn method(name: Text) -> MethodInfo {
    MethodInfo::new(name, true)
}
