//! The configuration written out: a sample file with every key, the effective values with their
//! sources, the JSON schema. All three come from the declarations in `settings.rs`.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::{
    Loaded, Provenance,
    cross::is_foreign_key,
    environment::variable,
    fault::position,
    listener::{Listener, Protocol},
    manifest::Manifest,
    section::{ConfigKey, Shape, join},
    settings::Config,
};

/// `postern.toml` with every key, its meaning, bounds, environment twin and default.
#[must_use]
pub(crate) fn sample() -> String {
    let mut text = String::from(SAMPLE_HEAD);
    walk(&Config::default().keys(), "", &mut |visit| {
        sample_part(&mut text, &visit, "");
    });
    for protocol in Protocol::ALL {
        sample_of_others(&mut text, protocol.name());
    }
    text
}

/// Keys that listeners of `protocol` have, and those that are always there have not.
fn sample_of_others(text: &mut String, protocol: &str) {
    let keys = Listener::default().keys();
    let is_shown = |key: &ConfigKey| {
        let mut built_in = ["vstp", "http"].into_iter();
        built_in.any(|one| own_part(one, "", key).is_some())
    };
    let own = keys.iter().filter(|key| !is_shown(key));
    let own = own.filter_map(|key| own_part(protocol, "", key));
    let keys: Vec<_> = own.collect();
    if !keys.is_empty() {
        let visit = Visit::Template {
            path: &format!("listeners.{protocol}"),
            doc: &format!("A listener with protocol = \"{protocol}\" has these keys as well."),
            keys: &keys,
        };
        sample_part(text, &visit, "");
    }
}

/// One table or key; `mute` stands before what would otherwise be in force.
fn sample_part(text: &mut String, visit: &Visit<'_>, mute: &str) {
    text.push('\n');
    match visit {
        Visit::Table { path, doc } => {
            comment(text, doc);
            let _ = writeln!(text, "{mute}[{path}]");
        }
        Visit::Template { path, doc, keys } => {
            comment(text, doc);
            let _ = writeln!(text, "# [{path}]");
            walk(keys, path, &mut |visit| sample_part(text, &visit, "# "));
        }
        Visit::Free { path, key } => {
            comment(text, &key.doc);
            let _ = writeln!(text, "# [{path}]");
        }
        Visit::Leaf {
            path,
            key,
            written,
            bounds,
            expected,
        } => {
            comment(text, &key.doc);
            let bounds = bounds
                .map(|(min, max)| format!("; {min} to {max}"))
                .unwrap_or_default();
            let _ = writeln!(text, "# {}{bounds}", variable(path));
            let _ = match written {
                Some(written) => writeln!(text, "{mute}{} = {written}", key.name),
                None => writeln!(text, "# {} = {expected}; left out by default", key.name),
            };
        }
    }
}

impl Loaded {
    /// The effective configuration as TOML, each line with its source. Secrets are hidden.
    #[must_use]
    pub(crate) fn show(&self) -> String {
        let mut text = String::new();
        walk(&self.config.keys(), "", &mut |visit| match visit {
            Visit::Table { path, .. } => {
                let _ = writeln!(text, "\n[{path}]");
            }
            Visit::Leaf {
                path,
                key,
                written: Some(written),
                ..
            } => {
                let line = format!("{} = {written}", key.name);
                let _ = writeln!(text, "{line:<46} # {}", self.source_of(path));
            }
            Visit::Leaf { written: None, .. } | Visit::Template { .. } | Visit::Free { .. } => {}
        });
        text.trim_start().to_owned()
    }

    /// The effective configuration as JSON: value and source by key path. Secrets are hidden.
    #[must_use]
    pub(crate) fn show_json(&self) -> Json {
        let mut keys = Map::new();
        walk(&self.config.keys(), "", &mut |visit| {
            if let Visit::Leaf { path, written, .. } = visit {
                let value = written.map_or(Json::Null, json_of_toml);
                let entry = json!({ "value": value, "source": self.source_of(path) });
                keys.insert(path.to_owned(), entry);
            }
        });
        Json::Object(keys)
    }

    /// `default`, `postern.toml:12` or the variable.
    fn source_of(&self, path: &str) -> String {
        match self.places.get(path) {
            None => "default".to_owned(),
            Some(Provenance::Environment(variable)) => variable.clone(),
            Some(Provenance::File(span)) => {
                let file = self.file.as_deref().map(|file| file.display().to_string());
                let line = position(&self.text, span.start).line;
                format!("{}:{line}", file.unwrap_or_default())
            }
        }
    }
}

