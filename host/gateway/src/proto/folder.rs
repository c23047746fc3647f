//! The schema of a plugin as it lies beside its component.
//!
//! ```text
//! plugins/users.proto                           a source, with what it imports
//! plugins/users.proto/                          a folder of them
//! plugins/users.binpb, users.pb, users.desc     a set of descriptors
//! plugins/users.toml: proto = ["api", "b.proto"]   other files or folders, from the manifest's folder
//! ```
//! Files import each other by their paths below a folder that is named, or else below that of the
//! component. Nothing outside of the component's folder is read, whatever links say.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{
    bounds::{FILES_MAX, FOLDERS_DEPTH_MAX, SCHEMA_BYTES_MAX},
    compile,
    files::{FileOctets, SchemaFiles, is_source},
};
use crate::sources::sight::{self, ReadError, Stamp};

/// What was read of a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReadSchema {
    /// `None` where none lies there.
    pub files: Option<SchemaFiles>,
    /// Where each of them lies.
    pub paths: BTreeMap<String, PathBuf>,
    pub sight: SchemaSight,
}

/// The outward signs of everything that was looked at, what was not there included: whatever of it
/// changes may change the schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SchemaSight(BTreeMap<PathBuf, Option<Stamp>>);

/// Why a schema is not read to its end.
enum Stop {
    /// It cannot be used as it is.
    Fault(String),
    /// It cannot be read at present.
    Read(ReadError),
}

struct Reader {
    /// The folder of the component.
    base: PathBuf,
    /// The same without links.
    real_base: PathBuf,
    /// Folders that imports are looked for in, in this order.
    includes: Vec<PathBuf>,
    schema: SchemaFiles,
    paths: BTreeMap<String, PathBuf>,
    sight: SchemaSight,
    bytes_left: u64,
}

/// Reads the schema of `component`, the text of whose manifest is `manifest`. Blocks.
///
/// # Errors
/// When a file cannot be read at present. What is wrong with the schema itself is its `fault`.
pub(crate) fn read(component: &Path, manifest: Option<&str>) -> Result<ReadSchema, ReadError> {
    let base = component.parent().unwrap_or_else(|| Path::new(""));
    let base = if base.as_os_str().is_empty() {
        Path::new(".")
    } else {
        base
    };
    let real_base = base
        .canonicalize()
        .map_err(|source| ReadError::Unreadable {
            path: base.to_owned(),
            source,
        })?;
    let mut reader = Reader {
        base: base.to_owned(),
        real_base,
        includes: Vec::new(),
        schema: SchemaFiles::default(),
        paths: BTreeMap::new(),
        sight: SchemaSight::default(),
        bytes_left: SCHEMA_BYTES_MAX,
    };
    let named = manifest.and_then(named_in);
    let gathered = match &named {
        Some(names) => reader.add_named(names),
        None => reader.add_beside(component),
    };
    let gathered = gathered.and_then(|()| reader.add_imports());
    let files = match gathered {
        Ok(()) if reader.schema.files.is_empty() && named.is_none() => None,
        Ok(()) => Some(reader.schema),
        Err(Stop::Fault(fault)) => Some(SchemaFiles::faulty(fault)),
        Err(Stop::Read(error)) => return Err(error),
    };
    Ok(ReadSchema {
        files,
        paths: reader.paths,
        sight: reader.sight,
    })
}

/// What a manifest names as its schema; `None` where it names none. What is no list of names is told by
/// whoever reads the manifest.
fn named_in(manifest: &str) -> Option<Vec<String>> {
    let table: toml::Table = manifest.parse().ok()?;
    match table.get("proto")? {
        toml::Value::String(name) => Some(vec![name.clone()]),
        toml::Value::Array(names) => {
            let names = names.iter().map(|name| name.as_str().map(str::to_owned));
            names.collect()
        }
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Table(_) => None,
    }
}

