//! JSON (RFC 8259), checked where it lies: is this a document, and if not, where does it go wrong?
//! Nothing is built; core reads two members of an error document and must say what the published
//! easy layer says, whose messages are those of `serde_json`.

#[cfg(test)]
mod tests;

use std::str;

pub use crate::error::push_json_string as push_string;

/// Arrays and objects within each other. The bound of `serde_json`.
pub const DEPTH_MAX: usize = 127;

/// Why octets are not a JSON document, and where. Both numbers count octets from 1; the column is 0
/// at the end of an empty line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at line {line} column {column}")]
pub struct JsonError {
    pub problem: Problem,
    pub line: usize,
    pub column: usize,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("EOF while parsing a value")]
    EndInValue,
    #[error("EOF while parsing a string")]
    EndInString,
    #[error("EOF while parsing a list")]
    EndInList,
    #[error("EOF while parsing an object")]
    EndInObject,
    #[error("expected value")]
    NoValue,
    #[error("expected ident")]
    NoIdent,
    #[error("expected `:`")]
    NoColon,
    #[error("expected `,` or `]`")]
    NoListComma,
    #[error("expected `,` or `}}`")]
    NoObjectComma,
    #[error("key must be a string")]
    KeyNotString,
    #[error("trailing comma")]
    TrailingComma,
    #[error("trailing characters")]
    TrailingCharacters,
    #[error("invalid number")]
    Number,
    #[error("invalid escape")]
    Escape,
    #[error("lone leading surrogate in hex escape")]
    LoneSurrogate,
    #[error("unexpected end of hex escape")]
    HexEscapeEnd,
    #[error("control character (\\u0000-\\u001F) found while parsing a string")]
    ControlCharacter,
    #[error("invalid unicode code point")]
    NotUtf8,
    #[error("recursion limit exceeded")]
    TooDeep,
}

/// Checks that `octets` are one JSON document.
///
/// # Errors
/// The first problem and its place.
pub fn check(octets: &[u8]) -> Result<(), JsonError> {
    let mut cursor = Cursor { octets, at: 0 };
    cursor
        .document(&mut |_, _| {})
        .map_err(|problem| cursor.error(problem))
}

/// The value of member `key` of the object `octets`, as it is written; the first of duplicates.
/// `None` where there is none, or `octets` are no object.
#[must_use]
pub fn member<'a>(octets: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut found = None;
    let mut cursor = Cursor { octets, at: 0 };
    let visited = cursor.document(&mut |name, value| {
        if found.is_none() && string(name).is_some_and(|name| name == key) {
            found = Some(value);
        }
    });
    visited.ok().and(found)
}

/// Tells `visit` of each member of the object `octets` in order: its key with quotes and its value, as
/// they are written.
///
/// # Errors
/// As `check`. What is no object has no members.
pub fn visit_members<'a>(
    octets: &'a [u8],
    visit: &mut dyn FnMut(&'a [u8], &'a [u8]),
) -> Result<(), JsonError> {
    let mut cursor = Cursor { octets, at: 0 };
    cursor
        .document(visit)
        .map_err(|problem| cursor.error(problem))
}

/// Tells `visit` of each element of the list `octets` in order, as it is written. Whether it is a list:
/// what is none has no elements.
///
/// # Errors
/// As `check`.
pub fn visit_elements<'a>(
    octets: &'a [u8],
    visit: &mut dyn FnMut(&'a [u8]),
) -> Result<bool, JsonError> {
    let mut cursor = Cursor { octets, at: 0 };
    cursor.blank();
    if cursor.peek() != Some(b'[') {
        return check(octets).map(|()| false);
    }
    let visited = cursor.list(1, visit).and_then(|()| cursor.end());
    visited
        .map(|()| true)
        .map_err(|problem| cursor.error(problem))
}

