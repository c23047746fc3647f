//! New plugin projects from templates that lie beside this file, with the SDK that this binary carries.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::build::{BuildError, Language, provide_sdk};

/// Languages that have a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lang {
    Rust,
    Python,
    /// JavaScript.
    Js,
    /// TypeScript.
    Ts,
    Go,
    C,
}

/// A project that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewProject {
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
    #[error("cannot write {}: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Sdk(BuildError),
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
            Self::Sdk(error) => error.remedy(),
            Self::Unwritable { .. } => None,
        }
    }

    /// Whether it was asked for wrongly.
    #[must_use]
    pub(crate) const fn is_usage(&self) -> bool {
        matches!(self, Self::Name { .. })
    }
}

/// Makes a project in `folder`, whose last part is the plugin's name.
///
/// # Errors
/// Everything in `ScaffoldError`.
pub(crate) fn create(folder: &Path, lang: Lang) -> Result<NewProject, ScaffoldError> {
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
    let written = write_all(folder, &name, lang);
    if written.is_err() {
        // The folder is ours: it was not there before.
        let _ = fs::remove_dir_all(folder);
    }
    written
}

fn write_all(folder: &Path, name: &str, lang: Lang) -> Result<NewProject, ScaffoldError> {
    let mut files = Vec::new();
    for (file, template) in lang.files() {
        let fill = |text: &str| {
            let text = text.replace("{{name}}", name);
            text.replace("{{type}}", &type_name(name))
        };
        let file = fill(file);
        let path = folder.join(&file);
        let parent = path.parent().unwrap_or(folder);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, fill(template)));
        written.map_err(|source| ScaffoldError::Unwritable { path, source })?;
        files.push(file);
    }
    provide_sdk(folder, lang.language()).map_err(ScaffoldError::Sdk)?;
    Ok(NewProject {
        folder: folder.to_owned(),
        name: name.to_owned(),
        files,
    })
}

impl Lang {
    const fn language(self) -> Language {
        match self {
            Self::Rust => Language::Rust,
            Self::Python => Language::Python,
            Self::Js | Self::Ts => Language::JavaScript,
            Self::Go => Language::Go,
            Self::C => Language::C,
        }
    }

    /// Where each file goes, and its template.
    const fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Rust => &RUST,
            Self::Go => &GO,
            Self::C => &C,
            Self::Python => &PYTHON,
            Self::Js => &JS,
            Self::Ts => &TS,
        }
    }
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

const PYTHON: [(&str, &str); 6] = [
    ("plugin.py", include_str!("python/plugin.py.in")),
    ("test_plugin.py", include_str!("python/test_plugin.py.in")),
    ("pyproject.toml", include_str!("python/pyproject.toml.in")),
    ("{{name}}.toml", include_str!("python/manifest.toml.in")),
    ("README.md", include_str!("python/README.md.in")),
    (".gitignore", include_str!("python/gitignore.in")),
];

const JS: [(&str, &str); 6] = [
    ("src/index.js", include_str!("js/index.js.in")),
    ("src/index.test.js", include_str!("js/index.test.js.in")),
    ("package.json", include_str!("js/package.json.in")),
    ("{{name}}.toml", include_str!("js/manifest.toml.in")),
    ("README.md", include_str!("js/README.md.in")),
    (".gitignore", include_str!("js/gitignore.in")),
];

const TS: [(&str, &str); 7] = [
    ("src/index.ts", include_str!("ts/index.ts.in")),
    ("src/index.test.ts", include_str!("ts/index.test.ts.in")),
    ("tsconfig.json", include_str!("ts/tsconfig.json.in")),
    ("package.json", include_str!("ts/package.json.in")),
    ("{{name}}.toml", include_str!("ts/manifest.toml.in")),
    ("README.md", include_str!("ts/README.md.in")),
    (".gitignore", include_str!("ts/gitignore.in")),
];

