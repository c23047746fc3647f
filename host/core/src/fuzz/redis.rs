//! An entry that is taken as an event makes an entry of which the same event is made, and an address that is
//! taken is written so that it is taken again.

use bytes::Bytes;

use super::Script;
use crate::redis::{RedisLocation, event_of, fields_of, position_of, stream_id};

/// One octet of mode, then an address, an id, or names and values, each behind its length.
pub fn redis(octets: &[u8]) {
    let mut script = Script::new(octets);
    match script.octet() % 3 {
        0 => entry(script),
        1 => address(script.octets(usize::MAX)),
        _ => id(script.octets(usize::MAX)),
    }
}

fn entry(mut script: Script<'_>) {
    let mut fields = Vec::new();
    while !script.is_empty() {
        let mut part = || {
            let length = script.octet().into();
            Bytes::copy_from_slice(script.octets(length))
        };
        fields.push((part(), part()));
    }
    let Ok(event) = event_of(fields) else {
        return;
    };
    let again = event_of(fields_of(&event)).expect("an event makes an entry");
    assert_eq!(
        (&again.topic, &again.payload),
        (&event.topic, &event.payload)
    );
    assert!(
        again.headers.iter().eq(event.headers.iter()),
        "other headers"
    );
    assert_eq!(again.publisher.depth, event.publisher.depth);
    assert_eq!(again.publisher.trace, event.publisher.trace);
}

fn address(octets: &[u8]) {
    let Ok(text) = str::from_utf8(octets) else {
        return;
    };
    let Ok(location) = text.parse::<RedisLocation>() else {
        return;
    };
    let written = location.to_string();
    assert_eq!(
        written.parse::<RedisLocation>().as_ref(),
        Ok(&location),
        "{written}"
    );
}

fn id(octets: &[u8]) {
    let Ok(text) = str::from_utf8(octets) else {
        return;
    };
    if let Some(position) = position_of(text) {
        assert_eq!(position_of(&stream_id(position)), Some(position), "{text}");
    }
}
