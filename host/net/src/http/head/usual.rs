//! Heads as clients usually write them, read in one pass. What is not of this form is read by the library
//! as ever.
//!
//! **Invariant:** a head that is read here is one that the library reads, with the same end and fields.

use super::{
    super::octets::Octets,
    framing::Framing,
    limits::{FIELDS_MAX, HEAD_BYTES_MAX, OF_TARGETS, TARGET_BYTES_MAX},
};

/// A whole head of HTTP/1.1 whose target is a path.
#[derive(Debug)]
pub(super) struct UsualHead<'a> {
    pub(super) n_octets: usize,
    pub(super) n_fields: usize,
    pub(super) framing: Framing<'a>,
}

/// Reads the head that `octets` begin with. `None` for a part of one, and for any other form.
pub(super) fn read(octets: &[u8]) -> Option<UsualHead<'_>> {
    let (method, rest) = OF_METHODS.split(octets);
    let (target, rest) = OF_TARGETS.split(rest.strip_prefix(b" ")?);
    let is_taken =
        !method.is_empty() && target.starts_with(b"/") && target.len() <= TARGET_BYTES_MAX;
    let mut rest = rest.strip_prefix(b" HTTP/1.1\r\n").filter(|_| is_taken)?;
    let (mut framing, mut n_fields) = (Framing::default(), 0);
    loop {
        if let Some(behind) = rest.strip_prefix(b"\r\n") {
            let head = UsualHead {
                n_octets: octets.len() - behind.len(),
                n_fields,
                framing,
            };
            let is_short = head.n_octets <= HEAD_BYTES_MAX && n_fields <= FIELDS_MAX;
            return is_short.then_some(head);
        }
        let (name, behind) = OF_NAMES.split(rest);
        let (value, behind) = split_value(behind.strip_prefix(b":")?);
        rest = behind.strip_prefix(b"\r\n")?;
        if name.is_empty() {
            return None;
        }
        framing.note(name, value);
        n_fields += 1;
    }
}

/// What `octets` begin with that a value may have, and the rest. Values are long: most of one is looked at in
/// pieces of a word.
fn split_value(octets: &[u8]) -> (&[u8], &[u8]) {
    let (words, _) = octets.as_chunks();
    let n_words = words.iter().take_while(|word| are_visible(**word)).count();
    let (begun, rest) = octets
        .split_at_checked(n_words * WORD_BYTES)
        .unwrap_or_default();
    let (end, _) = OF_VALUES.split(rest);
    octets
        .split_at_checked(begun.len() + end.len())
        .unwrap_or_default()
}

/// Whether all octets of a word are from 0x20 to 0x7e. The lowest that is not is always found: a borrow of
/// the subtraction and a carry of the addition come from one that is not.
fn are_visible(word: [u8; WORD_BYTES]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(word);
    let below = word.wrapping_sub(0x20 * EACH);
    let above = word.wrapping_add(EACH);
    (word | below | above) & (0x80 * EACH) == 0
}

const WORD_BYTES: usize = size_of::<u64>();

const OF_METHODS: Octets = Octets::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ");
const OF_NAMES: Octets = Octets::alphanumeric_and(b"-_");
const OF_VALUES: Octets = Octets::alphanumeric_and(b" \t!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_visible_where_each_octet_is() {
        for octet in 0..=u8::MAX {
            for place in 0..WORD_BYTES {
                for others in [b' ', b'~'] {
                    let mut word = [others; WORD_BYTES];
                    word[place] = octet;
                    let expected = (0x20..=0x7e).contains(&octet);
                    assert_eq!(are_visible(word), expected, "{word:?}");
                }
            }
        }
    }
}