const GO: [(&str, &str); 6] = [
    ("go.mod", include_str!("go/go.mod.in")),
    ("main.go", include_str!("go/main.go.in")),
    ("main_test.go", include_str!("go/main_test.go.in")),
    ("{{name}}.toml", include_str!("go/manifest.toml.in")),
    ("README.md", include_str!("go/README.md.in")),
    (".gitignore", include_str!("go/gitignore.in")),
];

const C: [(&str, &str); 5] = [
    ("src/plugin.c", include_str!("c/plugin.c.in")),
    ("tests/tests.c", include_str!("c/tests.c.in")),
    ("{{name}}.toml", include_str!("c/manifest.toml.in")),
    ("README.md", include_str!("c/README.md.in")),
    (".gitignore", include_str!("c/gitignore.in")),
];

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::config::{Config, Manifest};

    #[test]
    fn a_project_of_every_language_has_its_name_everywhere_and_its_sdk() {
        let workshop = tempfile::tempdir().expect("a folder");
        for lang in Lang::value_variants() {
            let folder = workshop.path().join(format!("{lang:?}").to_lowercase());
            let folder = folder.join("geo-balancer");
            let project = create(&folder, *lang).expect("made");
            assert_eq!(project.name, "geo-balancer");
            let mut texts = String::new();
            for file in &project.files {
                let text = fs::read_to_string(folder.join(file)).expect("written");
                assert!(
                    !text.contains("{{name") && !text.contains("{{type"),
                    "{file}: {text}"
                );
                texts.push_str(&text);
            }
            assert!(texts.contains("geo-balancer"), "{lang:?}");
            assert_eq!(Language::of(&folder), Some(lang.language()), "{lang:?}");
            let sdk = folder.join(".postern/sdk").join(lang.language().sdk());
            assert!(fs::read_dir(&sdk).expect("the SDK").count() > 1, "{lang:?}");
            let ignored = fs::read_to_string(folder.join(".gitignore")).expect("written");
            assert!(
                ignored.contains(".postern") && ignored.contains("*.wasm"),
                "{lang:?}"
            );
            let manifest = fs::read_to_string(folder.join("geo-balancer.toml")).expect("written");
            let manifest = Manifest::parse("geo-balancer.toml", &manifest, &Config::default());
            assert!(!manifest.expect("valid").config.0.is_empty(), "{lang:?}");
        }
    }

    #[test]
    fn a_project_in_rust_refers_to_the_sdk_in_its_own_folder() {
        let workshop = tempfile::tempdir().expect("a folder");
        let folder = workshop.path().join("geo-balancer");
        create(&folder, Lang::Rust).expect("made");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("written");
        let manifest: toml::Table = manifest.parse().expect("TOML");
        let sdk = manifest["dependencies"]["postern-guest"]["path"].as_str();
        let sdk = folder.join(sdk.expect("a path")).join("Cargo.toml");
        let sdk = fs::read_to_string(sdk).expect("the SDK");
        assert!(sdk.contains("name = \"postern-guest\""));
        let source = fs::read_to_string(folder.join("src/lib.rs")).expect("written");
        assert!(source.contains("struct GeoBalancer;"));
    }

    #[test]
    fn refuses_names_and_folders_that_do_not_do() {
        let workshop = tempfile::tempdir().expect("a folder");
        for name in ["Greeter", "9lives", "a_b", "a-", "-a", "ä", &"a".repeat(65)] {
            let refused = create(&workshop.path().join(name), Lang::Rust);
            assert!(matches!(refused, Err(ScaffoldError::Name { .. })), "{name}");
        }
        let longest = workshop.path().join("a".repeat(64));
        assert!(create(&longest, Lang::Rust).is_ok());
        assert!(matches!(
            create(&longest, Lang::Rust),
            Err(ScaffoldError::Exists(_))
        ));
    }

    #[test]
    fn what_cannot_be_written_whole_is_not_left_behind() {
        let workshop = tempfile::tempdir().expect("a folder");
        fs::write(workshop.path().join("file"), "").expect("written");
        let folder = workshop.path().join("file/greeter");
        let refused = create(&folder, Lang::Rust);
        assert!(matches!(refused, Err(ScaffoldError::Unwritable { .. })));
        assert!(!folder.exists());
    }
}