/// The JSON schema of `postern.toml`, for editors.
#[must_use]
pub fn schema() -> Json {
    let mut schema = object_schema(&Config::default().keys(), "The configuration of Postern.");
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(
            "$schema".into(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        schema.insert("title".into(), "postern.toml".into());
    }
    schema
}

/// The JSON schema of a plugin's manifest.
#[must_use]
pub fn manifest_schema() -> Json {
    let manifest = Manifest::absent(&Config::default());
    object_schema(&manifest.keys(), "The manifest of a plugin.")
}

fn object_schema(keys: &[ConfigKey], doc: &str) -> Json {
    let property = |key: &ConfigKey| (key.name.clone(), key_schema(key));
    json!({
        "type": "object",
        "description": one_line(doc),
        "additionalProperties": false,
        "properties": keys.iter().map(property).collect::<Map<_, _>>(),
    })
}

fn key_schema(key: &ConfigKey) -> Json {
    match &key.shape {
        Shape::Section(keys) => object_schema(keys, &key.doc),
        Shape::Free => json!({ "type": "object", "description": one_line(&key.doc) }),
        Shape::Named { tables, template } => json!({
            "type": "object",
            "description": one_line(&key.doc),
            "propertyNames": { "pattern": "^[a-z0-9-]{1,64}$" },
            "properties": tables
                .iter()
                .map(|(name, keys)| (name.clone(), object_schema(keys, &key.doc)))
                .collect::<Map<_, _>>(),
            "additionalProperties": object_schema(template, &key.doc),
        }),
        Shape::Leaf {
            written,
            schema,
            bounds,
            ..
        } => {
            let mut schema = schema.clone();
            let Some(object) = schema.as_object_mut() else {
                return schema;
            };
            let mut description = one_line(&key.doc);
            if let Some((min, max)) = bounds {
                let _ = write!(description, " {min} to {max}.");
                let numbers = (min.parse::<u64>(), max.parse::<u64>());
                if let (Ok(min), Ok(max)) = numbers {
                    object.insert("minimum".into(), min.into());
                    object.insert("maximum".into(), max.into());
                }
            }
            object.insert("description".into(), description.into());
            if let Some(written) = written {
                object.insert("default".into(), json_of_toml(written));
            }
            schema
        }
    }
}

/// What `walk` comes by.
enum Visit<'a> {
    Table {
        path: &'a str,
        doc: &'a str,
    },
    /// What a table of its kind would hold, where there is none.
    Template {
        path: &'a str,
        doc: &'a str,
        keys: &'a [ConfigKey],
    },
    /// A table whose keys the user chooses.
    Free {
        path: &'a str,
        key: &'a ConfigKey,
    },
    Leaf {
        path: &'a str,
        key: &'a ConfigKey,
        written: Option<&'a str>,
        bounds: Option<(&'static str, &'static str)>,
        expected: &'a str,
    },
}

