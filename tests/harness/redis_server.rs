//! A `redis-server` of the system, in a folder and at a port of its own.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{caller::patiently, tools::system_tool};

/// A server that keeps nothing on its disk unless its arguments say so. Dropping it kills the process.
#[derive(Debug)]
pub struct RedisServer {
    child: Option<Child>,
    folder: TempDir,
    pub port: u16,
    arguments: Vec<String>,
    /// What `redis-cli` needs beside the port.
    pub cli: Vec<String>,
}

impl RedisServer {
    /// Starts one with further `arguments`, and waits until it answers.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut server = Self::prepare(arguments);
        server.start_again().await;
        server
    }

    /// One that does not run yet: files may be put into its folder before.
    ///
    /// # Panics
    /// When there is no port or no folder.
    #[must_use]
    pub fn prepare(arguments: &[&str]) -> Self {
        Self {
            child: None,
            folder: tempfile::tempdir().expect("a folder"),
            port: port(),
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            cli: Vec::new(),
        }
    }

    /// Starts it with what it has on its disk.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn start_again(&mut self) {
        let log = File::create(self.folder.path().join("log")).expect("a file");
        let mut command = Command::new(system_tool("redis-server"));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        match self.arguments.first() {
            Some(first) if first.ends_with(".conf") => {}
            Some(_) | None => {
                command.args(["--save", "", "--bind", "127.0.0.1"]);
                command.args(["--port", &self.port.to_string()]);
            }
        }
        self.child = Some(command.args(&self.arguments).spawn().expect("it starts"));
        patiently("redis-server answers", async || {
            let said = self.run(&["ping"]);
            said.contains("PONG") || said.contains("NOAUTH")
        })
        .await;
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of its folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.folder().join(name), content).expect("the folder is writable");
    }

    /// What `redis-cli` prints for a command.
    ///
    /// # Panics
    /// When it does not run.
    #[expect(
        clippy::must_use_candidate,
        reason = "a command is run for what it does as well"
    )]
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(system_tool("redis-cli"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        let output = command.args(&self.cli).args(arguments).output();
        let output = output.expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// When it had ended before.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    /// Sends `STOP`, `CONT`.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.expect("kill runs").success(), "cannot send {name}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One that nobody listened at a moment ago; the bus of a cluster is 10,000 above it.
fn port() -> u16 {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        if port < 55_000 {
            return port;
        }
    }
}
