//! Plugin projects into components. A project is a folder with a `Cargo.toml` that makes a `cdylib`;
//! built, it holds `NAME.wasm`, put there by rename, so that a running gateway sees whole files only.

mod cargo;
mod outcome;
mod toolchain;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use postern_system::clock;

pub(crate) use self::{
    cargo::WorkspaceMember,
    outcome::{BuildError, BuildOutcome, BuildProgress, Built},
};

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

/// Builds many projects; those that share a workspace in one run of the compiler. When that fails,
/// each is built alone, so that one broken project does not hold up the others.
pub(crate) fn projects(
    folders: &[PathBuf],
    on: &mut dyn FnMut(BuildProgress),
) -> Vec<BuildOutcome> {
    let mut outcomes = Vec::new();
    let mut left: BTreeSet<PathBuf> = folders.iter().cloned().collect();
    while let Some(folder) = left.pop_first() {
        let group = match cargo::workspace_of(&folder) {
            Ok(members) => {
                let first = members.iter().find(|member| member.is_in(&folder)).cloned();
                let Some(first) = first else {
                    let reason = "it belongs to no package of its workspace".to_owned();
                    let error = BuildError::Unreadable {
                        folder: folder.clone(),
                        reason,
                    };
                    outcomes.push(BuildOutcome {
                        folder,
                        result: Err(error),
                    });
                    continue;
                };
                take_group(folder, first, &members, &mut left)
            }
            Err(error) => {
                outcomes.push(BuildOutcome {
                    folder,
                    result: Err(error),
                });
                continue;
            }
        };
        build_group(group, on, &mut outcomes);
    }
    outcomes
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
        .filter(|path| path.join("Cargo.toml").is_file())
        .collect();
    projects.sort();
    Ok(projects)
}

type Group = Vec<(PathBuf, WorkspaceMember)>;

/// The project and all others of its workspace that are still to be built.
fn take_group(
    folder: PathBuf,
    first: WorkspaceMember,
    members: &[WorkspaceMember],
    left: &mut BTreeSet<PathBuf>,
) -> Group {
    let mut group = vec![(folder, first)];
    for other in left.clone() {
        if let Some(member) = members.iter().find(|member| member.is_in(&other)) {
            left.remove(&other);
            group.push((other, member.clone()));
        }
    }
    group
}

fn build_group(group: Group, on: &mut dyn FnMut(BuildProgress), outcomes: &mut Vec<BuildOutcome>) {
    let (group, no_component): (Group, Group) = group
        .into_iter()
        .partition(|(_, member)| member.is_component);
    for (folder, member) in no_component {
        let result = Err(BuildError::NoComponent { name: member.name });
        outcomes.push(BuildOutcome { folder, result });
    }
    let Some((folder, _)) = group.first() else {
        return;
    };
    let began = clock::now();
    let compiled = toolchain::ensure_target(folder, on).and_then(|()| {
        let members: Vec<_> = group.iter().map(|(_, member)| member).collect();
        cargo::build(&members, on)
    });
    match compiled {
        Ok(artifacts) => {
            for (folder, member) in group {
                let result = place(&folder, &member, &artifacts, clock::since(began));
                outcomes.push(BuildOutcome { folder, result });
            }
        }
        Err(BuildError::Failed { .. }) if group.len() > 1 => {
            for project in group {
                build_group(vec![project], on, outcomes);
            }
        }
        Err(error) => {
            // Only the first outcome carries the error itself; it concerns the toolchain.
            let reason = error.to_string();
            let mut error = Some(error);
            for (folder, _) in group {
                let unreadable = || BuildError::Unreadable {
                    folder: folder.clone(),
                    reason: reason.clone(),
                };
                let result = Err(error.take().unwrap_or_else(unreadable));
                outcomes.push(BuildOutcome { folder, result });
            }
        }
    }
}

/// Puts the component into the project's folder, unless the same one is there.
fn place(
    folder: &Path,
    member: &WorkspaceMember,
    artifacts: &[cargo::Artifact],
    took: Duration,
) -> Result<Built, BuildError> {
    let name = member.name.clone();
    let artifact = artifacts
        .iter()
        .find(|artifact| artifact.manifest == member.manifest);
    let Some(artifact) = artifact else {
        return Err(BuildError::NoComponent { name });
    };
    let unreadable = |error: io::Error| BuildError::Unreadable {
        folder: folder.to_owned(),
        reason: format!("{}: {error}", artifact.path.display()),
    };
    let octets = fs::read(&artifact.path).map_err(unreadable)?;
    let component = folder.join(format!("{name}.wasm"));
    let changed = fs::read(&component).map_or(true, |there| there != octets);
    if changed {
        let beside = folder.join(format!(".{name}.wasm.tmp"));
        let written = fs::write(&beside, &octets).and_then(|()| fs::rename(&beside, &component));
        written.map_err(|source| BuildError::Unwritable {
            path: component.clone(),
            source,
        })?;
    }
    Ok(Built {
        name,
        component,
        octets: octets.len() as u64,
        took,
        changed,
    })
}

#[cfg(test)]
mod tests;