impl Reader {
    fn add_named(&mut self, names: &[String]) -> Result<(), Stop> {
        if names.is_empty() {
            return Err(Stop::Fault("proto names no file".to_owned()));
        }
        for name in names {
            let fault = |reason: &str| Stop::Fault(format!("proto: {name:?} {reason}"));
            let Some(relative) = relative(name) else {
                let reason =
                    "is not in the folder of the component; write a name such as \"users.proto\"";
                return Err(fault(reason));
            };
            let path = self.base.join(relative);
            let is_added = match path.is_dir() {
                true => self.add_folder(&path)?,
                false if !has_known_end(&path) => {
                    self.sight.look(&path);
                    let reason = "is neither a folder nor a .proto, .binpb, .pb or .desc file";
                    return Err(fault(reason));
                }
                false => self.add(name, &path, true)?,
            };
            if !is_added {
                return Err(fault("is not there, or has no .proto files"));
            }
        }
        Ok(())
    }

    /// What has the name of the component.
    fn add_beside(&mut self, component: &Path) -> Result<(), Stop> {
        let mut added: Option<PathBuf> = None;
        for end in SCHEMA_ENDS {
            let path = component.with_extension(end);
            let is_added = if path.is_dir() {
                self.add_folder(&path)?
            } else {
                let name = path.file_name().and_then(|name| name.to_str());
                let name = name.unwrap_or_default().to_owned();
                self.add(&name, &path, true)?
            };
            if let Some(before) = added.as_ref().filter(|_| is_added) {
                let [one, other] = [before, &path].map(|path| shown(path));
                let reason = format!(
                    "{one} and {other} are both there; name the one that counts: proto = [{one:?}]"
                );
                return Err(Stop::Fault(reason));
            }
            added = added.or_else(|| is_added.then_some(path));
        }
        Ok(())
    }

