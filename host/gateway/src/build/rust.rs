//! Projects in Rust: cargo compiles them for a target that makes components, those of one workspace
//! in one run.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use postern_system::clock;

use super::{
    cargo::{self, WorkspaceMember},
    outcome::{BuildError, BuildOutcome, BuildProgress, Built, UnitTests},
    placed, sdk, toolchain,
};

/// Builds these projects. When a run fails, each project is built alone, so that one broken project
/// does not hold up the others.
pub(super) fn projects(
    mut left: BTreeSet<PathBuf>,
    on: &mut dyn FnMut(BuildProgress),
) -> Vec<BuildOutcome> {
    let mut outcomes = Vec::new();
    while let Some(folder) = left.pop_first() {
        let found = provide_sdk(&folder).and_then(|()| cargo::workspace_of(&folder));
        let members = match found {
            Ok(members) => members,
            Err(error) => {
                let result = Err(error);
                outcomes.push(BuildOutcome { folder, result });
                continue;
            }
        };
        let first = members.iter().find(|member| member.is_in(&folder)).cloned();
        let Some(first) = first else {
            let result = Err(BuildError::Unreadable {
                folder: folder.clone(),
                reason: "it belongs to no package of its workspace".to_owned(),
            });
            outcomes.push(BuildOutcome { folder, result });
            continue;
        };
        let group = take_group(folder, first, &members, &mut left);
        build_group(group, on, &mut outcomes);
    }
    outcomes
}

/// The project's own unit tests, for the machine that builds.
pub(super) fn tests(folder: &Path) -> Result<UnitTests, BuildError> {
    provide_sdk(folder)?;
    let mut command = Command::new("cargo");
    command.arg("test").current_dir(folder);
    Ok(UnitTests {
        command,
        packages: None,
        none_code: None,
    })
}

/// Writes the SDK into a project that refers to it there. Others say themselves where theirs is.
fn provide_sdk(folder: &Path) -> Result<(), BuildError> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml"));
    let refers = manifest.is_ok_and(|manifest| manifest.contains(SDK));
    if refers {
        sdk::unpack("rust", folder)?;
    }
    Ok(())
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

/// Puts what cargo made of a project into its folder.
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
    let component = fs::read(&artifact.path).map_err(unreadable)?;
    placed::put(folder, &name, &component, took)
}

/// Where projects made by `postern new` refer to the SDK.
const SDK: &str = ".postern/sdk/rust";
