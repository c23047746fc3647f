//! Which offer of permessage-deflate is agreed to (RFC 7692 section 7.1). Pure.
//!
//! Neither end keeps its window from one message to the next: a connection that is silent holds no
//! memory for it. A client must do so when it is told to, whatever it offered (section 7.1.1.2).

use http::HeaderValue;

/// What was agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deflation {
    /// Base-two logarithm of our window; the client's has at most 15.
    pub(crate) window_bits: u8,
    is_window_asked: bool,
}

impl Deflation {
    /// The first offer that can be met, in the order of the client's preference.
    pub(crate) fn agree<'a>(offered: impl Iterator<Item = &'a HeaderValue>) -> Option<Self> {
        offered
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .find_map(Self::read)
    }

    /// Reads one offer; `None` for another extension, and for one that has to be declined.
    fn read(offer: &str) -> Option<Self> {
        let mut parts = offer.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut agreed = Self {
            window_bits: WINDOW_BITS_MAX,
            is_window_asked: false,
        };
        let mut seen = Vec::new();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(unquoted(value.trim()))),
                None => (part, None),
            };
            if seen.contains(&name) {
                return None;
            }
            match (name, value) {
                ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
                // A hint; and a bound that the client keeps, whom 15 bits here do not hinder.
                ("client_max_window_bits", None) => {}
                ("client_max_window_bits", Some(bits)) => {
                    window_bits(bits)?;
                }
                ("server_max_window_bits", Some(bits)) => {
                    // zlib makes no window of 8 bits.
                    agreed.window_bits = window_bits(bits).filter(|bits| *bits >= 9)?;
                    agreed.is_window_asked = true;
                }
                _ => return None,
            }
            seen.push(name);
        }
        Some(agreed)
    }

    /// What the handshake's response says of it.
    pub(crate) fn response(self) -> String {
        let window = match self.is_window_asked {
            true => format!("; server_max_window_bits={}", self.window_bits),
            false => String::new(),
        };
        format!("{NAME}; server_no_context_takeover; client_no_context_takeover{window}")
    }
}

fn window_bits(value: &str) -> Option<u8> {
    let is_number = !value.starts_with(['0', '+']);
    let bits = value.parse().ok().filter(|_| is_number)?;
    (8..=WINDOW_BITS_MAX).contains(&bits).then_some(bits)
}

fn unquoted(value: &str) -> &str {
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    inner.unwrap_or(value)
}

const NAME: &str = "permessage-deflate";
pub(super) const WINDOW_BITS_MAX: u8 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(offer: &str, expected: Option<&str>) {
        let value = HeaderValue::from_str(offer).expect("a value");
        let agreed = Deflation::agree([&value].into_iter()).map(Deflation::response);
        let expected = expected.map(|window| {
            format!("{NAME}; server_no_context_takeover; client_no_context_takeover{window}")
        });
        assert_eq!(agreed, expected, "{offer}");
    }

    #[test]
    fn the_first_offer_that_can_be_met_is_agreed_to() {
        check("permessage-deflate", Some(""));
        check("permessage-deflate; client_max_window_bits", Some(""));
        check(
            "x-webkit-deflate-frame, Permessage-Deflate ; client_max_window_bits=\"10\"",
            Some(""),
        );
        let window = Some("; server_max_window_bits=9");
        check("permessage-deflate; server_max_window_bits=9", window);
        check(
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9",
            window,
        );
        check(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            Some(""),
        );
    }

    #[test]
    fn what_no_offer_may_say_declines_it() {
        for offer in [
            "",
            "gzip",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; unknown",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
        ] {
            check(offer, None);
        }
    }
}
