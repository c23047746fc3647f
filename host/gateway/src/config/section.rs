//! Tables of keys. `section!` declares one as a struct; reading, defaults, bounds, the schema, the
//! sample file and the names of the environment twins all come from that one declaration.

use std::{collections::BTreeMap, fs, io, path::Path};

use toml::de::DeTable;

use super::{
    fault::{ConfigFault, suggest},
    leaf::Leaf,
    value::{Node, Provenance, Value},
};

/// Something that a key can hold: one value, a table, or tables by name.
pub(crate) trait Field {
    /// Takes over what `node` says. What is wrong becomes a fault and leaves `self` as it was.
    fn merge(&mut self, node: &Node, path: &str, bounds: Bounds, reader: &mut SectionReader);

    fn shape(&self, bounds: Bounds) -> Shape;
}

/// Smallest and largest value, as they would be written.
pub(crate) type Bounds = Option<(&'static str, &'static str)>;

/// What a key holds, for everything but reading.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Leaf {
        /// As TOML; `None` when the key is left out by default.
        written: Option<String>,
        schema: serde_json::Value,
        expected: String,
        bounds: Bounds,
    },
    Section(Vec<ConfigKey>),
    /// Tables by name, and what a new one would hold.
    Named {
        tables: BTreeMap<String, Vec<ConfigKey>>,
        template: Vec<ConfigKey>,
    },
    /// A table whose keys nobody here knows.
    Free,
}

#[derive(Debug, Clone)]
pub(crate) struct ConfigKey {
    /// As written in the file: kebab case.
    pub name: String,
    pub doc: String,
    pub shape: Shape,
}

/// Collects what reading finds.
#[derive(Debug)]
pub(crate) struct SectionReader {
    pub faults: Vec<ConfigFault>,
    /// Where each value came from, by key path. Keys with their defaults are absent.
    pub places: BTreeMap<String, Provenance>,
    /// Where each table stands, by key path.
    pub tables: BTreeMap<String, Provenance>,
    /// Reads a file that is part of the configuration.
    pub read_file: fn(&Path) -> io::Result<String>,
}

impl Default for SectionReader {
    fn default() -> Self {
        Self {
            faults: Vec::new(),
            places: BTreeMap::new(),
            tables: BTreeMap::new(),
            read_file: |path| fs::read_to_string(path),
        }
    }
}

