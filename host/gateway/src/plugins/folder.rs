//! The plugin folder: which files are plugins, and which plugin a changed file belongs to.
//!
//! ```text
//! plugins/users.wasm        a plugin called users      plugins/users.toml        its manifest
//! plugins/users@2.wasm      version 2 of it            plugins/users@2.toml      the manifest of that
//! plugins/chat/chat.wasm    a plugin called chat       plugins/chat/chat.toml    its manifest
//! plugins/chat/chat@2.wasm  version 2 of it            plugins/chat/chat@2.toml  the manifest of that
//! ```
//! A version stands for itself: what is said of a plugin here is said of each.
//! Beside a component its schema may lie: `users.proto` and what it imports (`proto/folder.rs`).
//! Beside each of these files its signature may lie: `users.wasm.minisig`, `users.toml.minisig`.
//! Everything else is left alone: dotfiles, editor temporaries, sources. If both forms are there, the
//! flat one counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    label::{is_label, plugin_of as name_without_version},
    signature::{SIGNATURE_BYTES_MAX, SignatureTexts},
};
pub(crate) use crate::sources::sight::ReadError;
use crate::{
    proto::{self, SchemaFiles, SchemaSight},
    sources::sight::{self, FileIdentity, PathState},
};

/// What lies in the folder for one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub component: Bytes,
    pub component_path: PathBuf,
    /// Name of the manifest's file and its text.
    pub manifest: Option<(PathBuf, String)>,
    /// The schema that lies beside the component.
    pub schema: Option<SchemaFiles>,
    /// What the schema was looked for in.
    pub schema_sight: SchemaSight,
    pub signatures: SignatureTexts,
}

/// What a look at the folder finds.
#[derive(Debug)]
pub(crate) struct FolderListing {
    pub identity: FileIdentity,
    /// Its path without links.
    pub real: PathBuf,
    /// Names of plugins, of their versions, of plugin folders, and of files that belong to a plugin.
    pub names: BTreeSet<String>,
    /// Plugins whose component is there, or should be.
    pub plugins: BTreeMap<String, PluginFiles>,
}

/// A plugin's files at a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginFiles {
    pub component_path: PathBuf,
    /// `There`, `Dangling` or `Unreadable`.
    pub component: PathState,
    pub manifest: PathState,
    /// Of the signatures of component and manifest.
    pub signatures: [PathState; 2],
}

/// Names of all plugins in `folder`, in order. A folder that is not there has none.
///
/// # Errors
/// Whatever the system says of the folder.
pub(crate) fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    let plugins = list(folder)?.map(|listing| listing.plugins);
    let plugins = plugins.unwrap_or_default().into_iter();
    let there = plugins.filter(|(_, found)| found.component != PathState::Dangling);
    Ok(there.map(|(name, _)| name).collect())
}

/// Looks at `folder` and every plugin in it. `None` when it is not there.
pub(crate) fn list(folder: &Path) -> io::Result<Option<FolderListing>> {
    let listing = || -> io::Result<FolderListing> {
        let identity = FileIdentity::of(&fs::metadata(folder)?);
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = plugin_of(folder, &path).or_else(|| name_of(path.file_name()));
            // Versions in a plugin's own folder; of plugins there is one of that folder's name.
            if name.is_some() && path.is_dir() {
                let files = fs::read_dir(&path).into_iter().flatten().flatten();
                names.extend(files.filter_map(|file| plugin_of(folder, &file.path())));
            }
            names.extend(name);
        }
        let found = |name: &String| Some((name.clone(), find(folder, name)?));
        Ok(FolderListing {
            identity,
            real: folder.canonicalize()?,
            plugins: names.iter().filter_map(found).collect(),
            names,
        })
    };
    match listing() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        listing => listing.map(Some),
    }
}

/// Every path that a file of the plugin `name` may have.
pub(crate) fn files(folder: &Path, name: &str) -> [PathBuf; 4] {
    let nested = folder.join(name_without_version(name));
    let of = |folder: &Path, end: &str| folder.join(format!("{name}.{end}"));
    [
        of(folder, "wasm"),
        of(folder, "toml"),
        of(&nested, "wasm"),
        of(&nested, "toml"),
    ]
}

/// Where the signature of `file` lies.
pub(crate) fn signature_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(SIGNATURE);
    name.into()
}

