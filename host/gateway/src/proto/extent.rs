//! How much a message has in it, counted before anything is made of it: a value takes an octet or two
//! where it is written and some hundred in memory, and readers go into depth by recursion.

use postern_core::Error;
use prost::{
    bytes::Buf as _,
    encoding::{WireType, decode_key, decode_varint},
};
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

/// Values in one message, those within it included. They take about a hundred octets each.
pub(super) const VALUES_MAX: usize = 1_000_000;
/// Messages within each other, those of `google.protobuf.Any` included. The decoder's own limit, which
/// starts anew in each `Any`.
pub(super) const DEPTH_MAX: usize = 100;

/// # Errors
/// `invalid-argument` for a message with too many values, or too deep. What is no message is told by
/// whoever decodes it.
pub(super) fn check_wire(descriptor: &MessageDescriptor, message: &[u8]) -> Result<(), Error> {
    let mut count = WireCount { n_values: 0 };
    match count.message(Some(descriptor), message, 0) {
        Ok(()) | Err(Uncounted::Malformed) => Ok(()),
        Err(Uncounted::TooMany) => Err(too_many()),
        Err(Uncounted::TooDeep) => {
            let message = format!("messages are nested more than {DEPTH_MAX} times");
            Err(Error::invalid_argument(message))
        }
    }
}

/// # Errors
/// `invalid-argument` for JSON with too many values. Its depth is bounded by whoever reads it.
pub(super) fn check_json(json: &[u8]) -> Result<(), Error> {
    // Each value but the first follows one of these.
    let mut n_values = 1_usize;
    let mut rest = json.iter();
    while let Some(octet) = rest.next() {
        match octet {
            b',' | b':' | b'[' | b'{' => n_values += 1,
            b'"' => skip_string(&mut rest),
            _ => {}
        }
    }
    // A member has a comma and a colon.
    if n_values > 2 * VALUES_MAX {
        return Err(too_many());
    }
    Ok(())
}

fn skip_string(rest: &mut std::slice::Iter<'_, u8>) {
    while let Some(octet) = rest.next() {
        match octet {
            b'"' => return,
            b'\\' => drop(rest.next()),
            _ => {}
        }
    }
}

fn too_many() -> Error {
    let message = format!("a message has more than {VALUES_MAX} values");
    Error::invalid_argument(message).with_too_large()
}

/// Why counting ends before the message does.
enum Uncounted {
    Malformed,
    TooMany,
    TooDeep,
}

struct WireCount {
    n_values: usize,
}

impl WireCount {
    /// Counts what `octets`, a message of that type, has; of one whose type is not known, its fields.
    fn message(
        &mut self,
        descriptor: Option<&MessageDescriptor>,
        octets: &[u8],
        depth: usize,
    ) -> Result<(), Uncounted> {
        let mut rest = octets;
        self.fields(descriptor, &mut rest, depth)
    }

    /// Counts fields up to the end of `rest`, or of the group that they are in.
    fn fields(
        &mut self,
        descriptor: Option<&MessageDescriptor>,
        rest: &mut &[u8],
        depth: usize,
    ) -> Result<(), Uncounted> {
        if depth > DEPTH_MAX {
            return Err(Uncounted::TooDeep);
        }
        let is_any = descriptor.is_some_and(|descriptor| descriptor.full_name() == ANY);
        let (mut type_url, mut value): (&[u8], &[u8]) = (&[], &[]);
        while !rest.is_empty() {
            let (number, wire_type) = decode_key(rest).map_err(|_| Uncounted::Malformed)?;
            self.add(1)?;
            let field = || descriptor.and_then(|descriptor| descriptor.get_field(number));
            match wire_type {
                WireType::Varint => drop(varint(rest)?),
                WireType::SixtyFourBit => drop(take(rest, 8)?),
                WireType::ThirtyTwoBit => drop(take(rest, 4)?),
                WireType::LengthDelimited => {
                    let length = usize::try_from(varint(rest)?);
                    let octets = take(rest, length.map_err(|_| Uncounted::Malformed)?)?;
                    match (is_any, number) {
                        (true, 1) => type_url = octets,
                        (true, 2) => value = octets,
                        _ => self.delimited(
                            field().map(|field| (field.kind(), field.is_list())),
                            octets,
                            depth,
                        )?,
                    }
                }
                WireType::StartGroup => {
                    let within = field().and_then(|field| field.kind().as_message().cloned());
                    self.fields(within.as_ref(), rest, depth + 1)?;
                }
                WireType::EndGroup => break,
            }
        }
        match descriptor {
            Some(any) if is_any => self.packed(any.parent_pool(), (type_url, value), depth),
            Some(_) | None => Ok(()),
        }
    }

