//! What each language needs and does, told apart. A file for each but Rust, which builds many at once.

use super::{
    c,
    cache::Cache,
    go, javascript,
    language::Language,
    outcome::{BuildError, BuildProgress, UnitTests},
    project::Project,
    python,
};

/// What decides, beside sources and SDK, what a build makes.
pub(super) fn pins(language: Language, project: &Project) -> Result<String, BuildError> {
    match language {
        Language::Go => go::pins(project),
        Language::C => Ok(c::PINS.to_owned()),
        Language::JavaScript => Ok(javascript::PINS.to_owned()),
        Language::Python => Ok(python::PINS.to_owned()),
        Language::Rust => Ok(String::new()),
    }
}

/// What has to be in a project's folder before its sources are looked at.
pub(super) fn prepare(
    language: Language,
    project: &Project,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<(), BuildError> {
    match language {
        Language::JavaScript => javascript::prepare(&project.folder, &project.name, on),
        Language::Rust | Language::C | Language::Go | Language::Python => Ok(()),
    }
}

/// The component of a project.
pub(super) fn compile(
    language: Language,
    project: &Project,
    cache: &Cache,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<Vec<u8>, BuildError> {
    match language {
        Language::Go => go::compile(project, on),
        Language::C => c::compile(project, cache, on),
        Language::JavaScript => javascript::compile(project, cache, on),
        Language::Python => python::compile(project, cache, on),
        Language::Rust => Err(BuildError::NoProject(project.folder.clone())),
    }
}

/// How a project is tested, with all that its tests need in place.
pub(super) fn tests(
    language: Language,
    project: &Project,
    cache: &Cache,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<UnitTests, BuildError> {
    match language {
        Language::Go => go::tests(project),
        Language::C => c::tests(project, cache, on),
        Language::JavaScript => javascript::tests(project, cache, on),
        Language::Python => python::tests(project, cache, on),
        Language::Rust => Err(BuildError::NoProject(project.folder.clone())),
    }
}