    /// Every source below `folder`, by its path from there. Says whether there is one.
    fn add_folder(&mut self, folder: &Path) -> Result<bool, Stop> {
        self.check_inside(folder)?;
        self.includes.push(folder.to_owned());
        let mut left = vec![(folder.to_owned(), 0)];
        let mut found = BTreeSet::new();
        while let Some((below, depth)) = left.pop() {
            self.sight.look(&below);
            let unreadable = |source: io::Error| {
                Stop::Read(ReadError::Unreadable {
                    path: below.clone(),
                    source,
                })
            };
            for entry in fs::read_dir(&below).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let path = entry.path();
                let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                // A link to a folder may lead back to one above it.
                if is_hidden || entry.file_type().map_err(unreadable)?.is_dir() {
                    if !is_hidden && depth < FOLDERS_DEPTH_MAX {
                        left.push((path, depth + 1));
                    }
                } else if path.extension().is_some_and(|end| end == "proto") {
                    found.insert(path);
                }
                if found.len() + left.len() > FILES_MAX {
                    return Err(too_many());
                }
            }
        }
        let mut is_added = false;
        for path in found {
            let name = path.strip_prefix(folder).ok().and_then(Path::to_str);
            let Some(name) = name.map(str::to_owned) else {
                let reason = format!("the name of {} is not UTF-8", path.display());
                return Err(Stop::Fault(reason));
            };
            is_added |= self.add(&name, &path, true)?;
        }
        Ok(is_added)
    }

    /// What files import, and what that imports.
    fn add_imports(&mut self) -> Result<(), Stop> {
        self.includes.push(self.base.clone());
        let mut left: VecDeque<String> = self.schema.files.keys().cloned().collect();
        while let Some(name) = left.pop_front() {
            let Some(source) = self.schema.text(&name).filter(|_| is_source(&name)) else {
                continue;
            };
            for import in compile::imports(&name, source) {
                if self.schema.files.contains_key(&import) {
                    continue;
                }
                // What is not found is told where it is imported.
                let Some(below) = relative(&import).map(Path::to_owned) else {
                    continue;
                };
                for include in self.includes.clone() {
                    if self.add(&import, &include.join(&below), false)? {
                        left.push_back(import);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the file at `path` under `name`. Says whether it is there.
    fn add(&mut self, name: &str, path: &Path, is_root: bool) -> Result<bool, Stop> {
        self.sight.look(path);
        if !path.is_file() {
            return Ok(false);
        }
        self.check_inside(path)?;
        if self.schema.files.len() >= FILES_MAX {
            return Err(too_many());
        }
        let octets = match sight::read(path, self.bytes_left) {
            Ok(Some(octets)) => octets,
            Ok(None) => return Ok(false),
            Err(ReadError::TooLong { .. }) => {
                let reason = format!(
                    "{} and what was read before it exceed the limit of {SCHEMA_BYTES_MAX} octets",
                    shown(path)
                );
                return Err(Stop::Fault(reason));
            }
            Err(
                error @ (ReadError::Changing(_)
                | ReadError::Empty(_)
                | ReadError::Unreadable { .. }),
            ) => return Err(Stop::Read(error)),
        };
        self.bytes_left = self.bytes_left.saturating_sub(octets.len() as u64);
        if is_root {
            self.schema.roots.insert(name.to_owned());
        }
        self.paths.insert(name.to_owned(), path.to_owned());
        let file = FileOctets(octets.into());
        self.schema.files.insert(name.to_owned(), file);
        Ok(true)
    }

    /// Whether `path`, which is there, is in the folder of the component whatever links say.
    fn check_inside(&self, path: &Path) -> Result<(), Stop> {
        let unreadable = |source| {
            Stop::Read(ReadError::Unreadable {
                path: path.to_owned(),
                source,
            })
        };
        let real = path.canonicalize().map_err(unreadable)?;
        if real.starts_with(&self.real_base) {
            return Ok(());
        }
        let (path, base) = (shown(path), self.base.display());
        Err(Stop::Fault(format!(
            "{path} is a link out of {base}; put a copy there"
        )))
    }
}

impl SchemaSight {
    /// Notes what is to be seen of `path`.
    pub(crate) fn look(&mut self, path: &Path) {
        self.0.entry(path.to_owned()).or_insert_with(|| stamp(path));
    }

    /// Notes what was to be seen at another look.
    pub(crate) fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// What is not as it was at the last look, which this one is from here on.
    pub(crate) fn changed(&mut self) -> Vec<PathBuf> {
        let looked = self.0.iter_mut().filter_map(|(path, before)| {
            let stamp = stamp(path);
            let has_changed = stamp != *before;
            *before = stamp;
            has_changed.then(|| path.clone())
        });
        looked.collect()
    }
}

/// `None` where nothing is there.
fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata))
}

fn too_many() -> Stop {
    Stop::Fault(format!("it has more than {FILES_MAX} files"))
}

/// A path that stays below the folder that it is from.
fn relative(name: &str) -> Option<&Path> {
    let path = Path::new(name);
    let mut parts = path.components();
    let is_below = parts.all(|part| matches!(part, Component::Normal(_)));
    (is_below && !name.is_empty()).then_some(path)
}

fn has_known_end(path: &Path) -> bool {
    let end = path.extension().and_then(|end| end.to_str());
    end.is_some_and(|end| SCHEMA_ENDS.contains(&end))
}

fn shown(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// How names of schemas end: one source or a folder, and sets of descriptors as buf, protoc and others
/// call them.
pub(crate) const SCHEMA_ENDS: [&str; 4] = ["proto", "binpb", "pb", "desc"];

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = Self(tempfile::tempdir().expect("a folder"));
            for (name, text) in files {
                folder.write(name, text);
            }
            folder
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }

        fn read(&self, manifest: Option<&str>) -> ReadSchema {
            read(&self.0.path().join("users.wasm"), manifest).expect("readable")
        }

        fn names(&self, manifest: Option<&str>) -> (Vec<String>, Vec<String>) {
            let files = self.read(manifest).files.expect("a schema");
            assert_eq!(files.fault, None);
            let names = files.files.into_keys().collect();
            (files.roots.into_iter().collect(), names)
        }

        fn fault(&self, manifest: Option<&str>) -> String {
            let files = self.read(manifest).files.expect("a schema");
            files.fault.expect("a fault")
        }
    }

    const IMPORTS: &str = "import \"common/page.proto\";\nimport \"google/protobuf/any.proto\";";

    #[test]
    fn a_source_comes_with_what_it_imports() {
        let folder = Folder::new(&[
            ("users.proto", IMPORTS),
            ("common/page.proto", "package c;"),
        ]);
        let (roots, names) = folder.names(None);
        assert_eq!(roots, ["users.proto"]);
        assert_eq!(names, ["common/page.proto", "users.proto"]);
        let none = Folder::new(&[("chat.proto", "package c;")]).read(None);
        assert_eq!(none.files, None);
        assert_eq!(none.sight.paths().count(), SCHEMA_ENDS.len());
    }

    #[test]
    fn a_folder_is_where_its_files_import_from() {
        let folder = Folder::new(&[
            ("api/users/v1/users.proto", IMPORTS),
            ("api/common/page.proto", "package c;"),
            ("api/.hidden.proto", "package h;"),
            ("api/README", "read me"),
            ("common/page.proto", "package other;"),
        ]);
        let (roots, names) = folder.names(Some("proto = [\"api\"]"));
        assert_eq!(roots, names);
        assert_eq!(names, ["common/page.proto", "users/v1/users.proto"]);
        let beside = Folder::new(&[("users.proto/a.proto", "package a;")]);
        assert_eq!(beside.names(None).0, ["a.proto"]);
    }

    #[test]
    fn what_is_not_in_the_folder_is_not_read() {
        let folder = Folder::new(&[("plugins/users.wasm", ""), ("secret.proto", "package s;")]);
        let plugins = folder.0.path().join("plugins");
        let fault = |manifest: &str| {
            let read = read(&plugins.join("users.wasm"), Some(manifest)).expect("readable");
            read.files.and_then(|files| files.fault).expect("a fault")
        };
        for name in ["../secret.proto", "/etc/passwd", "a/../../secret.proto", ""] {
            let told = fault(&format!("proto = [\"{name}\"]"));
            assert!(
                told.contains("is not in the folder of the component"),
                "{told}"
            );
        }
        std::os::unix::fs::symlink("../secret.proto", plugins.join("link.proto")).expect("linked");
        let told = fault("proto = \"link.proto\"");
        assert!(told.starts_with("link.proto is a link out of "), "{told}");
        std::os::unix::fs::symlink("..", plugins.join("up")).expect("linked");
        assert!(fault("proto = \"up\"").starts_with("up is a link out of "));
        // Nor is what is imported.
        fs::write(plugins.join("users.proto"), "import \"link.proto\";").expect("written");
        assert!(fault("proto = \"users.proto\"").contains("is a link out of"));
    }

    #[test]
    fn faults_say_what_to_do() {
        let folder = Folder::new(&[("users.proto", "package u;"), ("users.pb", "x")]);
        let told = folder.fault(None);
        let expected = "users.proto and users.pb are both there; name the one that counts: proto = [\"users.proto\"]";
        assert_eq!(told, expected);
        let check = |manifest: &str, expected: &str| {
            let told = folder.fault(Some(manifest));
            assert!(told.contains(expected), "{told}");
        };
        check("proto = []", "proto names no file");
        check("proto = [\"a.proto\"]", "is not there");
        check("proto = [\"users.txt\"]", "is neither a folder nor");
    }

    #[test]
    fn files_are_counted_and_weighed() {
        let long = format!("// {}\npackage u;", "x".repeat(5 * 1024 * 1024));
        let folder = Folder::new(&[("api/a.proto", &long), ("api/b.proto", &long)]);
        let told = folder.fault(Some("proto = [\"api\"]"));
        assert!(
            told.contains("exceed the limit of 8388608 octets"),
            "{told}"
        );
        let many: Vec<_> = (0..=FILES_MAX).map(|n| format!("api/{n}.proto")).collect();
        let many: Vec<_> = many
            .iter()
            .map(|name| (name.as_str(), "package u;"))
            .collect();
        let told = Folder::new(&many).fault(Some("proto = [\"api\"]"));
        assert_eq!(told, "it has more than 512 files");
    }

    #[test]
    fn what_was_missing_is_noticed_when_it_comes() {
        let folder = Folder::new(&[("users.proto", IMPORTS)]);
        let mut sight = folder.read(None).sight;
        assert_eq!(sight.changed(), Vec::<PathBuf>::new());
        folder.write("common/page.proto", "package c;");
        let page = folder.0.path().join("common/page.proto");
        assert_eq!(sight.changed(), [page]);
        assert_eq!(sight.changed(), Vec::<PathBuf>::new());
    }
}
