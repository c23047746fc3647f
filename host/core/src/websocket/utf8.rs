//! UTF-8 that arrives in pieces, which may part a character.

/// Checks a text piece by piece; a fault shows with the piece that it is in.
#[derive(Debug, Default)]
pub struct Utf8Check {
    /// The beginning of a character whose end has not come.
    open: [u8; 4],
    n_open: usize,
}

impl Utf8Check {
    /// Whether the text may still become UTF-8 after `octets`.
    #[must_use]
    pub fn push(&mut self, octets: &[u8]) -> bool {
        let mut rest = octets;
        while self.n_open > 0 {
            let Some((octet, after)) = rest.split_first() else {
                return true;
            };
            let Some(place) = self.open.get_mut(self.n_open) else {
                return false;
            };
            *place = *octet;
            self.n_open += 1;
            rest = after;
            let begun = self.open.get(..self.n_open).unwrap_or_default();
            match std::str::from_utf8(begun) {
                Ok(_) => self.n_open = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        let Err(error) = std::str::from_utf8(rest) else {
            return true;
        };
        let open = rest.get(error.valid_up_to()..).unwrap_or_default();
        match (error.error_len(), self.open.get_mut(..open.len())) {
            (None, Some(kept)) => {
                kept.copy_from_slice(open);
                self.n_open = open.len();
                true
            }
            _ => false,
        }
    }

    /// Whether the text ends with a whole character; the next one begins.
    #[must_use]
    pub fn finish(&mut self) -> bool {
        std::mem::take(&mut self.n_open) == 0
    }
}
