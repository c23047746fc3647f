//! A section that is taken is whole, is found again, and is built again from its parts.

use bytes::Bytes;

use crate::{
    Context, Text,
    headers::{Headers, HeadersBuilder},
    testing::epoch,
    vsp,
    wire::{Frame, priority},
};

/// The octets are a header section; they are also read as the headers of a DATA frame.
pub fn headers(octets: &[u8]) {
    let Ok(headers) = Headers::from_section(Bytes::copy_from_slice(octets)) else {
        return;
    };
    let length: usize = headers
        .entries()
        .map(|(key, value)| 2 + key.len() + value.len())
        .sum();
    assert_eq!(length, octets.len(), "entries do not fill the section");

    let mut builder = HeadersBuilder::default();
    for (key, value) in headers.iter() {
        assert!(
            headers.get(key).is_some(),
            "a key that is there is not found"
        );
        builder
            .push(key, &value)
            .expect("parts of a section fit into one");
    }
    let built = builder.build();
    // A continuation may be split otherwise, or follow an empty key; the values stay.
    if headers.iter().all(|(key, _)| !key.is_empty()) {
        assert!(headers.iter().eq(built.iter()), "parts make other headers");
    }

    let frame = Frame::data(headers, Bytes::copy_from_slice(octets));
    let _ = priority::of(&frame);
    let reader = vsp::Reader::new(Context::default().peer, Some(Text::from_static("echo")));
    let _ = reader.read(epoch(), frame.clone());
    let _ = vsp::read_response(frame);
}
