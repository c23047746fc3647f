//! Sections and fields: what they hold, find and refuse.

use super::*;

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (key, value) in pairs {
        headers.push(key, value).expect("short test headers fit");
    }
    headers
}

#[test]
fn lookup_takes_the_first_of_duplicates() {
    assert_eq!(
        headers(&[("k", "1"), ("k", "2")]).get_str("k").as_deref(),
        Some("1")
    );
}

#[test]
fn a_value_of_256_octets_is_continued_and_joined() {
    let long = "v".repeat(256);
    let headers = headers(&[("a", &long), ("b", "2")]);
    assert_eq!(headers.entries().count(), 3);
    assert_eq!(headers.get_str("a").as_deref(), Some(&*long));
    assert_eq!(headers.get_str("b").as_deref(), Some("2"));
}

#[test]
fn an_empty_first_key_is_a_header_of_its_own() {
    let headers = Headers::from_section(Bytes::from_static(&[0, 0, 0, 0])).expect("legal");
    assert_eq!(headers.iter().count(), 2);
}

#[test]
fn refuses_an_entry_that_overruns_the_section() {
    let section = Bytes::from_static(&[1, 1, b'k', b'v', 1, 9, b'k']);
    let error = HeaderError::Overrun {
        at: 4,
        needed: 12,
        left: 3,
    };
    assert_eq!(Headers::from_section(section), Err(error));
}

#[test]
fn refuses_a_section_over_65535_and_keeps_what_was_there() {
    let mut headers = Headers::new();
    let value = vec![0; 65_021];
    headers.push("k", &value).expect("exactly at the limit");
    assert_eq!(headers.section().len(), 65_532);
    let length = 65_536;
    assert_eq!(
        headers.push("", "xx"),
        Err(HeaderError::SectionTooLong { length })
    );
    assert_eq!(headers.section().len(), 65_532);
}

#[test]
fn without_drops_continuations_too() {
    let long = "v".repeat(600);
    let headers = headers(&[("a", &long), ("b", "2")]).without(|key| key == b"a");
    assert_eq!(headers, self::headers(&[("b", "2")]));
}

fn fields(pairs: &[(&str, &str)]) -> Headers {
    let mut builder = HeadersBuilder::fields(pairs.len(), 0);
    for (key, value) in pairs {
        builder.push(key, value).expect("fields are not bounded");
    }
    builder.build()
}

#[test]
fn fields_are_found_in_any_case_and_a_section_exactly() {
    let pairs = [("Set-Cookie", "a"), ("x", "1"), ("set-cookie", "b")];
    let fields = fields(&pairs);
    let values: Vec<_> = fields.values(b"SET-COOKIE").collect();
    assert_eq!(values, [&b"a"[..], b"b"]);
    assert_eq!(fields.without_key(b"set-Cookie").iter().count(), 1);
    let section = headers(&pairs);
    assert_eq!(section.get(b"SET-COOKIE"), None);
    assert_eq!(section.without_key(b"set-cookie").iter().count(), 2);
}

#[test]
fn fields_keep_what_a_section_cannot_hold() {
    let (name, value) = ("n".repeat(256), "v".repeat(70_000));
    let mut fields = fields(&[(&name, &value), ("b", "")]);
    fields.push("c", "3").expect("fields are not bounded");
    assert_eq!(
        fields.get_bytes(name.as_bytes()).as_deref(),
        Some(value.as_bytes())
    );
    let all: Vec<_> = fields
        .iter()
        .map(|(key, value)| (key.len(), value.len()))
        .collect();
    assert_eq!(all, [(256, 70_000), (1, 0), (1, 1)]);
    assert_eq!(fields.to_owned_buffer(), fields);
}
