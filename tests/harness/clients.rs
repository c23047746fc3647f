//! Clients of others: programs that a test runs against a gateway, and what they say.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{process::Finished, tools::python};

/// How long a program of others may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A client that runs while the gateway is killed. It says `running: ok` once it is served, ends when it
/// reads `stop`, and says a line for each claim then.
#[derive(Debug)]
pub struct RunningClient {
    pub child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl RunningClient {
    /// Starts it, and waits until it is served.
    ///
    /// # Panics
    /// When it does not start, or says another thing first.
    pub async fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let input = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut running = Self {
            child,
            input,
            lines,
        };
        assert_eq!(running.line().await.as_deref(), Some("running: ok"));
        running
    }

    /// Has it stop, and gives what it says then.
    ///
    /// # Panics
    /// When it has ended before.
    pub async fn stop(&mut self) -> Vec<String> {
        self.input.write_all(b"stop\n").await.expect("it reads");
        let mut told = Vec::new();
        while let Some(line) = self.line().await {
            told.push(line);
        }
        told
    }

    async fn line(&mut self) -> Option<String> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        line.ok()?.ok()?
    }
}

/// A script below `tests/gateway`, to be run by Python.
#[must_use]
pub fn python_script(path: &str) -> Command {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python());
    command
        .arg(tests.join("gateway").join(path))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a program to its end.
///
/// # Panics
/// When it does not run, or not to its end within five minutes.
pub async fn said(command: &mut Command) -> Finished {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| failed(command, &format!("not within {PATIENCE:?}")));
    let output = output.unwrap_or_else(|error| failed(command, &error.to_string()));
    output.into()
}

#[expect(clippy::panic, reason = "a test that cannot run fails and says why")]
fn failed(command: &Command, reason: &str) -> ! {
    panic!("{command:?}: {reason}")
}
