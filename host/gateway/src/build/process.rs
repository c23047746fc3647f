//! Runs programs of others and keeps what they say.

use std::{
    io,
    process::{Command, Output, Stdio},
};

use super::outcome::BuildError;

/// A program that was made to fail by what it was given.
#[derive(Debug)]
pub(super) struct ProgramFailure {
    /// Both outputs, one behind the other.
    pub said: String,
}

/// Runs `command` to its end without an input. The inner result is what it made of it.
///
/// # Errors
/// `NoProgram` when there is none called `program`.
pub(super) fn run(
    program: &'static str,
    command: &mut Command,
) -> Result<Result<Output, ProgramFailure>, BuildError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| BuildError::NoProgram { program, source })?;
    Ok(if output.status.success() {
        Ok(output)
    } else {
        Err(ProgramFailure {
            said: said(&output),
        })
    })
}

/// Runs `command` for the project `name`.
///
/// # Errors
/// `NoProgram`, and `Failed` with what the program said.
pub(super) fn compile(
    program: &'static str,
    command: &mut Command,
    name: &str,
) -> Result<Output, BuildError> {
    run(program, command)?.map_err(|failure| BuildError::Failed {
        names: vec![name.to_owned()],
        diagnostics: failure.said,
    })
}

/// Runs `command`, which installs `tools`.
///
/// # Errors
/// `NoProgram`, and `NotInstalled` with what the program said.
pub(super) fn install(
    program: &'static str,
    command: &mut Command,
    tools: &str,
) -> Result<(), BuildError> {
    let installed = run(program, command)?;
    installed
        .map(drop)
        .map_err(|failure| BuildError::NotInstalled {
            tools: tools.to_owned(),
            diagnostics: failure.said,
        })
}

/// The version that `command` prints; `least` is compared with its first two numbers.
///
/// # Errors
/// `NoProgram` when it does not run, `TooOld` when it is older.
pub(super) fn version(
    program: &'static str,
    command: &mut Command,
    least: &'static str,
) -> Result<String, BuildError> {
    let output = run(program, command)?.map_err(|failure| BuildError::NoProgram {
        program,
        source: io::Error::other(failure.said),
    })?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if numbers(&found) < numbers(least) {
        return Err(BuildError::TooOld {
            program,
            found,
            least,
        });
    }
    Ok(found)
}

fn said(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    let parts = parts.map(|octets| String::from_utf8_lossy(octets).trim().to_owned());
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("\n")
}

/// The first two numbers in a text: `go1.26.8` is (1, 26).
fn numbers(version: &str) -> (u32, u32) {
    let parts = version.split(|c: char| !c.is_ascii_digit());
    let mut numbers = parts.filter_map(|part| part.parse().ok());
    let mut next = || numbers.next().unwrap_or_default();
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let printed = |text: &str| version("go", Command::new("echo").arg(text), "1.25");
        for new in ["go1.25", "go1.26.8", "go2.0"] {
            assert_eq!(printed(new).expect(new), new);
        }
        for old in ["go1.24.11", "go1.9", "v0.99", "?"] {
            assert!(
                matches!(printed(old), Err(BuildError::TooOld { .. })),
                "{old}"
            );
        }
    }

    #[test]
    fn a_missing_program_is_named_with_what_to_install() {
        let mut command = Command::new("no-such-program-of-postern");
        let error = version("node", &mut command, "20.0").expect_err("none");
        assert!(
            error.to_string().starts_with("cannot run node: "),
            "{error}"
        );
        let remedy = error.remedy().unwrap_or_default();
        assert!(remedy.contains("Node.js 20"), "{remedy}");
    }

    #[test]
    fn a_failure_keeps_both_outputs() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let error = compile("sh", &mut command, "greeter").expect_err("it fails");
        assert_eq!(error.diagnostics(), Some("one\ntwo"));
    }
}
