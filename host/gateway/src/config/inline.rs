//! Values that are small tables or fractions: `{ a = 3, b = 1 }`, `0.2`.

use std::{cmp::Ordering, collections::BTreeMap};

use serde_json::json;

use super::{leaf::Leaf, value::Value};

/// Values by names of somebody else's choosing, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pairs<T>(pub BTreeMap<String, T>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Leaf> Leaf for Pairs<T> {
    fn expected() -> String {
        format!(
            "a table such as {{ NAME = VALUE }}, each value {}",
            T::expected()
        )
    }

    fn read(value: &Value) -> Result<Self, String> {
        let unreadable = || format!("{} is not a table", value.shown());
        let pairs = match value {
            Value::Table(entries) => entries
                .iter()
                .map(|entry| Ok((entry.key.clone(), T::read(&entry.node.value)?)))
                .collect::<Result<_, String>>()?,
            Value::Untyped(text) => {
                let items = text.split(',').map(str::trim);
                let pair = |item: &str| {
                    let (name, value) = item.split_once('=').ok_or_else(unreadable)?;
                    let value = T::read(&Value::Untyped(value.trim().to_owned()))?;
                    Ok((name.trim().to_owned(), value))
                };
                let items = items.filter(|item| !item.is_empty());
                items.map(pair).collect::<Result<_, String>>()?
            }
            Value::Text(_)
            | Value::Integer(_)
            | Value::Literal(_)
            | Value::Boolean(_)
            | Value::List(_) => return Err(unreadable()),
        };
        Ok(Self(pairs))
    }

    fn written(&self) -> Option<String> {
        let pair = |(name, value): (&String, &T)| {
            let name = toml::Value::from(name.as_str()).to_string();
            Some(format!("{name} = {}", value.written()?))
        };
        let pairs: Vec<_> = self.0.iter().filter_map(pair).collect();
        Some(match pairs.is_empty() {
            true => "{}".to_owned(),
            false => format!("{{ {} }}", pairs.join(", ")),
        })
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

impl Leaf for f64 {
    fn expected() -> String {
        "a number such as 0.2 or 2".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let number = match value {
            Value::Integer(number) => number.to_string().parse().ok(),
            Value::Literal(text) | Value::Untyped(text) => text.trim().parse().ok(),
            Value::Text(_) | Value::Boolean(_) | Value::List(_) | Value::Table(_) => None,
        };
        let number = number.filter(|number: &Self| number.is_finite());
        number.ok_or_else(|| format!("{} is not a number", value.shown()))
    }

    fn written(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "number" })
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        self.partial_cmp(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pairs_from_the_environment_and_writes_toml() {
        let read = |text: &str| Pairs::<u32>::read(&Value::Untyped(text.to_owned()));
        let pairs = read("a=3, b.c = 1").expect("pairs");
        assert_eq!(
            pairs.written().as_deref(),
            Some("{ \"a\" = 3, \"b.c\" = 1 }")
        );
        assert_eq!(read("").expect("none"), Pairs::default());
        assert!(read("a").is_err() && read("a=x").is_err());
    }

    #[test]
    fn reads_numbers_with_and_without_a_point() {
        assert_eq!(f64::read(&Value::Literal("0.25".into())), Ok(0.25));
        assert_eq!(f64::read(&Value::Integer(2)), Ok(2.0));
        assert_eq!(2.0_f64.written().as_deref(), Some("2.0"));
        for text in ["nan", "inf", "x"] {
            assert!(f64::read(&Value::Literal(text.into())).is_err(), "{text}");
        }
    }
}
