//! Expressions by recursive descent, bounded in length and depth.
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = factor { ("*" | "/") factor }
//! factor  = ("+" | "-") factor | "(" sum ")" | number
//! ```

use postern_guest::{Failure, Result};

use crate::quotient;

/// In octets.
const LENGTH_MAX: usize = 4096;
/// Parentheses and signs inside of each other; each level takes a few hundred octets of stack.
const DEPTH_MAX: usize = 100;

pub(crate) fn evaluate(text: &str) -> Result<f64> {
    if text.len() > LENGTH_MAX {
        let text = format!(
            "expression of {} octets exceeds the limit of {LENGTH_MAX}",
            text.len()
        );
        return Err(Failure::invalid_argument(text));
    }
    let mut parser = Parser {
        text,
        place: 0,
        depth: 0,
    };
    let result = parser.sum()?;
    match parser.peek() {
        None => Ok(result),
        Some(other) => Err(parser.unexpected(other, "an operator")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// In octets, on the border of a character.
    place: usize,
    depth: usize,
}

impl Parser<'_> {
    fn sum(&mut self) -> Result<f64> {
        let mut sum = self.product()?;
        loop {
            if self.take('+') {
                sum += self.product()?;
            } else if self.take('-') {
                sum -= self.product()?;
            } else {
                return Ok(sum);
            }
        }
    }

    fn product(&mut self) -> Result<f64> {
        let mut product = self.factor()?;
        loop {
            if self.take('*') {
                product *= self.factor()?;
            } else if self.take('/') {
                product = quotient(product, self.factor()?)?;
            } else {
                return Ok(product);
            }
        }
    }

    fn factor(&mut self) -> Result<f64> {
        if self.depth == DEPTH_MAX {
            let text = format!(
                "expression is nested deeper than {DEPTH_MAX} at {}",
                self.column()
            );
            return Err(Failure::invalid_argument(text));
        }
        self.depth += 1;
        let factor = match self.peek() {
            Some('(') => self.parenthesis(),
            Some('+') => {
                self.take('+');
                self.factor()
            }
            Some('-') => {
                self.take('-');
                self.factor().map(|factor| -factor)
            }
            _ => self.number(),
        };
        self.depth -= 1;
        factor
    }

    fn parenthesis(&mut self) -> Result<f64> {
        self.take('(');
        let sum = self.sum()?;
        match self.peek() {
            Some(')') => {
                self.take(')');
                Ok(sum)
            }
            Some(other) => Err(self.unexpected(other, "`)`")),
            None => Err(Failure::invalid_argument("expression ends before `)`")),
        }
    }

    /// Digits, a point, an exponent: what `f64` reads, without its words `inf` and `nan`.
    fn number(&mut self) -> Result<f64> {
        let Some(first) = self.peek() else {
            return Err(Failure::invalid_argument("expression ends before a number"));
        };
        let rest = self.text.get(self.place..).unwrap_or_default();
        let mut before = ' ';
        let length = rest
            .find(|letter: char| {
                let exponent = matches!(before, 'e' | 'E');
                let sign = exponent && matches!(letter, '+' | '-');
                before = letter;
                !(sign || letter.is_ascii_digit() || matches!(letter, '.' | 'e' | 'E'))
            })
            .unwrap_or(rest.len());
        let digits = rest.get(..length).unwrap_or_default();
        if digits.is_empty() {
            return Err(self.unexpected(first, "a number"));
        }
        let number = digits.parse().map_err(|_| {
            Failure::invalid_argument(format!("`{digits}` at {} is no number", self.column()))
        })?;
        self.place += length;
        Ok(number)
    }

    /// The next letter that is no blank; blanks are stepped over.
    fn peek(&mut self) -> Option<char> {
        let rest = self.text.get(self.place..)?;
        let trimmed = rest.trim_start();
        self.place += rest.len() - trimmed.len();
        trimmed.chars().next()
    }

    /// Steps over `wanted` if it is next.
    fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.place += wanted.len_utf8();
        }
        there
    }

    fn unexpected(&self, found: char, wanted: &str) -> Failure {
        let text = format!("expected {wanted} at {}, found `{found}`", self.column());
        Failure::invalid_argument(text)
    }

    /// For people: characters, from 1.
    fn column(&self) -> String {
        let before = self.text.get(..self.place).unwrap_or_default();
        format!("column {}", before.chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: f64) {
        assert_eq!(evaluate(text), Ok(expected), "{text}");
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        assert_eq!(
            evaluate(text),
            Err(Failure::invalid_argument(expected)),
            "{text}"
        );
    }

    #[test]
    fn operators_bind_as_in_school() {
        check("1", 1.0);
        check("1 + 2 * 3", 7.0);
        check("(1 + 2) * 3", 9.0);
        check("8 / 2 / 2", 2.0);
        check("8 - 2 - 2", 4.0);
        check("-2 * -(3 + 1)", 8.0);
        check("--1", 1.0);
        check("2e3 + 1.5E-1", 2000.15);
        check("1e+2-1", 99.0);
    }

    #[test]
    fn faults_have_their_column() {
        refused("", "expression ends before a number");
        refused("1 +", "expression ends before a number");
        refused("1 2", "expected an operator at column 3, found `2`");
        refused("(1", "expression ends before `)`");
        refused("(1 2)", "expected `)` at column 4, found `2`");
        refused("é", "expected a number at column 1, found `é`");
        refused("1 + x", "expected a number at column 5, found `x`");
        refused("1.2.3", "`1.2.3` at column 1 is no number");
        refused("inf", "expected a number at column 1, found `i`");
        refused("1)", "expected an operator at column 2, found `)`");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
        check(&nested(99), 1.0);
        refused(
            &nested(100),
            "expression is nested deeper than 100 at column 101",
        );
        refused(
            &"-".repeat(4096),
            "expression is nested deeper than 100 at column 101",
        );
    }

    #[test]
    fn length_is_bounded() {
        check(&format!("1{}", " ".repeat(4095)), 1.0);
        refused(
            &" ".repeat(4097),
            "expression of 4097 octets exceeds the limit of 4096",
        );
    }
}