/// Every key that may be written, in an order that TOML allows: values before tables.
fn walk(keys: &[ConfigKey], above: &str, visit: &mut impl FnMut(Visit<'_>)) {
    for key in keys {
        if let Shape::Leaf {
            written,
            bounds,
            expected,
            ..
        } = &key.shape
        {
            visit(Visit::Leaf {
                path: &join(above, &key.name),
                key,
                written: written.as_deref(),
                bounds: *bounds,
                expected,
            });
        }
    }
    for key in keys {
        let path = join(above, &key.name);
        match &key.shape {
            Shape::Leaf { .. } => {}
            Shape::Free => visit(Visit::Free { path: &path, key }),
            Shape::Named { tables, template } if tables.is_empty() => visit(Visit::Template {
                path: &join(&path, "NAME"),
                doc: &key.doc,
                keys: template,
            }),
            Shape::Section(keys) => {
                visit(Visit::Table {
                    path: &path,
                    doc: &key.doc,
                });
                walk(keys, &path, visit);
            }
            Shape::Named { tables, .. } => {
                for (name, keys) in tables {
                    let path = join(&path, name);
                    visit(Visit::Table {
                        path: &path,
                        doc: &key.doc,
                    });
                    walk_named(keys, &path, visit);
                }
            }
        }
    }
}

/// Keys of a listener's other protocol are left out: written down they would be refused.
fn walk_named(keys: &[ConfigKey], path: &str, visit: &mut impl FnMut(Visit<'_>)) {
    let protocol = keys.iter().find_map(|key| match &key.shape {
        Shape::Leaf { written, .. } if key.name == "protocol" => written.as_deref(),
        Shape::Leaf { .. } | Shape::Section(_) | Shape::Named { .. } | Shape::Free => None,
    });
    let Some(protocol) = protocol.map(|protocol| protocol.trim_matches('"')) else {
        return walk(keys, path, visit);
    };
    let own = keys.iter().filter_map(|key| own_part(protocol, "", key));
    walk(&own.collect::<Vec<_>>(), path, visit);
}

/// What a listener that speaks `protocol` has of a key, if it has any of it.
fn own_part(protocol: &str, above: &str, key: &ConfigKey) -> Option<ConfigKey> {
    let path = join(above, &key.name);
    if is_foreign_key(protocol, &path) {
        return None;
    }
    let mut own = key.clone();
    if let Shape::Section(keys) = &mut own.shape {
        let parts = keys.iter().filter_map(|key| own_part(protocol, &path, key));
        *keys = parts.collect();
        if keys.is_empty() {
            return None;
        }
    }
    Some(own)
}

fn comment(text: &mut String, doc: &str) {
    for line in doc.lines() {
        let _ = writeln!(text, "# {}", line.trim());
    }
}

fn one_line(doc: &str) -> String {
    doc.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// What a key's value is in JSON, by the TOML that it is written in.
fn json_of_toml(written: &str) -> Json {
    let table = format!("value = {written}").parse::<toml::Table>();
    let value = table.ok().and_then(|mut table| table.remove("value"));
    value
        .and_then(|value| serde_json::to_value(value).ok())
        .unwrap_or(Json::Null)
}

const SAMPLE_HEAD: &str = "\
# Configuration of Postern. Every key is here with its default; a file needs only what differs.
# Each key has an environment twin, named above it, which wins over the file.
# Durations: 250ms, 30s, 5m, 1h. Sizes: 512KiB, 64MiB, or a number of octets.
# Listeners of other names need `protocol` and `address`.
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{ConfigSource, environment::leaf_paths, load, parse};

    #[test]
    fn the_sample_is_the_default() {
        let parsed = parse("sample", &sample(), &BTreeMap::new());
        let (config, _) = parsed.unwrap_or_else(|faults| panic!("{}", faults.draw(false)));
        assert_eq!(config, Config::default());
    }

    #[test]
    fn the_sample_mentions_every_key_with_its_variable() {
        let sample = sample();
        for path in leaf_paths(&Config::default().keys(), "") {
            let mut parts = path.splitn(3, '.');
            if let (Some("listeners"), Some(name), Some(key)) =
                (parts.next(), parts.next(), parts.next())
                && is_foreign_key(name, key)
            {
                continue;
            }
            assert!(sample.contains(&variable(&path)), "{path}");
            let key = path.rsplit('.').next().unwrap_or(&path);
            let written = format!("\n{key} = ");
            let left_out = format!("\n# {key} = ");
            assert!(
                sample.contains(&written) || sample.contains(&left_out),
                "{path}"
            );
        }
    }

    #[test]
    fn the_sample_shows_what_tables_of_any_name_hold() {
        let sample = sample();
        for line in [
            "# [auth.jwt.NAME]",
            "# POSTERN_AUTH_JWT_NAME_ISSUER",
            "# leeway = \"30s\"",
            "# [auth.api-keys.keys.NAME]",
            "# [authorization.rules.NAME]",
            "# [limits.NAME]",
            "# rate = 0",
            "# [headers.NAME.request]",
            "# [headers.NAME.request.set]",
            "[listeners.http.cors]",
        ] {
            assert!(sample.contains(&format!("\n{line}")), "{line} in {sample}");
        }
    }

    #[test]
    fn shows_values_with_their_sources_and_hides_secrets() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("postern.toml");
        let text = "[calls]\ntimeout = \"5s\"\n[admin]\ntoken = \"hunter2\"\n";
        std::fs::write(&file, text).expect("written");
        let environment = [("POSTERN_CALLS_DEPTH_MAX".to_owned(), "3".to_owned())].into();
        let loaded = load(&ConfigSource {
            file: Some(file),
            environment,
        })
        .expect("valid");
        let shown = loaded.show();
        let line = |start: &str| {
            let line = shown.lines().find(|line| line.starts_with(start));
            line.unwrap_or_else(|| panic!("no {start} in {shown}"))
        };
        assert!(line("timeout = \"5s\"").ends_with("postern.toml:2"));
        assert!(line("depth-max = 3").ends_with("# POSTERN_CALLS_DEPTH_MAX"));
        assert!(line("timeout-max = \"5m\"").ends_with("# default"));
        assert!(line("token = ").contains("(hidden)") && !shown.contains("hunter2"));
        let json = loaded.show_json();
        assert_eq!(json["calls.timeout"]["value"], "5s");
        assert_eq!(json["calls.depth-max"]["value"], 3);
        assert!(!json.to_string().contains("hunter2"));
    }

    #[test]
    fn the_schema_knows_defaults_bounds_and_unknown_keys() {
        let schema = schema();
        let calls = &schema["properties"]["calls"];
        assert_eq!(calls["additionalProperties"], false);
        assert_eq!(calls["properties"]["timeout"]["default"], "30s");
        assert_eq!(calls["properties"]["depth-max"]["maximum"], 64);
        let http = &schema["properties"]["listeners"]["properties"]["http"]["properties"];
        assert_eq!(http["address"]["default"], "127.0.0.1:8080");
        let other = &schema["properties"]["listeners"]["additionalProperties"];
        assert_eq!(
            other["properties"]["protocol"]["enum"],
            json!(["vstp", "http", "grpc", "mqtt", "redis", "velithon"])
        );
    }
}
