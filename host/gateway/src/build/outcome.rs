//! What a build tells on its way, and what comes of it.

use std::{io, path::PathBuf, time::Duration};

/// What a build does, for a progress display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BuildProgress {
    /// The toolchain lacks the target; rustup installs it.
    InstallingTarget { target: &'static str },
    /// The compiler begins with these packages.
    Started { names: Vec<String> },
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
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "tests tell projects apart by it; a result names its files"
        )
    )]
    pub folder: PathBuf,
    pub result: Result<Built, BuildError>,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{} is no plugin project: it has no Cargo.toml", .0.display())]
    NoProject(PathBuf),
    #[error("package \"{name}\" makes no component: its library is no cdylib")]
    NoComponent { name: String },
    #[error("cannot run {program}: {source}")]
    NoProgram {
        program: &'static str,
        source: io::Error,
    },
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
            Self::NoProgram { .. } => {
                Some("install Rust: https://rustup.rs, then open a new shell".to_owned())
            }
            Self::NoTarget { target, .. } => Some(format!(
                "run `rustup target add {target}` and see what it says"
            )),
            Self::Unreadable { .. } | Self::Failed { .. } | Self::Unwritable { .. } => None,
        }
    }
}
