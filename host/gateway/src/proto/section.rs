//! The schema that a component has built in: a set of descriptors (`google.protobuf.FileDescriptorSet`)
//! in a custom section called `postern:proto`, of the component or of a module in it. Where there are
//! several sections, their files are one set.

use bytes::{Bytes, BytesMut};
use wasmparser::{Parser, Payload};

/// The set of descriptors in `component`; `None` where it has none, or is no component, which is told by
/// whoever compiles it.
pub(super) fn find(component: &[u8]) -> Option<Bytes> {
    let mut found = BytesMut::new();
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::CustomSection(section) = payload.ok()?
            && section.name() == SECTION
        {
            // Sets of descriptors are joined as they follow each other: their files are repeated fields.
            found.extend_from_slice(section.data());
        }
    }
    (!found.is_empty()).then(|| found.freeze())
}

pub(super) const SECTION: &str = "postern:proto";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_wherever_they_are_and_joined() {
        let section = |data: &[u8]| {
            let name = SECTION.as_bytes();
            let length = u8::try_from(1 + name.len() + data.len()).expect("short");
            let head = [0, length, u8::try_from(name.len()).expect("short")];
            [&head, name, data].concat()
        };
        let module = wat::parse_str("(module)").expect("a module");
        let module = [&module[..], &section(b"a")].concat();
        let component = wat::parse_str("(component)").expect("a component");
        let head = [1, u8::try_from(module.len()).expect("short")];
        let component = [&component[..], &head, &module, &section(b"bc")].concat();
        assert_eq!(find(&component), Some(Bytes::from_static(b"abc")));
        assert_eq!(
            find(&wat::parse_str("(component)").expect("a component")),
            None
        );
        assert_eq!(find(b"nothing"), None);
    }
}
