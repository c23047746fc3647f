//! New plugin projects from templates that lie beside this file.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Languages that have a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lang {
    Rust,
}

/// A project that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Project {
    pub folder: PathBuf,
    pub name: String,
    /// Relative to the folder.
    pub files: Vec<String>,
}

/// Why no project was made. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScaffoldError {
    #[error("{name:?} is no name for a plugin")]
    Name { name: String },
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    #[error("{} is not the SDK: it has no package postern-guest", .0.display())]
    NotTheSdk(PathBuf),
    #[error("the SDK guest-sdk/rust is not found")]
    NoSdk,
    #[error("cannot write {}: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

impl ScaffoldError {
    /// What to do about it.
    #[must_use]
    pub(crate) fn remedy(&self) -> Option<String> {
        match self {
            Self::Name { .. } => Some(format!(
                "take 1 to {NAME_BYTES_MAX} lower-case letters, digits and dashes, a letter first"
            )),
            Self::Exists(_) => Some("choose another name, or remove it".to_owned()),
            Self::NotTheSdk(_) | Self::NoSdk => Some(
                "name the folder guest-sdk/rust of Postern's sources with --sdk DIR".to_owned(),
            ),
            Self::Unwritable { .. } => None,
        }
    }

    /// Whether it was asked for wrongly.
    #[must_use]
    pub(crate) const fn is_usage(&self) -> bool {
        matches!(self, Self::Name { .. })
    }
}

/// Makes a project in `folder`, whose last part is the plugin's name. The SDK is the one given, that
/// of the checkout around the folder, or that of the sources which this binary was built from.
///
/// # Errors
/// Everything in `ScaffoldError`.
pub(crate) fn create(
    folder: &Path,
    lang: Lang,
    sdk: Option<&Path>,
) -> Result<Project, ScaffoldError> {
    let name = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if !is_name(&name) {
        return Err(ScaffoldError::Name { name });
    }
    if folder.exists() {
        return Err(ScaffoldError::Exists(folder.to_owned()));
    }
    let sdk = find_sdk(folder, sdk)?;
    let Lang::Rust = lang;
    let written = write_all(folder, &name, &sdk);
    if written.is_err() {
        // The folder is ours: it was not there before.
        let _ = fs::remove_dir_all(folder);
    }
    written
}

fn write_all(folder: &Path, name: &str, sdk: &Path) -> Result<Project, ScaffoldError> {
    let unwritable = |path: &Path, source| ScaffoldError::Unwritable {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
    let from = folder
        .canonicalize()
        .map_err(|error| unwritable(folder, error))?;
    let sdk = path_between(&from, sdk).unwrap_or_else(|| sdk.to_owned());
    let sdk = toml::Value::from(sdk.to_string_lossy().into_owned()).to_string();
    let mut files = Vec::new();
    for (file, template) in RUST {
        let file = file.replace("{{name}}", name);
        let text = template
            .replace("{{name}}", name)
            .replace("{{type}}", &type_name(name));
        let path = folder.join(&file);
        let parent = path.parent().unwrap_or(folder);
        let written = fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text.replace("{{sdk}}", &sdk)));
        written.map_err(|error| unwritable(&path, error))?;
        files.push(file);
    }
    Ok(Project {
        folder: folder.to_owned(),
        name: name.to_owned(),
        files,
    })
}

fn find_sdk(folder: &Path, given: Option<&Path>) -> Result<PathBuf, ScaffoldError> {
    if let Some(given) = given {
        let real = given.canonicalize().ok().filter(|sdk| is_sdk(sdk));
        return real.ok_or_else(|| ScaffoldError::NotTheSdk(given.to_owned()));
    }
    let around = folder.ancestors().skip(1).find_map(|above| {
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        above.canonicalize().ok()
    });
    let above = around.iter().flat_map(|folder| folder.ancestors());
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut candidates = above
        .map(Path::to_owned)
        .chain([built_from])
        .map(|root| root.join("guest-sdk/rust"));
    let found = candidates
        .find(|sdk| is_sdk(sdk))
        .and_then(|sdk| sdk.canonicalize().ok());
    found.ok_or(ScaffoldError::NoSdk)
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = fs::read_to_string(folder.join("Cargo.toml"));
    manifest.is_ok_and(|manifest| manifest.contains("name = \"postern-guest\""))
}