/// The text of a JSON string, quotes included in `octets`. `None` where it is none.
#[must_use]
pub fn string(octets: &[u8]) -> Option<String> {
    let mut cursor = Cursor { octets, at: 0 };
    cursor.string().ok()?;
    let inner = octets.get(1..octets.len().checked_sub(1)?)?;
    if cursor.at == octets.len() {
        unescape(str::from_utf8(inner).ok()?)
    } else {
        None
    }
}

struct Cursor<'a> {
    octets: &'a [u8],
    /// The octet that is looked at; a problem is with this one.
    at: usize,
}

/// Told of each member of the outermost object: its key with quotes, its value.
type Visit<'v, 'a> = &'v mut dyn FnMut(&'a [u8], &'a [u8]);

impl<'a> Cursor<'a> {
    fn document(&mut self, visit: Visit<'_, 'a>) -> Result<(), Problem> {
        self.blank();
        self.value(0, visit)?;
        self.end()
    }

    fn end(&mut self) -> Result<(), Problem> {
        self.blank();
        if self.peek().is_some() {
            Err(Problem::TrailingCharacters)
        } else {
            Ok(())
        }
    }

    fn value(&mut self, depth: usize, visit: Visit<'_, 'a>) -> Result<(), Problem> {
        match self.peek().ok_or(Problem::EndInValue)? {
            b'"' => self.string(),
            b'{' | b'[' if depth == DEPTH_MAX => Err(Problem::TooDeep),
            b'{' => self.object(depth + 1, visit),
            b'[' => self.list(depth + 1, &mut |_| {}),
            b't' => self.ident(b"true"),
            b'f' => self.ident(b"false"),
            b'n' => self.ident(b"null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(Problem::NoValue),
        }
    }

    fn object(&mut self, depth: usize, visit: Visit<'_, 'a>) -> Result<(), Problem> {
        self.at += 1;
        self.blank();
        let mut next = self.peek().ok_or(Problem::EndInObject)?;
        while next != b'}' {
            if next != b'"' {
                return Err(Problem::KeyNotString);
            }
            let key_at = self.at;
            self.string()?;
            let key = self.since(key_at);
            self.blank();
            match self.peek().ok_or(Problem::EndInObject)? {
                b':' => self.at += 1,
                _ => return Err(Problem::NoColon),
            }
            self.blank();
            let value_at = self.at;
            self.value(depth, &mut |_, _| {})?;
            visit(key, self.since(value_at));
            self.blank();
            match self.peek().ok_or(Problem::EndInObject)? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(Problem::NoObjectComma),
            }
            self.blank();
            next = self.peek().ok_or(Problem::EndInValue)?;
            if next == b'}' {
                return Err(Problem::TrailingComma);
            }
        }
        self.at += 1;
        Ok(())
    }

