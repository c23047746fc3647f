//! Quantities that a manifest may raise, whatever their unit: `[limits]`, `[instances]`, `[budgets]`.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;

use super::{
    leaf::Leaf,
    manifest::Budgets,
    section::{ConfigKey, Shape, join},
    settings::Config,
    units::Size,
    value::Value,
};

/// What holds where a manifest says nothing, by key path, as it would be written.
pub(crate) fn quantities(config: &Config) -> BTreeMap<String, Json> {
    let mut found = BTreeMap::new();
    for (table, keys) in [
        ("limits", config.plugins.limits.keys()),
        ("instances", config.plugins.instances.keys()),
        ("budgets", Budgets::default().keys()),
    ] {
        collect(table, &keys, &mut found);
    }
    found
}

fn collect(path: &str, keys: &[ConfigKey], found: &mut BTreeMap<String, Json>) {
    for key in keys {
        let path = join(path, &key.name);
        match &key.shape {
            Shape::Leaf { written, .. } => {
                // What a quantity is written as in TOML is JSON, too.
                let value = written.as_deref().map(serde_json::from_str);
                if let Some(Ok(value)) = value {
                    found.insert(path, value);
                }
            }
            Shape::Section(keys) => collect(&path, keys, found),
            Shape::Named { .. } | Shape::Free => {}
        }
    }
}

/// A number, octets of a size, or microseconds of a duration. `None` for anything else.
pub(crate) fn quantity(written: &Json) -> Option<u128> {
    match written {
        Json::Number(number) => number.as_u64().map(u128::from),
        Json::String(text) => {
            let text = Value::Text(text.clone());
            let time = Duration::read(&text).map(|time| time.as_micros());
            let size = || Size::read(&text).map(|size| size.octets() as u128);
            time.or_else(|_| size()).ok()
        }
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_compared_in_one_unit() {
        for (written, expected) in [
            (json!("2s"), Some(2_000_000)),
            (json!("64MiB"), Some(64 << 20)),
            (json!(7), Some(7)),
            (json!("pooled"), None),
            (json!(true), None),
        ] {
            assert_eq!(quantity(&written), expected, "{written}");
        }
        let quantities = quantities(&Config::default());
        assert_eq!(quantities["limits.memory"], json!("64MiB"));
        assert_eq!(quantities["limits.host-calls"], json!(10_000));
        assert_eq!(quantities["instances.max"], json!(32));
        assert_eq!(quantities["budgets.interceptor"], json!("5ms"));
    }
}
