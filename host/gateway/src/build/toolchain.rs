//! The compiler's target for components, installed where it is missing.

use std::{
    path::Path,
    process::{Command, Output},
};

use super::{BuildError, Progress};

/// Components straight from the compiler; no further tool is needed.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// Asks the toolchain of `folder` for the target, and rustup for what it lacks.
pub(super) fn ensure_target(folder: &Path, on: &mut dyn FnMut(Progress)) -> Result<(), BuildError> {
    let mut rustc = Command::new("rustc");
    let output = run(
        rustc.args(["--print", "target-libdir", "--target", TARGET]),
        folder,
    )
    .map_err(|source| BuildError::NoProgram {
        program: "rustc",
        source,
    })?;
    let libraries = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    on(Progress::InstallingTarget { target: TARGET });
    let refused = |reason: String| BuildError::NoTarget {
        target: TARGET,
        reason,
    };
    let mut rustup = Command::new("rustup");
    let output = run(rustup.args(["target", "add", TARGET]), folder)
        .map_err(|error| refused(format!("cannot run rustup: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(refused(
        told.trim()
            .lines()
            .last()
            .unwrap_or("it gave no reason")
            .to_owned(),
    ))
}

fn run(command: &mut Command, folder: &Path) -> std::io::Result<Output> {
    command.current_dir(folder).output()
}
