//! The compiler's target for components, installed where it is missing.

use std::{
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use postern_system::clock;

use super::outcome::{BuildError, BuildProgress};

/// Components straight from the compiler; no further tool is needed.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// Asks the toolchain of `folder` for the target, and rustup for what it lacks.
pub(super) fn ensure_target(
    folder: &Path,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<(), BuildError> {
    // rustup does not install one target twice at a time, and while it does once, half of it is
    // there: whoever else wants it waits.
    let _turn = TURN.lock();
    if has_target(folder)? {
        return Ok(());
    }
    on(BuildProgress::InstallingTarget { target: TARGET });
    match install(folder) {
        Ok(()) => Ok(()),
        Err(reason) => {
            if installed_by_another(folder)? {
                return Ok(());
            }
            Err(BuildError::NoTarget {
                target: TARGET,
                reason,
            })
        }
    }
}

/// Whether the toolchain that builds in `folder` has the target's libraries.
fn has_target(folder: &Path) -> Result<bool, BuildError> {
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
    Ok(output.status.success() && Path::new(libraries.trim()).is_dir())
}

/// Fails with rustup's last word.
fn install(folder: &Path) -> Result<(), String> {
    let mut rustup = Command::new("rustup");
    let output = run(rustup.args(["target", "add", TARGET]), folder)
        .map_err(|error| format!("cannot run rustup: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let last = told.trim().lines().last();
    Err(last.unwrap_or("it gave no reason").to_owned())
}

/// Whether another process that installs the target at this moment comes to its end.
fn installed_by_another(folder: &Path) -> Result<bool, BuildError> {
    let until = clock::now() + ANOTHER_WAIT;
    while clock::now() < until {
        if has_target(folder)? {
            return Ok(true);
        }
        thread::sleep(ANOTHER_PAUSE);
    }
    Ok(false)
}

fn run(command: &mut Command, folder: &Path) -> std::io::Result<Output> {
    command.current_dir(folder).output()
}

/// Held by the one build of this process that looks for the target or installs it.
static TURN: Mutex<()> = Mutex::new(());

/// An installation takes some seconds, most of them for the download.
const ANOTHER_WAIT: Duration = Duration::from_secs(10);
const ANOTHER_PAUSE: Duration = Duration::from_millis(200);