    fn list(&mut self, depth: usize, visit: &mut dyn FnMut(&'a [u8])) -> Result<(), Problem> {
        self.at += 1;
        self.blank();
        let mut next = self.peek().ok_or(Problem::EndInList)?;
        while next != b']' {
            let value_at = self.at;
            self.value(depth, &mut |_, _| {})?;
            visit(self.since(value_at));
            self.blank();
            match self.peek().ok_or(Problem::EndInList)? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(Problem::NoListComma),
            }
            self.blank();
            next = self.peek().ok_or(Problem::EndInValue)?;
            if next == b']' {
                return Err(Problem::TrailingComma);
            }
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Problem> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(Problem::NoValue);
        }
        self.at += 1;
        loop {
            match self.peek().ok_or(Problem::EndInString)? {
                b'"' => break,
                b'\\' => self.escape()?,
                0..0x20 => return Err(Problem::ControlCharacter),
                _ => self.at += 1,
            }
        }
        if let Err(error) = str::from_utf8(self.since(start)) {
            self.at = start + error.valid_up_to();
            return Err(Problem::NotUtf8);
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Problem> {
        self.at += 1;
        match self.peek().ok_or(Problem::EndInString)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => match self.hex_escape()? {
                0xD800..0xDC00 => self.low_surrogate()?,
                0xDC00..0xE000 => return Err(self.step_back(Problem::LoneSurrogate)),
                _ => {}
            },
            _ => return Err(Problem::Escape),
        }
        Ok(())
    }

    /// The second escape of a pair.
    fn low_surrogate(&mut self) -> Result<(), Problem> {
        for expected in b"\\u" {
            if self.peek().ok_or(Problem::EndInString)? != *expected {
                return Err(Problem::HexEscapeEnd);
            }
            self.at += 1;
        }
        self.at -= 1;
        match self.hex_escape()? {
            0xDC00..0xE000 => Ok(()),
            _ => Err(self.step_back(Problem::LoneSurrogate)),
        }
    }

    /// `uXXXX`, the `u` being the octet that is looked at. The four digits are read together.
    fn hex_escape(&mut self) -> Result<u32, Problem> {
        let digits = self.octets.get(self.at + 1..self.at + 5);
        let Some(digits) = digits else {
            self.at = self.octets.len();
            return Err(Problem::EndInString);
        };
        self.at += 5;
        let digit = |octet: &u8| char::from(*octet).to_digit(16);
        let unit = digits
            .iter()
            .try_fold(0, |unit, octet| Some(unit * 16 + digit(octet)?));
        unit.ok_or_else(|| self.step_back(Problem::Escape))
    }

    /// The problem is with the last octet that was read.
    fn step_back(&mut self, problem: Problem) -> Problem {
        self.at -= 1;
        problem
    }

    fn number(&mut self) -> Result<(), Problem> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => {
                self.at += 1;
                if matches!(self.peek(), Some(b'0'..=b'9')) {
                    return Err(Problem::Number);
                }
            }
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Problem> {
        if !self.peek().ok_or(Problem::EndInValue)?.is_ascii_digit() {
            return Err(Problem::Number);
        }
        while self.peek().is_some_and(|octet| octet.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn ident(&mut self, ident: &[u8]) -> Result<(), Problem> {
        for expected in ident {
            if self.peek().ok_or(Problem::EndInValue)? != *expected {
                return Err(Problem::NoIdent);
            }
            self.at += 1;
        }
        Ok(())
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.octets.get(self.at).copied()
    }

    fn since(&self, start: usize) -> &'a [u8] {
        self.octets.get(start..self.at).unwrap_or_default()
    }

    /// The place is that of `serde_json`: the octet that is wrong counts as read.
    fn error(&self, problem: Problem) -> JsonError {
        let read = self.octets.get(..=self.at).unwrap_or(self.octets);
        let line = 1 + read.iter().filter(|octet| **octet == b'\n').count();
        let column = read
            .iter()
            .rev()
            .take_while(|octet| **octet != b'\n')
            .count();
        JsonError {
            problem,
            line,
            column,
        }
    }
}

/// Resolves the escapes of a string that was checked. `None` where an escape is none.
fn unescape(inner: &str) -> Option<String> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = escape.chars();
        let plain = match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (char, tail) = hex_char(chars.as_str())?;
                chars = tail.chars();
                char
            }
            other => other,
        };
        text.push(plain);
        rest = chars.as_str();
    }
    text.push_str(rest);
    Some(text)
}

/// The character of `XXXX` or `XXXX\uXXXX`, and what follows.
fn hex_char(digits: &str) -> Option<(char, &str)> {
    let unit = |digits: &str| u32::from_str_radix(digits.get(..4)?, 16).ok();
    let (first, tail) = (unit(digits)?, digits.get(4..)?);
    if !(0xD800..0xDC00).contains(&first) {
        return Some((char::from_u32(first)?, tail));
    }
    let second = tail.strip_prefix("\\u")?;
    let low = unit(second)?.checked_sub(0xDC00)?;
    let code = 0x10000 + ((first - 0xD800) << 10) + low;
    Some((char::from_u32(code)?, second.get(4..)?))
}
