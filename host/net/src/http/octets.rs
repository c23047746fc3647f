//! Sets of octets, asked about one after the other on every request.

/// Which octets are of the set.
pub(super) struct Octets([bool; 256]);

impl Octets {
    /// Letters and digits of ASCII, and `others`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::indexing_slicing,
        reason = "octets are less than 256, and the compiler makes the sets"
    )]
    pub(super) const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut octets = [false; 256];
        let mut octet = 0;
        while octet < octets.len() {
            octets[octet] = (octet as u8).is_ascii_alphanumeric();
            octet += 1;
        }
        let mut nth = 0;
        while nth < others.len() {
            octets[others[nth] as usize] = true;
            nth += 1;
        }
        Self(octets)
    }

    /// Whether each of `octets` is of the set.
    pub(super) fn have_all(&self, octets: &[u8]) -> bool {
        let is_one = |octet: &u8| self.0.get(usize::from(*octet)).copied();
        octets.iter().all(|octet| is_one(octet) == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_it_is_made_of() {
        const SET: Octets = Octets::alphanumeric_and(b"-:");
        assert!(SET.have_all(b"") && SET.have_all(b"azAZ09-:"));
        for octet in [b' ', b'/', b'@', b'[', b'`', b'{', b'.', 0, 0x80, 0xff] {
            assert!(!SET.have_all(&[b'a', octet]), "{octet}");
        }
    }
}
