//! `postern test`.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use clap::Args;
use serde_json::json;

use super::{build, failure::CommandFailure, output::Output, progress::Display};
use crate::build::{self as builds, UnitTests};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern test                      the unit tests of the project in this folder
  postern test plugins/users
  postern test . -- -k greets       what follows -- goes to the runner of the language

The runners: cargo test, go test, node --test, pytest, and for C a program of its own. Exits with 1
when a test fails, and when pytest finds none for the arguments behind --. No gateway is needed: tests
call the plugin through the SDK's fake host, and run on this machine with your rights.")]
pub(super) struct TestArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Arguments of the runner.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(super) fn test(args: &TestArgs, output: &Output) -> Result<(), CommandFailure> {
    let mut display = Display::new(output);
    let tests = builds::tests(&args.dir, &mut |progress| display.on(progress));
    drop(display);
    let UnitTests {
        mut command,
        packages,
        none_code,
    } = tests.map_err(|error| build::failure(&error))?;
    command
        .args(&args.arguments)
        .args(packages)
        .stdin(Stdio::null());
    let program = command.get_program().to_string_lossy().into_owned();
    let cannot_run =
        |error: std::io::Error| CommandFailure::new(format!("cannot run {program}: {error}"));
    let found_none = |status: ExitStatus| none_code.is_some() && status.code() == none_code;
    let passed = |status| passed(status, found_none(status), &args.arguments);
    if output.is_json() {
        let run = command.output().map_err(cannot_run)?;
        let said = [run.stdout, run.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let passed = passed(run.status);
        let json = json!({ "passed": passed, "said": said });
        return match passed {
            true => output.json(&json),
            false => Err(CommandFailure {
                json: Some(json),
                ..CommandFailure::new(match found_none(run.status) {
                    true => NONE_FOUND,
                    false => "the tests fail",
                })
            }),
        };
    }
    let status = command.status().map_err(cannot_run)?;
    match passed(status) {
        true => {
            if found_none(status) {
                output.note("no unit tests");
            }
            Ok(())
        }
        false if found_none(status) => Err(CommandFailure::new(NONE_FOUND)),
        false => Err(CommandFailure::new(format!(
            "the tests fail: {program} ended with {status}"
        ))),
    }
}

/// A project may have no tests; arguments that ask for some that are not there are wrong.
fn passed(status: ExitStatus, has_found_none: bool, arguments: &[String]) -> bool {
    status.success() || has_found_none && arguments.is_empty()
}

const NONE_FOUND: &str = "no unit test matches the arguments behind --";

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn no_test_is_a_failure_when_arguments_ask_for_one() {
        let with = |code: i32| ExitStatus::from_raw(code << 8);
        let asked = ["-k".to_owned(), "typo".to_owned()];
        assert!(passed(with(5), true, &[]));
        assert!(!passed(with(5), true, &asked));
        assert!(passed(with(0), false, &asked));
        assert!(!passed(with(1), false, &[]));
    }
}
