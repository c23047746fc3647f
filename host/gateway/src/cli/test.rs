//! `postern test`: the unit tests of a project, then its recorded calls.

use std::{
    fs,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use clap::Args;
use serde_json::{Value as Json, json};

use super::{
    build,
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    progress::Display,
    replays::{self, FileReplay},
    runtime::block_on,
};
use crate::{
    build::{self as builds, UnitTests},
    recording::LocalReplay,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern test                      the unit tests of the project in this folder
  postern test plugins/users
  postern test . -- -k greets       what follows -- goes to the runner of the language
  postern test --update             take the answers of recorded calls as they are

The runners: cargo test, go test, node --test, pytest, and for C a program of its own. Exits with 1
when a test fails, and when pytest finds none for the arguments behind --. No gateway is needed: tests
call the plugin through the SDK's fake host, and run on this machine with your rights.

Where the project has recorded calls, tests/*.calls as `postern record` writes them, the component is built and
answers each of them once more: told the same time, random numbers and answers of the host, its replies must
be the same bit for bit.")]
pub(super) struct TestArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The folder of recorded calls; DIR/tests when absent.
    #[arg(long, value_name = "FOLDER")]
    calls: Option<PathBuf>,
    /// Put the new answers into the files, after showing what differs.
    #[arg(long)]
    update: bool,
    /// Arguments of the runner.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(super) fn test(
    options: &SharedOptions,
    args: &TestArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let said = unit_tests(args, output)?;
    let files = recordings(args)?;
    if files.is_empty() {
        return match output.is_json() {
            true => output.json(&json!({ "passed": true, "said": said })),
            false => Ok(()),
        };
    }
    let replayed = replay(options, args, &files, output)?;
    let verdict = match args.update {
        true => updated(&replayed),
        false => replays::verdict(&replayed),
    };
    if output.is_json() {
        let passed = verdict.is_ok();
        let calls: Vec<_> = replayed.iter().map(FileReplay::to_json).collect();
        let json = json!({ "passed": passed, "said": said, "calls": calls });
        return match verdict {
            Ok(()) => output.json(&json),
            Err(message) => Err(CommandFailure {
                json: Some(json),
                ..CommandFailure::new(message)
            }),
        };
    }
    replays::show(&replayed, output)?;
    verdict.map_err(|message| {
        let failure = CommandFailure::new(message);
        failure.with_remedy("if the new answers are right: postern test --update")
    })
}

/// Whether everything that differed is in the files now.
fn updated(files: &[FileReplay]) -> Result<(), String> {
    match files.iter().map(|file| file.counts.fault).sum::<u64>() {
        0 => Ok(()),
        left => Err(format!("{left} recorded calls were not updated")),
    }
}

/// The files of recorded calls, in order. A folder that was not named need not be there.
fn recordings(args: &TestArgs) -> Result<Vec<PathBuf>, CommandFailure> {
    let folder = args.calls.clone();
    let folder = folder.unwrap_or_else(|| args.dir.join("tests"));
    let unreadable =
        |error: std::io::Error| CommandFailure::new(format!("{}: {error}", folder.display()));
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && args.calls.is_none() => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(unreadable)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|end| end == "calls") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() && args.calls.is_some() {
        let message = format!("{} holds no file *.calls", folder.display());
        return Err(CommandFailure::new(message));
    }
    Ok(files)
}

/// Builds the project and has it answer the calls of all files.
fn replay(
    options: &SharedOptions,
    args: &TestArgs,
    files: &[PathBuf],
    output: &Output,
) -> Result<Vec<FileReplay>, CommandFailure> {
    let mut display = Display::new(output);
    let built = builds::project(&args.dir, &mut |progress| display.on(progress));
    drop(display);
    let built = built.map_err(|error| build::failure(&error))?;
    let config = options.load(&[], output)?.config;
    let package = replays::package(&built.component)?;
    let compiled = builds::kept_folder("compiled");
    let failed = |error: &dyn std::fmt::Display| CommandFailure::new(error.to_string());
    block_on(async {
        let replay = LocalReplay::new(&built.name, package, &config, compiled).await;
        let mut replay = replay.map_err(|error| failed(&error))?;
        let mut replayed = Vec::new();
        for file in files {
            let one = replays::replay_file(&mut replay, file, args.update).await;
            replayed.push(one.map_err(|fault| failed(&fault))?);
        }
        replay.close().await;
        Ok(replayed)
    })
}

/// Runs the unit tests; says what they said, where it is to be told as JSON.
fn unit_tests(args: &TestArgs, output: &Output) -> Result<Json, CommandFailure> {
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
        return match passed {
            true => Ok(said.into()),
            false => Err(CommandFailure {
                json: Some(json!({ "passed": passed, "said": said })),
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
            Ok(Json::Null)
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
