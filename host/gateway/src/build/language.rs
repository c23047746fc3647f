//! Which language a project is written in: by the file that every project of it has.

use std::path::Path;

/// What a toolchain builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Language {
    Rust,
    C,
    Go,
    /// TypeScript, too.
    JavaScript,
    Python,
}

impl Language {
    /// In the order of how long a build takes.
    pub(crate) const ALL: [Self; 5] = [
        Self::Rust,
        Self::C,
        Self::Go,
        Self::JavaScript,
        Self::Python,
    ];

    /// The language of the project in `folder`; `None` when it holds none.
    #[must_use]
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let is_there = |language: &Self| folder.join(language.project_file()).is_file();
        Self::ALL.into_iter().find(is_there)
    }

    /// The file that makes a folder a project.
    #[must_use]
    pub(crate) const fn project_file(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::C => "src/plugin.c",
            Self::Go => "go.mod",
            Self::JavaScript => "package.json",
            Self::Python => "pyproject.toml",
        }
    }

    /// Its folder in `guest-sdk`.
    #[must_use]
    pub(crate) const fn sdk(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Go => "go",
            Self::JavaScript => "js",
            Self::Python => "python",
        }
    }
}
