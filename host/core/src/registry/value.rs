//! Values of a responsibility's parameters, such as `vol-surface {ccy: USD}`. Bounded by
//! `DEPTH_MAX` and `NODES_MAX`; the octets count towards `entry::ENTRY_BYTES_MAX`.

use std::collections::BTreeMap;

use super::entry::{EntryError, check_name, check_text};
use crate::text::Text;

/// Maps and lists within each other, the outermost map counted. Real responsibilities are flat.
pub const DEPTH_MAX: usize = 8;
/// Values of one entry, those inside others counted.
pub const NODES_MAX: usize = 256;

/// Named values. The order of keys means nothing, so they are kept sorted.
pub type Params = BTreeMap<Text, ParamValue>;

/// What a parameter can be. A JSON `null` has no counterpart: a key without a value is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamValue {
    Bool(bool),
    Number(Number),
    Text(Text),
    List(Vec<Self>),
    Map(Params),
}

/// A finite number. `1` and `1.0` are one number, however a peer's language writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(Form);

/// A number is a `Float` only when no `i64` is equal to it, so that equal numbers have one form.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Integer(i64),
    Float(f64),
}

/// NaN and the infinities are no parameters; JSON cannot say them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a parameter must be a finite number")]
pub struct NotFinite;

/// 2^63 as a float, the first that no `i64` reaches.
const I64_END: f64 = 9_223_372_036_854_775_808.0;

impl ParamValue {
    /// Whether this value has what `asked` asks for: a map has every asked key with a value that
    /// does, everything else is equal.
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        match (self, asked) {
            (Self::Map(held), Self::Map(asked)) => covers(held, asked),
            _ => self == asked,
        }
    }
}

impl Number {
    #[must_use]
    pub const fn integer(number: i64) -> Self {
        Self(Form::Integer(number))
    }

    /// # Errors
    /// `NotFinite` for NaN and the infinities.
    pub fn float(number: f64) -> Result<Self, NotFinite> {
        if !number.is_finite() {
            return Err(NotFinite);
        }
        if number.fract() == 0.0 && (-I64_END..I64_END).contains(&number) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole and within the range of i64, so the cast is exact"
            )]
            return Ok(Self::integer(number as i64));
        }
        Ok(Self(Form::Float(number)))
    }

    /// The number when it is whole and fits.
    #[must_use]
    pub const fn as_i64(self) -> Option<i64> {
        match self.0 {
            Form::Integer(number) => Some(number),
            Form::Float(_) => None,
        }
    }

    /// The nearest float.
    #[must_use]
    pub const fn as_f64(self) -> f64 {
        match self.0 {
            Form::Integer(number) => number as f64,
            Form::Float(number) => number,
        }
    }
}

// Finite floats are equal to themselves.
impl Eq for Number {}

/// Whether `held` has every key of `asked` with a value that covers the asked one.
#[must_use]
pub fn covers(held: &Params, asked: &Params) -> bool {
    asked
        .iter()
        .all(|(key, value)| held.get(key).is_some_and(|held| held.covers(value)))
}

/// Checks every bound and returns the octets of all keys and texts.
pub(super) fn measure(params: &Params) -> Result<usize, EntryError> {
    let mut measure = Measure { nodes: 0, bytes: 0 };
    measure.map(params, 1)?;
    Ok(measure.bytes)
}

/// The same parameters in memory of their own. See `entry`, "What is held".
pub(super) fn detached(params: &Params) -> Params {
    let copy = |(key, value): (&Text, &ParamValue)| (Text::from(key.as_str()), value.detached());
    params.iter().map(copy).collect()
}

impl ParamValue {
    fn detached(&self) -> Self {
        match self {
            Self::Bool(_) | Self::Number(_) => self.clone(),
            Self::Text(text) => Self::Text(Text::from(text.as_str())),
            Self::List(list) => Self::List(list.iter().map(Self::detached).collect()),
            Self::Map(map) => Self::Map(detached(map)),
        }
    }
}

struct Measure {
    nodes: usize,
    bytes: usize,
}

impl Measure {
    fn map(&mut self, map: &Params, depth: usize) -> Result<(), EntryError> {
        Self::check_depth(depth)?;
        for (key, value) in map {
            check_name("parameter", key)?;
            self.bytes += key.len();
            self.value(value, depth)?;
        }
        Ok(())
    }

