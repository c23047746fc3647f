//! `postern build`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde_json::json;

use super::{failure::CommandFailure, output::Output, progress::Display};
use crate::build::{self, BuildError, Built};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern build                  the project in this folder
  postern build plugins/users    leaves plugins/users/users.wasm

The language is told by its file: Cargo.toml, go.mod, package.json, pyproject.toml, or src/plugin.c.
The compiler's target wasm32-wasip2 is installed by rustup where it is missing; what other languages
need goes once, in pinned versions, into $XDG_CACHE_HOME/postern or ~/.cache/postern. Equal sources
are not built twice in one folder, unless packages of npm, a requirements.txt or files of other folders
are part of the component.

A build runs code of the project: build scripts and macros in Rust, what the module does when it is
loaded in JavaScript, TypeScript and Python. Build only what you trust.")]
pub(super) struct BuildArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(super) fn build(args: &BuildArgs, output: &Output) -> Result<(), CommandFailure> {
    let mut display = Display::new(output);
    let result = build::project(&args.dir, &mut |progress| display.on(progress));
    drop(display);
    let built = result.map_err(|error| failure(&error))?;
    if output.is_json() {
        return output.json(&json!({
            "name": built.name,
            "component": built.component,
            "octets": built.octets,
            "seconds": built.took.as_secs_f64(),
            "changed": built.changed,
        }));
    }
    output.line(&line(&built))
}

/// `plugins/users/users.wasm, 97 KiB, in 3.2 s`.
pub(super) fn line(built: &Built) -> String {
    let unchanged = if built.changed { "" } else { ", unchanged" };
    format!(
        "{}, {} KiB, in {}{unchanged}",
        built.component.display(),
        built.octets.div_ceil(1024),
        seconds(built.took),
    )
}

pub(super) fn failure(error: &BuildError) -> CommandFailure {
    let mut failure = CommandFailure::new(error.to_string());
    failure.remedy = error.remedy();
    if let Some(diagnostics) = error.diagnostics() {
        failure.drawing = Some(format!("{}\nerror: {error}\n", diagnostics.trim_end()));
        failure.json = Some(json!({ "error": error.to_string(), "diagnostics": diagnostics }));
    }
    failure
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
