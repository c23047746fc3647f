//! What a schema may have.

/// Files of one schema, those that it imports included. googleapis, the largest public set, needs some
/// forty for one of its services.
pub(super) const FILES_MAX: usize = 512;

/// Octets of all files of one schema.
pub(crate) const SCHEMA_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Folders within each other below one that is named.
pub(super) const FOLDERS_DEPTH_MAX: usize = 16;

/// Brackets within each other in a source: messages may be nested 31 times, and options within them are
/// read by recursion.
pub(super) const BRACKETS_DEPTH_MAX: usize = 64;

/// Whether brackets are nested in `source` deeper than a parser should follow. Comments and strings do
/// not count.
pub(super) fn is_too_deep(source: &str) -> bool {
    let mut depth = 0_usize;
    let mut rest = source.as_bytes();
    while let [octet, tail @ ..] = rest {
        rest = match (octet, tail) {
            (b'/', [b'/', ..]) => after(tail, b"\n"),
            (b'/', [b'*', within @ ..]) => after(within, b"*/"),
            (b'"' | b'\'', _) => after_string(tail, *octet),
            (b'{' | b'[' | b'(' | b'<', _) => {
                depth += 1;
                if depth > BRACKETS_DEPTH_MAX {
                    return true;
                }
                tail
            }
            (b'}' | b']' | b')' | b'>', _) => {
                depth = depth.saturating_sub(1);
                tail
            }
            _ => tail,
        };
    }
    false
}

/// What follows the first `end` in `octets`; nothing where there is none.
fn after<'a>(octets: &'a [u8], end: &[u8]) -> &'a [u8] {
    let at = octets.windows(end.len()).position(|window| window == end);
    at.and_then(|at| octets.get(at + end.len()..))
        .unwrap_or_default()
}

fn after_string(octets: &[u8], quote: u8) -> &[u8] {
    let mut rest = octets;
    loop {
        rest = match rest {
            [] => return rest,
            [b'\\', _, tail @ ..] => tail,
            [octet, tail @ ..] if *octet == quote || *octet == b'\n' => return tail,
            [_, tail @ ..] => tail,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_where_they_are_brackets() {
        let nested = |n: usize| format!("{}{}", "{".repeat(n), "}".repeat(n));
        assert!(!is_too_deep(&nested(BRACKETS_DEPTH_MAX)));
        assert!(is_too_deep(&nested(BRACKETS_DEPTH_MAX + 1)));
        let many = "{".repeat(BRACKETS_DEPTH_MAX + 1);
        for hidden in [
            format!("// {many}\nmessage A {{}}"),
            format!("/* {many} */ message A {{}}"),
            format!("option a = \"\\\"{many}\";"),
            format!("option a = '{many}';"),
            "message A {}\n".repeat(BRACKETS_DEPTH_MAX + 1),
        ] {
            assert!(!is_too_deep(&hidden), "{hidden}");
        }
        assert!(is_too_deep(&format!("// a\n/* b */ \"c\" {many}")));
    }
}