/// The way from one folder to another within one project tree; `None` when they share no more than
/// the root of the file system, where an absolute path reads better and moves as well.
fn path_between(from: &Path, to: &Path) -> Option<PathBuf> {
    let shared = from
        .components()
        .zip(to.components())
        .take_while(|(a, b)| a == b)
        .count();
    let is_root = |part: Component<'_>| !matches!(part, Component::Normal(_));
    if from.components().take(shared).all(is_root) {
        return None;
    }
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    Some(up.chain(to.components().skip(shared)).collect())
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(allowed)
}

/// `geo-balancer` is `GeoBalancer`.
fn type_name(name: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name.split('-').filter_map(part).collect()
}

const NAME_BYTES_MAX: usize = 64;

const RUST: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("rust/Cargo.toml.in")),
    ("src/lib.rs", include_str!("rust/lib.rs.in")),
    ("{{name}}.toml", include_str!("rust/manifest.toml.in")),
    ("README.md", include_str!("rust/README.md.in")),
    (".gitignore", include_str!("rust/gitignore.in")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Manifest};

    #[test]
    fn a_project_has_its_name_everywhere_and_finds_the_sdk() {
        let workshop = tempfile::tempdir().expect("a folder");
        let folder = workshop.path().join("geo-balancer");
        let project = create(&folder, Lang::Rust, None).expect("made");
        assert_eq!(project.name, "geo-balancer");
        for file in &project.files {
            let text = fs::read_to_string(folder.join(file)).expect("written");
            assert!(!text.contains("{{"), "{file}: {text}");
        }
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("written");
        let manifest: toml::Table = manifest.parse().expect("TOML");
        let sdk = manifest["dependencies"]["postern-guest"]["path"]
            .as_str()
            .expect("a path");
        assert!(is_sdk(&folder.join(sdk)), "{sdk}");
        let source = fs::read_to_string(folder.join("src/lib.rs")).expect("written");
        assert!(source.contains("struct GeoBalancer;"));
        let manifest = fs::read_to_string(folder.join("geo-balancer.toml")).expect("written");
        let manifest = Manifest::parse("geo-balancer.toml", &manifest, &Config::default());
        assert_eq!(manifest.expect("valid").config.0["word"], "Hello");
    }

    #[test]
    fn refuses_names_folders_and_sdks_that_do_not_do() {
        let workshop = tempfile::tempdir().expect("a folder");
        for name in ["Greeter", "9lives", "a_b", "a-", "-a", "ä", &"a".repeat(65)] {
            let refused = create(&workshop.path().join(name), Lang::Rust, None);
            assert!(matches!(refused, Err(ScaffoldError::Name { .. })), "{name}");
        }
        let longest = workshop.path().join("a".repeat(64));
        assert!(create(&longest, Lang::Rust, None).is_ok());
        assert!(matches!(
            create(&longest, Lang::Rust, None),
            Err(ScaffoldError::Exists(_))
        ));
        let refused = create(
            &workshop.path().join("b"),
            Lang::Rust,
            Some(workshop.path()),
        );
        assert!(matches!(refused, Err(ScaffoldError::NotTheSdk(_))));
        assert!(!workshop.path().join("b").exists());
    }

    #[test]
    fn the_way_to_the_sdk_is_relative_within_a_tree() {
        let between = |from: &str, to: &str| path_between(Path::new(from), Path::new(to));
        let way = between(
            "/home/ada/postern/plugins/x",
            "/home/ada/postern/guest-sdk/rust",
        );
        assert_eq!(way, Some("../../guest-sdk/rust".into()));
        assert_eq!(between("/tmp/x", "/home/ada/postern/guest-sdk/rust"), None);
    }
}
