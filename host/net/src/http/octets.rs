//! Sets of octets, asked about one after the other on every request.

/// Which octets are of the set.
pub(super) struct Octets([bool; 256]);

impl Octets {
    /// Those of `octets`.
    pub(super) const fn of(octets: &[u8]) -> Self {
        Self([false; 256]).and(octets)
    }

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
        Self(octets).and(others)
    }

    #[expect(clippy::indexing_slicing, reason = "the compiler makes the sets")]
    const fn and(mut self, others: &[u8]) -> Self {
        let mut nth = 0;
        while nth < others.len() {
            self.0[others[nth] as usize] = true;
            nth += 1;
        }
        self
    }

    /// Whether each of `octets` is of the set.
    pub(super) fn have_all(&self, octets: &[u8]) -> bool {
        octets.iter().all(|octet| self.has(*octet))
    }

    /// Those of the set that `octets` begin with, and the rest.
    pub(super) fn split<'a>(&self, octets: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let end = octets.iter().position(|octet| !self.has(*octet));
        octets
            .split_at_checked(end.unwrap_or(octets.len()))
            .unwrap_or_default()
    }

    fn has(&self, octet: u8) -> bool {
        self.0.get(usize::from(octet)).copied() == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_it_is_made_of() {
        const SET: Octets = Octets::alphanumeric_and(b"-:");
        assert!(SET.have_all(b"") && SET.have_all(b"azAZ09-:"));
        assert_eq!(SET.split(b"a:b c"), (&b"a:b"[..], &b" c"[..]));
        assert_eq!(SET.split(b"a"), (&b"a"[..], &b""[..]));
        for octet in [b' ', b'/', b'@', b'[', b'`', b'{', b'.', 0, 0x80, 0xff] {
            assert!(!SET.have_all(&[b'a', octet]), "{octet}");
        }
    }
}