    fn value(&mut self, value: &ParamValue, depth: usize) -> Result<(), EntryError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(EntryError::TooMany {
                what: "values of parameters",
                limit: NODES_MAX,
            });
        }
        match value {
            // What a number takes, so that many small values are not free.
            ParamValue::Bool(_) | ParamValue::Number(_) => self.bytes += size_of::<u64>(),
            ParamValue::Text(text) => {
                check_text("value of a parameter", text)?;
                self.bytes += text.len();
            }
            ParamValue::List(list) => {
                Self::check_depth(depth + 1)?;
                for item in list {
                    self.value(item, depth + 1)?;
                }
            }
            ParamValue::Map(map) => self.map(map, depth + 1)?,
        }
        Ok(())
    }

    const fn check_depth(depth: usize) -> Result<(), EntryError> {
        if depth > DEPTH_MAX {
            return Err(EntryError::TooDeep { limit: DEPTH_MAX });
        }
        Ok(())
    }
}

impl From<bool> for ParamValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for ParamValue {
    fn from(value: i64) -> Self {
        Self::Number(Number::integer(value))
    }
}

impl From<Number> for ParamValue {
    fn from(value: Number) -> Self {
        Self::Number(value)
    }
}

impl From<Text> for ParamValue {
    fn from(value: Text) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for ParamValue {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<Params> for ParamValue {
    fn from(value: Params) -> Self {
        Self::Map(value)
    }
}

impl From<Vec<Self>> for ParamValue {
    fn from(value: Vec<Self>) -> Self {
        Self::List(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_float_is_the_integer_it_equals() {
        let float = |number| Number::float(number).expect("finite");
        assert_eq!(float(1.0), Number::integer(1));
        assert_eq!(float(-0.0), Number::integer(0));
        assert_eq!(float(-I64_END), Number::integer(i64::MIN));
        assert_eq!(float(I64_END).as_i64(), None);
        assert_eq!(float(1.5).as_i64(), None);
        assert_eq!(float(1.5).as_f64(), 1.5);
    }

    #[test]
    fn refuses_what_json_cannot_say() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Number::float(number), Err(NotFinite));
        }
    }

    #[test]
    fn a_map_covers_a_part_of_itself_at_any_depth() {
        let held = params(&[
            ("ccy", "USD".into()),
            ("desk", nest(&[("site", "ldn".into()), ("floor", 3.into())])),
            (
                "tags",
                vec![ParamValue::from("a"), ParamValue::from("b")].into(),
            ),
        ]);
        let check = |asked: &[(&str, ParamValue)], expected| {
            assert_eq!(covers(&held, &params(asked)), expected, "{asked:?}");
        };
        check(&[], true);
        check(&[("ccy", "USD".into())], true);
        check(&[("ccy", "EUR".into())], false);
        check(&[("term", "1y".into())], false);
        check(&[("desk", nest(&[("site", "ldn".into())]))], true);
        check(&[("desk", nest(&[]))], true);
        check(&[("desk", nest(&[("site", "nyc".into())]))], false);
        check(&[("desk", "ldn".into())], false);
        check(&[("ccy", nest(&[]))], false);
        // A list is one value: order and length count.
        check(
            &[(
                "tags",
                vec![ParamValue::from("a"), ParamValue::from("b")].into(),
            )],
            true,
        );
        check(&[("tags", vec![ParamValue::from("a")].into())], false);
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let deep = |depth| {
            let mut map = Params::new();
            for _ in 1..depth {
                map = params(&[("k", map.into())]);
            }
            measure(&map)
        };
        assert!(deep(DEPTH_MAX).is_ok());
        let too_deep = EntryError::TooDeep { limit: DEPTH_MAX };
        assert_eq!(deep(DEPTH_MAX + 1), Err(too_deep));
        let lists = (1..=DEPTH_MAX).fold(ParamValue::from(1), |inner, _| vec![inner].into());
        assert_eq!(
            measure(&params(&[("k", lists)])),
            Err(EntryError::TooDeep { limit: DEPTH_MAX })
        );

        let wide = |n: usize| measure(&params(&[("k", vec![ParamValue::from(true); n].into())]));
        assert_eq!(wide(NODES_MAX - 1), Ok(1 + 8 * (NODES_MAX - 1)));
        let (what, limit) = ("values of parameters", NODES_MAX);
        assert_eq!(wide(NODES_MAX), Err(EntryError::TooMany { what, limit }));
    }

    fn params(pairs: &[(&str, ParamValue)]) -> Params {
        let pairs = pairs.iter().cloned();
        pairs.map(|(key, value)| (key.into(), value)).collect()
    }

    fn nest(pairs: &[(&str, ParamValue)]) -> ParamValue {
        params(pairs).into()
    }
}