    fn delimited(
        &mut self,
        field: Option<(Kind, bool)>,
        octets: &[u8],
        depth: usize,
    ) -> Result<(), Uncounted> {
        match field {
            Some((Kind::Message(message), _)) => self.message(Some(&message), octets, depth + 1),
            Some((kind, true)) => self.add(n_packed(&kind, octets)),
            Some((_, false)) | None => Ok(()),
        }
    }

    /// Counts the message in a `google.protobuf.Any`, where its type is known.
    fn packed(
        &mut self,
        pool: &DescriptorPool,
        (type_url, value): (&[u8], &[u8]),
        depth: usize,
    ) -> Result<(), Uncounted> {
        let type_url = std::str::from_utf8(type_url).unwrap_or_default();
        let (_, name) = type_url.rsplit_once('/').unwrap_or_default();
        match pool.get_message_by_name(name) {
            Some(message) => self.message(Some(&message), value, depth + 1),
            None => Ok(()),
        }
    }

    fn add(&mut self, n_values: usize) -> Result<(), Uncounted> {
        self.n_values = self.n_values.saturating_add(n_values);
        if self.n_values > VALUES_MAX {
            return Err(Uncounted::TooMany);
        }
        Ok(())
    }
}

/// Numbers of a field that stand one behind the other in `octets`.
fn n_packed(kind: &Kind, octets: &[u8]) -> usize {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => octets.len() / 8,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => octets.len() / 4,
        // The last octet of each is below 128, and only it.
        Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Bool
        | Kind::Enum(_) => octets.iter().filter(|octet| **octet < 0x80).count(),
        Kind::String | Kind::Bytes | Kind::Message(_) => 0,
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64, Uncounted> {
    decode_varint(rest).map_err(|_| Uncounted::Malformed)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Uncounted> {
    let (taken, _) = rest.split_at_checked(length).ok_or(Uncounted::Malformed)?;
    rest.advance(length);
    Ok(taken)
}

const ANY: &str = "google.protobuf.Any";

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::Any;

    use super::*;
    use crate::proto::compile::compile_source;

    fn pool() -> DescriptorPool {
        let source = "syntax = \"proto3\"; package t; import \"google/protobuf/any.proto\";\n\
            message A { A next = 1; repeated int32 n = 2; google.protobuf.Any any = 3; \
            repeated fixed64 f = 4; string s = 5; }";
        compile_source("t.proto", source).expect("good")
    }

    fn checked(message: &[u8]) -> Result<(), String> {
        let descriptor = pool().get_message_by_name("t.A").expect("there");
        check_wire(&descriptor, message).map_err(|error| error.message.into_owned())
    }

    fn field(number: u32, octets: &[u8]) -> Vec<u8> {
        let mut field = Vec::new();
        prost::encoding::bytes::encode(number, &octets.to_vec(), &mut field);
        field
    }

    #[test]
    fn values_are_counted_in_and_within_messages() {
        let packed = |n: usize| field(2, &vec![1; n]);
        // The field itself is one.
        assert_eq!(checked(&packed(VALUES_MAX - 1)), Ok(()));
        let too_many = Err("a message has more than 1000000 values".to_owned());
        assert_eq!(checked(&packed(VALUES_MAX)), too_many);
        assert_eq!(checked(&field(1, &packed(VALUES_MAX - 1))), too_many);
        assert_eq!(checked(&field(4, &vec![1; 8 * VALUES_MAX])), too_many);
        assert_eq!(checked(&field(4, &vec![1; 8 * (VALUES_MAX - 1)])), Ok(()));
        assert_eq!(checked(&field(5, &vec![1; 2 * VALUES_MAX])), Ok(()));
        assert_eq!(
            checked(b"\xFF"),
            Ok(()),
            "whoever decodes it says what it is"
        );
    }

    #[test]
    fn depth_is_counted_through_any() {
        let mut nested = Vec::new();
        for _ in 0..DEPTH_MAX {
            nested = field(1, &nested);
        }
        assert_eq!(checked(&nested), Ok(()));
        let too_deep = Err("messages are nested more than 100 times".to_owned());
        assert_eq!(checked(&field(1, &nested)), too_deep);
        let mut any = Any::default();
        for _ in 0..DEPTH_MAX {
            any = Any {
                type_url: format!("type.googleapis.com/{ANY}"),
                value: any.encode_to_vec(),
            };
        }
        assert_eq!(checked(&field(3, &any.encode_to_vec())), too_deep);
    }

    #[test]
    fn what_stands_in_strings_of_json_is_no_value() {
        let list = |n: usize| format!("[{}0]", "0,".repeat(n));
        assert!(check_json(list(VALUES_MAX).as_bytes()).is_ok());
        assert!(check_json(list(2 * VALUES_MAX).as_bytes()).is_err());
        let text = format!("\"\\\"{}\"", ",".repeat(3 * VALUES_MAX));
        assert!(check_json(text.as_bytes()).is_ok());
    }
}
