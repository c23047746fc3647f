//! A `redis-server` in a folder and at a port of its own.

use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::patiently;

/// A running server. Dropping it kills the process.
pub(super) struct Server {
    child: Option<Child>,
    folder: TempDir,
    pub(super) port: u16,
    arguments: Vec<String>,
    /// What `redis-cli` needs beside the port.
    pub(super) cli: Vec<String>,
}

impl Server {
    pub(super) async fn start(arguments: &[&str]) -> Self {
        Self::start_at(free_port(), arguments).await
    }

    pub(super) async fn start_at(port: u16, arguments: &[&str]) -> Self {
        let mut server = Self::new(port, arguments);
        server.start_again().await;
        server
    }

    /// One that is not running yet.
    pub(super) fn new(port: u16, arguments: &[&str]) -> Self {
        Self {
            child: None,
            folder: tempfile::tempdir().expect("a folder"),
            port,
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            cli: Vec::new(),
        }
    }

    /// Starts it with what it had on its disk.
    pub(super) async fn start_again(&mut self) {
        let log = File::create(self.folder.path().join("log")).expect("a file");
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        let is_configured = self
            .arguments
            .first()
            .is_some_and(|first| first.ends_with(".conf"));
        if !is_configured {
            command.args(["--save", "", "--dir", "."]);
        }
        if !is_configured && !self.arguments.iter().any(|one| one == "--port") {
            command.args(["--port", &port, "--bind", "127.0.0.1"]);
        }
        command.args(&self.arguments);
        let child = command
            .spawn()
            .expect("redis-server is installed (tests/run machine)");
        self.child = Some(child);
        patiently("the server answers", async || {
            let answer = self.run(&["ping"]);
            answer.contains("PONG") || answer.contains("NOAUTH")
        })
        .await;
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What `redis-cli` prints for a command.
    pub(super) fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        let output = command.args(&self.cli).args(arguments).output();
        let output = output.expect("redis-cli is installed (tests/run machine)");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text + &String::from_utf8_lossy(&output.stderr)
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    /// `STOP` or `CONT`.
    pub(super) fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One that nobody listened at a moment ago. The ports of a cluster's bus are 10,000 above.
pub(super) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        if port < 55_000 {
            return port;
        }
    }
}
