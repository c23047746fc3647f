//! Octets as people paste them: hexadecimal digits with spaces, line breaks, colons, `0x`, and
//! comments from `#` to the end of the line.

/// Why a text is not octets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HexError {
    #[error("{found:?} at character {at} is no hexadecimal digit")]
    Digit { at: usize, found: char },
    #[error("{digits} hexadecimal digits are not whole octets")]
    Odd { digits: usize },
}

/// Reads octets.
///
/// # Errors
/// The first character that is none of the above, or an odd number of digits.
pub(crate) fn from_hex(text: &str) -> Result<Vec<u8>, HexError> {
    let mut nibbles = Vec::with_capacity(text.len());
    let mut characters = text.chars().enumerate().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '#' => {
                while characters
                    .next_if(|(_, character)| *character != '\n')
                    .is_some()
                {}
            }
            '0' if characters
                .next_if(|(_, next)| matches!(next, 'x' | 'X'))
                .is_some() => {}
            ' ' | '\t' | '\r' | '\n' | ':' | ',' | '-' => {}
            _ => match character
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
            {
                Some(digit) => nibbles.push(digit),
                None => {
                    return Err(HexError::Digit {
                        at: at + 1,
                        found: character,
                    });
                }
            },
        }
    }
    if !nibbles.len().is_multiple_of(2) {
        return Err(HexError::Odd {
            digits: nibbles.len(),
        });
    }
    let octet = |pair: &[u8]| pair.iter().fold(0, |octet, nibble| octet << 4 | nibble);
    Ok(nibbles.chunks(2).map(octet).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_paste() {
        let octets = [0x56, 0x54, 0x01, 0xab];
        for text in [
            "565401ab",
            "56 54 01 AB",
            "0x56, 0x54,0x01 0xab",
            "56:54:01:ab # frame\n",
        ] {
            assert_eq!(from_hex(text).as_deref(), Ok(&octets[..]), "{text}");
        }
        assert_eq!(from_hex(" # nothing\n"), Ok(vec![]));
    }

    #[test]
    fn refuses_what_is_no_octet() {
        assert_eq!(
            from_hex("56 5g"),
            Err(HexError::Digit { at: 5, found: 'g' })
        );
        assert_eq!(from_hex("565"), Err(HexError::Odd { digits: 3 }));
    }
}
