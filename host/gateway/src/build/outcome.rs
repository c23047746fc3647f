//! What a build tells on its way, and what comes of it.

use std::{io, path::PathBuf, process::Command, time::Duration};

use postern_wasm::Role;

use super::language::Language;

/// What a build does, for a progress display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BuildProgress {
    /// The toolchain lacks the target; rustup installs it.
    InstallingTarget { target: &'static str },
    /// Tools are installed into the user's cache, once.
    InstallingTools { tools: String },
    /// Another process installs the same tools, or builds the same project.
    Waiting { what: String },
    /// The compiler begins with these packages.
    Started { names: Vec<String> },
    /// A step of the build of one project.
    Step { name: String, step: &'static str },
    /// One crate is done; `fresh` when nothing had to be compiled.
    Compiled { name: String, fresh: bool },
    /// What the compiler warns of, though it compiled.
    Warned { diagnostics: String },
}

/// A component that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Built {
    /// The package's name, which is the plugin's.
    pub name: String,
    /// `DIR/NAME.wasm`.
    pub component: PathBuf,
    pub octets: u64,
    /// Of the whole invocation of the compiler.
    pub took: Duration,
    /// Whether the file differs from the one that was there. Only then it was replaced.
    pub changed: bool,
}

/// What came of one project.
#[derive(Debug)]
pub(crate) struct BuildOutcome {
    pub folder: PathBuf,
    pub result: Result<Built, BuildError>,
}

/// The unit tests of a project.
#[derive(Debug)]
pub(crate) struct UnitTests {
    pub command: Command,
    /// What the command ends with, behind the arguments that a user adds.
    pub packages: Option<&'static str>,
    /// What the runner exits with when it finds no test.
    pub none_code: Option<i32>,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{} is no plugin project: it has none of {}", .0.display(), project_files())]
    NoProject(PathBuf),
    #[error("package \"{name}\" makes no component: its library is no cdylib")]
    NoComponent { name: String },
    #[error("cannot run {program}: {source}")]
    NoProgram {
        program: &'static str,
        source: io::Error,
    },
    #[error("{program} is version {found}, at least {least} is needed")]
    TooOld {
        program: &'static str,
        found: String,
        least: &'static str,
    },
    #[error("there is no folder for what is installed: neither XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    /// The installer's own words are in `diagnostics`. Nothing of it is used.
    #[error("cannot install {tools}")]
    NotInstalled { tools: String, diagnostics: String },
    #[error("target {target} is missing, and rustup could not install it: {reason}")]
    NoTarget {
        target: &'static str,
        reason: String,
    },
    #[error("cannot read the project {}: {reason}", folder.display())]
    Unreadable { folder: PathBuf, reason: String },
    /// The compiler's own words are in `diagnostics`.
    #[error("{} does not compile", names.join(", "))]
    Failed {
        names: Vec<String>,
        diagnostics: String,
    },
    #[error("{name} has no role: it exports none of {}", roles())]
    NoRole { name: String },
    #[error("{name} is no component: {reason}")]
    NotEncoded { name: String, reason: String },
    /// A build writes there, and would write elsewhere.
    #[error("{} is a link, and a build writes there", .0.display())]
    Linked(PathBuf),
    #[error("cannot write {}: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

impl BuildError {
    /// What to do about it.
    #[must_use]
    pub(crate) fn remedy(&self) -> Option<String> {
        match self {
            Self::NoProject(_) => {
                Some("begin one with `postern new NAME`, or name its folder".to_owned())
            }
            Self::NoComponent { .. } => {
                Some("add to Cargo.toml: [lib] crate-type = [\"cdylib\"]".to_owned())
            }
            Self::NoProgram { program, .. } | Self::TooOld { program, .. } => {
                Some(remedy_for(program).to_owned())
            }
            Self::NoCache => Some("set XDG_CACHE_HOME to a folder that is yours".to_owned()),
            Self::NotInstalled { .. } => Some(
                "the registry of the language must be within reach, and have the versions that are named"
                    .to_owned(),
            ),
            Self::NoTarget { target, .. } => Some(format!(
                "run `rustup target add {target}` and see what it says"
            )),
            Self::NoRole { .. } => {
                Some("register a handler as the README of the project shows".to_owned())
            }
            Self::Linked(_) => Some("remove the link, or put a folder in its place".to_owned()),
            Self::Unreadable { .. }
            | Self::Failed { .. }
            | Self::NotEncoded { .. }
            | Self::Unwritable { .. } => None,
        }
    }

    /// Whether the machine lacks what the language needs, and the project may be sound.
    #[must_use]
    pub(crate) const fn is_toolchain(&self) -> bool {
        matches!(
            self,
            Self::NoProgram { .. }
                | Self::TooOld { .. }
                | Self::NoCache
                | Self::NotInstalled { .. }
                | Self::NoTarget { .. }
        )
    }

    /// What a program that failed has said.
    #[must_use]
    pub(crate) fn diagnostics(&self) -> Option<&str> {
        match self {
            Self::Failed { diagnostics, .. } | Self::NotInstalled { diagnostics, .. } => {
                Some(diagnostics)
            }
            Self::NoProject(_)
            | Self::NoComponent { .. }
            | Self::NoProgram { .. }
            | Self::TooOld { .. }
            | Self::NoCache
            | Self::NoTarget { .. }
            | Self::Unreadable { .. }
            | Self::NoRole { .. }
            | Self::NotEncoded { .. }
            | Self::Linked(_)
            | Self::Unwritable { .. } => None,
        }
    }
}

fn remedy_for(program: &str) -> &'static str {
    match program {
        "go" => "install Go 1.24 or newer: https://go.dev/dl",
        "node" | "npm" => "install Node.js 20 or newer with npm: https://nodejs.org",
        "python3" => {
            "install Python 3.11 or newer with pip and venv: https://www.python.org \
             (Debian: apt install python3-venv)"
        }
        _ => "install Rust: https://rustup.rs, then open a new shell",
    }
}

fn project_files() -> String {
    Language::ALL.map(Language::project_file).join(", ")
}

fn roles() -> String {
    let ours = Role::ALL
        .into_iter()
        .filter(|role| role.foreign().is_none());
    let names: Vec<_> = ours.map(Role::name).collect();
    names.join(", ")
}
