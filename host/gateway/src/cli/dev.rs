//! `postern dev`: builds the projects in the plugin folder, serves, and builds again what changes. Each
//! language has a thread of its own: a build of Python's takes half a minute, one of Rust's a second.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use postern_net::{PassedSockets, Shutdown};
use serde_json::json;

use super::{
    build,
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    progress::Display,
    run::{self, RunArgs},
    runtime::block_on,
    sources::{ProjectChange, Sources},
};
use crate::{
    app::{self, ServingAddresses},
    build::{BuildOutcome, Language, find_projects, projects},
    config::{Approval, Loaded},
};

pub(super) fn dev(
    options: &SharedOptions,
    args: &RunArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let loaded = load(options, args, output)?;
    let folder = loaded.config.plugins.folder.clone();
    let found = find_projects(&folder);
    let found = found.map_err(|error| {
        CommandFailure::new(format!(
            "cannot read the plugin folder {}: {error}",
            folder.display()
        ))
    })?;
    if found.is_empty() {
        output.note(&format!(
            "no plugin projects in {}; begin one: postern new --lang rust {}",
            folder.display(),
            folder.join("greeter").display(),
        ));
    }
    // Watched from before the first build, so that no change falls between the two.
    let (changes, changed) = mpsc::channel();
    let sources = Sources::watch(&folder, changes);
    let _sources = sources.map_err(|error| {
        CommandFailure::new(format!("cannot watch {}: {error}", folder.display()))
    })?;
    build_all(&found, Display::new(output), output);
    thread::scope(|scope| {
        // All of them end when the watcher does, with `_sources`.
        scope.spawn(move || {
            let mut builders = BTreeMap::new();
            while let Ok(ProjectChange { project }) = changed.recv() {
                let Some(language) = Language::of(&project) else {
                    continue;
                };
                let builder = builders.entry(language).or_insert_with(|| {
                    let (builder, changed) = mpsc::channel();
                    scope.spawn(move || rebuild(&changed, output));
                    builder
                });
                // A builder goes on for as long as there is something to send to it.
                let _ = builder.send(project);
            }
        });
        let result = block_on(async {
            let announce = |serving: &ServingAddresses| {
                run::announce(serving, output);
                if !output.is_json() {
                    output.note(&hint(&found));
                }
            };
            let served = Box::pin(app::run(
                loaded,
                PassedSockets::default(),
                Shutdown::new(),
                announce,
            ))
            .await;
            served.map_err(|error| run::failure(&error))
        });
        drop(_sources);
        result
    })
}

/// The configuration. Whoever saves a file here is whoever would approve it, so nothing waits for that unless
/// the configuration says so.
fn load(
    options: &SharedOptions,
    args: &RunArgs,
    output: &Output,
) -> Result<Loaded, CommandFailure> {
    let mut loaded = args.load(options, output)?;
    if loaded.config.plugins.approval.is_none() {
        let off = ("POSTERN_PLUGINS_APPROVAL", Approval::Off.name().to_owned());
        loaded = args.load_over(vec![off], options, output)?;
    }
    Ok(loaded.for_development())
}

/// Builds again what changes, until nothing is watched any more.
fn rebuild(changed: &mpsc::Receiver<PathBuf>, output: &Output) {
    while let Ok(first) = changed.recv() {
        let mut folders: Vec<PathBuf> = vec![first];
        folders.extend(changed.try_iter());
        folders.sort();
        folders.dedup();
        build_all(&folders, Display::lines(output), output);
    }
}

fn build_all(folders: &[PathBuf], mut display: Display<'_>, output: &Output) {
    if folders.is_empty() {
        return;
    }
    let outcomes = projects(folders, &mut |progress| display.on(progress));
    drop(display);
    for outcome in &outcomes {
        tell(outcome, output);
    }
}

/// A project that does not build leaves what was built before in service.
fn tell(outcome: &BuildOutcome, output: &Output) {
    match &outcome.result {
        Ok(built) if output.is_json() => {
            // The build goes on whether somebody reads this or not.
            let _ =
                output.line(&json!({ "built": built.name, "changed": built.changed }).to_string());
        }
        Ok(built) => output.note(&format!("built {}", build::line(built))),
        Err(error) if error.is_toolchain() && !output.is_json() => {
            output.note(&format!("left out {}: {error}", outcome.folder.display()));
            for line in error.diagnostics().iter().chain(&error.remedy().as_deref()) {
                output.note(&format!("  {}", line.trim_end().replace('\n', "\n  ")));
            }
        }
        Err(error) => output.failure(&build::failure(error)),
    }
}

/// A first call, as concrete as can be.
fn hint(found: &[PathBuf]) -> String {
    let has = |name: &str| found.iter().any(|folder| folder.ends_with(Path::new(name)));
    let call = match found.first().and_then(|folder| folder.file_name()) {
        _ if has("users") => {
            "postern call users/CreateUser '{\"name\":\"Ada\",\"email\":\"ada@example.org\"}'"
                .to_owned()
        }
        Some(name) => format!(
            "postern services list; postern call {}/METHOD '{{}}'",
            name.to_string_lossy()
        ),
        None => "postern services list".to_owned(),
    };
    format!("try: {call}\nchange a source and save it: the plugin is built and replaced")
}