/// The plugin whose file, or whose folder, `path` is.
#[must_use]
pub(crate) fn plugin_of(folder: &Path, path: &Path) -> Option<String> {
    let inside = path.strip_prefix(folder).ok()?;
    let mut parts = inside.components().map(|part| part.as_os_str());
    let (first, second) = (parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let file = Path::new(second.unwrap_or(first));
    // A signature is a file of the plugin like the one that it signs.
    let signed = file.file_stem().map(Path::new);
    let is_signature = file.extension().is_some_and(|end| end == SIGNATURE);
    let file = signed.filter(|_| is_signature).unwrap_or(file);
    let has_known_end = ENDS.contains(&file.extension()?.to_str()?);
    let name = name_of(file.file_stem()).filter(|_| has_known_end);
    match second {
        None => name,
        Some(_) => name.filter(|name| first.to_str() == Some(name_without_version(name))),
    }
}

/// Reads the plugin `name` whole. `None` when it is not there.
///
/// # Errors
/// `Changing` when somebody wrote to it meanwhile, `Empty` when a file of it says nothing.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Option<Package>, ReadError> {
    let Some(found) = find(folder, name) else {
        return Ok(None);
    };
    let component_path = found.component_path.clone();
    let manifest_path = component_path.with_extension("toml");
    let Some(component) = sight::read(&component_path, COMPONENT_BYTES_MAX)? else {
        return Ok(None);
    };
    let manifest = sight::read(&manifest_path, MANIFEST_BYTES_MAX)?.map(|bytes| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (manifest_path, text)
    });
    let text = manifest.as_ref().map(|(_, text)| text.as_str());
    let schema = proto::read(&component_path, text)?;
    let mut schema_sight = schema.sight;
    let signature = |file: &Path| -> Result<Option<String>, ReadError> {
        let read = sight::read(&signature_of(file), SIGNATURE_BYTES_MAX)?;
        Ok(read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let mut signatures = SignatureTexts {
        component: signature(&component_path)?,
        manifest: signature(&component_path.with_extension("toml"))?.filter(|_| manifest.is_some()),
        ..SignatureTexts::default()
    };
    for (name, path) in &schema.paths {
        schema_sight.look(&signature_of(path));
        if let Some(text) = signature(path)? {
            signatures.schema.insert(name.clone(), text);
        }
    }
    // All of them are one deployment: each as it was before.
    if find(folder, name) != Some(found) || !schema_sight.changed().is_empty() {
        return Err(ReadError::Changing(component_path));
    }
    Ok(Some(Package {
        component: component.into(),
        component_path,
        manifest,
        schema: schema.files,
        schema_sight,
        signatures,
    }))
}

/// The files of the plugin `name`; `None` when nothing has the name of its component.
fn find(folder: &Path, name: &str) -> Option<PluginFiles> {
    let [flat, _, nested, _] = files(folder, name);
    let is_there = |sight: &PathState| !matches!(sight, PathState::Absent | PathState::Special);
    let own_folder = folder.join(name_without_version(name));
    let below = || {
        let sight = PathState::of(&nested);
        // The plugin's own folder may be the link.
        let is_lost =
            sight == PathState::Absent && PathState::of(&own_folder) == PathState::Dangling;
        let sight = if is_lost { PathState::Dangling } else { sight };
        (nested, sight)
    };
    let flat = Some((flat.clone(), PathState::of(&flat))).filter(|(_, sight)| is_there(sight));
    let (component_path, component) = flat.or_else(|| Some(below()))?;
    let manifest_path = component_path.with_extension("toml");
    let manifest = PathState::of(&manifest_path);
    let signatures =
        [&component_path, &manifest_path].map(|file| PathState::of(&signature_of(file)));
    is_there(&component).then_some(PluginFiles {
        component_path,
        component,
        manifest,
        signatures,
    })
}

/// Whether a plugin may be called `name`.
pub(crate) fn is_name(name: &str) -> bool {
    name_of(Some(name.as_ref())).is_some()
}

/// A plugin's name, or that of a version of it, as a file's name gives it.
fn name_of(stem: Option<&std::ffi::OsStr>) -> Option<String> {
    let name = stem?.to_str()?;
    is_label(name).then(|| name.to_owned())
}

const SIGNATURE: &str = "minisig";
/// How names of a plugin's files end: component, manifest, schema.
const ENDS: [&str; 6] = ["wasm", "toml", "proto", "binpb", "pb", "desc"];

/// Manifests are some hundred octets.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// Python and JavaScript components take tens of megabytes; 256 MiB leaves room.
pub(crate) const COMPONENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        let found = plugin_of(Path::new("plugins"), &Path::new("plugins").join(path));
        assert_eq!(found.as_deref(), expected, "{path}");
    }

    #[test]
    fn knows_component_and_manifest_in_both_layouts() {
        check("users.wasm", Some("users"));
        check("users.toml", Some("users"));
        check("users/users.wasm", Some("users"));
        check("users/users.toml", Some("users"));
        check("acme.users-2_b.wasm", Some("acme.users-2_b"));
        check("users.wasm.minisig", Some("users"));
        check("users/users.toml.minisig", Some("users"));
    }

    #[test]
    fn knows_versions_beside_their_plugin_in_both_layouts() {
        check("users@2.wasm", Some("users@2"));
        check("users@1.2.0-rc.1.toml", Some("users@1.2.0-rc.1"));
        check("users/users@2.wasm", Some("users@2"));
        check("users/other@2.wasm", None);
        check("users@2/users@2.wasm", None);
        check("users@.wasm", None);
        check("users@1@2.wasm", None);
    }

    #[test]
    fn leaves_everything_else_alone() {
        for path in [
            ".users.wasm",
            ".users.wasm.swp",
            "users.wasm~",
            "#users.wasm#",
            "users.wasm.tmp",
            "users.wasm.part",
            "users",
            "4913",
            "users/Cargo.toml",
            "users/other.wasm",
            "users/target/users.wasm",
            "users/users/users.wasm",
            ".hidden/.hidden.wasm",
            "@2.wasm",
            "users.minisig",
            "users.js.minisig",
            "users.wasm.minisig.minisig",
        ] {
            check(path, None);
        }
        assert_eq!(
            plugin_of(Path::new("plugins"), Path::new("else/users.wasm")),
            None
        );
    }

    #[test]
    fn a_name_of_64_octets_passes_and_one_of_65_does_not() {
        let long = "n".repeat(64);
        check(&format!("{long}.wasm"), Some(&long));
        check(&format!("{long}n.wasm"), None);
    }

    #[test]
    fn finds_plugins_by_their_components() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("created");
            fs::write(path, text).expect("written");
        };
        write("users.wasm", "flat");
        write("users/users.wasm", "nested");
        write("users.wasm.minisig", "of the flat one");
        write("users/users.wasm.minisig", "of the nested one");
        write("chat/chat.toml.minisig", "of no manifest");
        write("users.toml", "version = \"1\"");
        write("chat/chat.wasm", "chat");
        write("chat/chat@2.wasm", "chat 2");
        write("lone/lone@1.wasm", "lone 1");
        write("users@2.0.0.wasm", "flat 2");
        write("users@2.0.0.toml", "version = \"2\"");
        write("alone.toml", "");
        write("source/Cargo.toml", "");
        let names: Vec<_> = names(folder.path())
            .expect("readable")
            .into_iter()
            .collect();
        assert_eq!(names, ["chat", "chat@2", "lone@1", "users", "users@2.0.0"]);
        let newer = read(folder.path(), "users@2.0.0")
            .expect("readable")
            .expect("there");
        assert_eq!(newer.component, "flat 2");
        assert_eq!(newer.manifest.expect("a manifest").1, "version = \"2\"");
        let users = read(folder.path(), "users")
            .expect("readable")
            .expect("there");
        assert_eq!(users.component, "flat");
        assert_eq!(users.manifest.expect("a manifest").1, "version = \"1\"");
        assert_eq!(
            users.signatures.component.as_deref(),
            Some("of the flat one")
        );
        assert_eq!(users.signatures.manifest, None);
        let chat = read(folder.path(), "chat").expect("readable");
        assert_eq!(chat.expect("there").signatures, SignatureTexts::default());
        assert_eq!(read(folder.path(), "alone").expect("readable"), None);
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_plugins() {
        assert!(
            names(Path::new("/nonexistent/plugins"))
                .expect("no error")
                .is_empty()
        );
    }
}
