//! Plugin projects into components. A project is a folder with the project file of its language; built,
//! it holds `NAME.wasm`, put there by rename, so that a running gateway sees whole files only.
//!
//! ```text
//! folder ─▶ language ─▶ SDK into .postern/ ─▶ tools, pinned, in the user's cache ─▶ compiler
//!        ─▶ world of the roles that the code has ─▶ component ─▶ NAME.wasm
//! ```
//! A language is a file here (`rust`, `c`, `go`, `javascript`, `python`) and a line in `language.rs`.

mod c;
mod cache;
mod cargo;
mod compilers;
mod content;
mod go;
mod inspection;
mod javascript;
mod language;
mod outcome;
mod placed;
mod process;
mod project;
mod python;
mod reach;
mod rust;
mod sdk;
mod toolchain;
mod world;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use postern_system::clock;

use self::{
    cache::{Cache, Lock},
    project::Project,
};
pub(crate) use self::{
    content::is_source,
    inspection::{ComponentReport, InspectionError, inspect},
    language::Language,
    outcome::{BuildError, BuildOutcome, BuildProgress, Built, UnitTests},
};

/// A folder of the user's that is kept between runs; `None` where the environment names none.
#[must_use]
pub(crate) fn kept_folder(name: &str) -> Option<PathBuf> {
    Some(Cache::of_user().ok()?.of_tool(name))
}

/// Builds one project.
///
/// # Errors
/// Everything in `BuildError`.
pub(crate) fn project(
    folder: &Path,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<Built, BuildError> {
    let folders = [folder.to_owned()];
    match projects(&folders, on).pop() {
        Some(outcome) => outcome.result,
        None => Err(BuildError::NoProject(folder.to_owned())),
    }
}

/// Builds many projects, those that take the shortest time first.
pub(crate) fn projects(
    folders: &[PathBuf],
    on: &mut dyn FnMut(BuildProgress),
) -> Vec<BuildOutcome> {
    let (mut outcomes, mut in_rust, mut others) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for folder in folders {
        match Language::of(folder) {
            None => outcomes.push(BuildOutcome {
                folder: folder.clone(),
                result: Err(BuildError::NoProject(folder.clone())),
            }),
            Some(Language::Rust) => drop(in_rust.insert(folder.clone())),
            Some(language) => drop(others.insert((language, folder.clone()))),
        }
    }
    outcomes.extend(rust::projects(in_rust, on));
    for (language, folder) in others {
        let result = build(&folder, language, on);
        outcomes.push(BuildOutcome { folder, result });
    }
    outcomes
}

/// How the unit tests of the project in `folder` are run, with all that they need in place.
///
/// # Errors
/// Everything in `BuildError`.
pub(crate) fn tests(
    folder: &Path,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<UnitTests, BuildError> {
    match Language::of(folder) {
        None => Err(BuildError::NoProject(folder.to_owned())),
        Some(Language::Rust) => rust::tests(folder),
        Some(language) => {
            let cache = Cache::of_user()?;
            let project = Project::open(folder, language)?;
            let _lock = Lock::take(&project.own("lock"), &project.name, on)?;
            provide_sdk(&project.folder, language)?;
            compilers::prepare(language, &project, on)?;
            compilers::tests(language, &project, &cache, on)
        }
    }
}

/// Writes the SDK into a project where this binary's is not there yet.
///
/// # Errors
/// `Unwritable`.
pub(crate) fn provide_sdk(folder: &Path, language: Language) -> Result<(), BuildError> {
    sdk::unpack(language.sdk(), folder)?;
    match language {
        Language::JavaScript => javascript::provide_sdk(folder),
        Language::Rust | Language::C | Language::Go | Language::Python => Ok(()),
    }
}

/// Folders directly below `folder` that hold a project, in order.
///
/// # Errors
/// Whatever the system says of the folder; one that is not there holds none.
pub(crate) fn find_projects(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let folders = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut projects: Vec<_> = folders
        .filter(|path| Language::of(path).is_some())
        .collect();
    projects.sort();
    Ok(projects)
}

/// Builds a project whose sources are all in its folder, unless a component of the same sources, SDK
/// and tools was kept.
fn build(
    folder: &Path,
    language: Language,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<Built, BuildError> {
    let began = clock::now();
    let cache = Cache::of_user()?;
    let project = Project::open(folder, language)?;
    let Project { folder: real, name } = &project;
    let _lock = Lock::take(&project.own("lock"), name, on)?;
    provide_sdk(real, language)?;
    compilers::prepare(language, &project, on)?;
    let pins = compilers::pins(language, &project)?;
    let unreadable = |error: io::Error| BuildError::Unreadable {
        folder: folder.to_owned(),
        reason: error.to_string(),
    };
    // Read once: what is written while it compiles is for the next build.
    let sources = content::digest(real, name, language).map_err(unreadable)?;
    let digest = || {
        let packages = content::packages_digest(real, language).map_err(unreadable)?;
        // The folder is a part of it: what a build finds there beside the sources makes no component
        // for the same sources elsewhere.
        let digest = sources.as_ref().zip(packages).map(|(sources, packages)| {
            let texts = [
                pins.as_bytes(),
                sdk::digest().as_bytes(),
                sources.as_bytes(),
                packages.as_bytes(),
                real.as_os_str().as_encoded_bytes(),
            ];
            sdk::digest_of(&texts)
        });
        Ok::<_, BuildError>(digest)
    };
    let kept = digest()?.and_then(|digest| cache.component(&digest));
    let component = match kept {
        Some(component) => component,
        None => {
            let component = compilers::compile(language, &project, &cache, on)?;
            // Again: it has installed the packages that were missing.
            let kept = digest()?.map(|digest| cache.keep(&digest, &component));
            if let Some(Err(error)) = kept {
                let diagnostics = format!("the next build is a whole one: {error}");
                on(BuildProgress::Warned { diagnostics });
            }
            component
        }
    };
    // Into the folder as it was named: that is what people are shown.
    placed::put(folder, name, &component, clock::since(began))
}

#[cfg(test)]
mod tests;