impl SectionReader {
    /// The tree of a TOML text. What is no TOML becomes a fault and is left out.
    pub(crate) fn parse(&mut self, text: &str) -> Node {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = Provenance::File(error.span().unwrap_or(0..text.len()));
            let message = error.message().replace('\n', ", ");
            let remedy = "see https://toml.io for how TOML is written";
            self.fault("", &place, message, remedy);
        }
        Node::of_table(&table)
    }

    pub(crate) fn fault(
        &mut self,
        path: &str,
        place: &Provenance,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.faults.push(ConfigFault {
            path: path.to_owned(),
            place: Some(place.clone()),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// A fault of a key that was read, told where it was written.
    pub(crate) fn fault_of_key(
        &mut self,
        key: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.faults.push(ConfigFault {
            path: key.to_owned(),
            place: self.places.get(key).cloned(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// A fault where a table begins: something is missing in it.
    pub(crate) fn fault_of_table(
        &mut self,
        path: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.faults.push(ConfigFault {
            path: path.to_owned(),
            place: self.tables.get(path).cloned(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// The entries of a table, or a fault and nothing.
    pub(crate) fn entries<'a>(
        &mut self,
        node: &'a Node,
        path: &str,
    ) -> Option<&'a [super::value::TableEntry]> {
        let Value::Table(entries) = &node.value else {
            let message = format!("{} is not a table", node.value.shown());
            self.fault(
                path,
                &node.place,
                message,
                format!("write its keys below [{path}]"),
            );
            return None;
        };
        self.tables
            .entry(path.to_owned())
            .or_insert_with(|| node.place.clone());
        Some(entries)
    }

    pub(crate) fn unknown_key(
        &mut self,
        path: &str,
        place: &Provenance,
        name: &str,
        known: &[ConfigKey],
    ) {
        let names: Vec<_> = known.iter().map(|key| key.name.as_str()).collect();
        let remedy = match suggest(name, &names) {
            Some(similar) => format!("did you mean \"{similar}\"?"),
            None => format!("known here: {}", names.join(", ")),
        };
        self.fault(path, place, format!("unknown key \"{name}\""), remedy);
    }
}

impl<T: Leaf> Field for T {
    fn merge(&mut self, node: &Node, path: &str, bounds: Bounds, reader: &mut SectionReader) {
        reader.places.insert(path.to_owned(), node.place.clone());
        let value = match T::read(&node.value) {
            Ok(value) => value,
            Err(message) => {
                reader.fault(
                    path,
                    &node.place,
                    message,
                    format!("write {}", T::expected()),
                );
                return;
            }
        };
        if let Some((min, max)) = bounds {
            let bound = |text: &str| T::read(&Value::Untyped(text.to_owned())).ok();
            let below = bound(min).is_some_and(|min| value.order(&min).is_some_and(|o| o.is_lt()));
            let above = bound(max).is_some_and(|max| value.order(&max).is_some_and(|o| o.is_gt()));
            if below || above {
                let (side, limit) = if below {
                    ("below", min)
                } else {
                    ("above", max)
                };
                let message = format!("{} is {side} the limit of {limit}", node.value.shown());
                reader.fault(path, &node.place, message, format!("write {min} to {max}"));
                return;
            }
        }
        *self = value;
    }

    fn shape(&self, bounds: Bounds) -> Shape {
        Shape::Leaf {
            written: self.written(),
            schema: T::schema(),
            expected: T::expected(),
            bounds,
        }
    }
}

/// A struct that is a table of the configuration. Each field has its default and, where it needs
/// them, its bounds; the first line of a field's documentation is what users read.
macro_rules! section {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                pub $field:ident: $type:ty = $default:expr $(, within $min:literal to $max:literal)?;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $( $(#[doc = $doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $name {
            pub(crate) fn keys(&self) -> Vec<$crate::config::section::ConfigKey> {
                vec![$(
                    $crate::config::section::ConfigKey {
                        name: $crate::config::section::kebab(stringify!($field)),
                        doc: concat!($($doc, "\n"),*).trim().to_owned(),
                        shape: $crate::config::section::Field::shape(
                            &self.$field,
                            $crate::config::section::bounds!($($min, $max)?),
                        ),
                    }
                ),*]
            }
        }

        impl $crate::config::section::Field for $name {
            fn merge(
                &mut self,
                node: &$crate::config::value::Node,
                path: &str,
                _: $crate::config::section::Bounds,
                reader: &mut $crate::config::section::SectionReader,
            ) {
                for entry in reader.entries(node, path).unwrap_or_default() {
                    let path = $crate::config::section::join(path, &entry.key);
                    match entry.key.replace('-', "_").as_str() {
                        $(
                            stringify!($field) if !entry.key.contains('_') => {
                                $crate::config::section::Field::merge(
                                    &mut self.$field,
                                    &entry.node,
                                    &path,
                                    $crate::config::section::bounds!($($min, $max)?),
                                    reader,
                                );
                            }
                        )*
                        _ => {
                            reader.unknown_key(&path, &entry.key_place, &entry.key, &self.keys());
                        }
                    }
                }
            }

            fn shape(
                &self,
                _: $crate::config::section::Bounds,
            ) -> $crate::config::section::Shape {
                $crate::config::section::Shape::Section(self.keys())
            }
        }
    };
}

macro_rules! bounds {
    () => {
        None
    };
    ($min:literal, $max:literal) => {
        Some(($min, $max))
    };
}

pub(crate) use bounds;
pub(crate) use section;

/// `idle_timeout` as it is written: `idle-timeout`.
pub(crate) fn kebab(field: &str) -> String {
    field.replace('_', "-")
}

/// A key below a path; the root has an empty path.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
