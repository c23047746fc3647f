//! A mosquitto of the system, in a folder and at a port of its own, and its clients.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use tempfile::TempDir;

use crate::{
    caller::patiently,
    ports::free_address,
    tools::{ToolProcess, system_tool},
};

/// A broker. Dropping it kills it.
#[derive(Debug)]
pub struct Mosquitto {
    pub address: SocketAddr,
    folder: TempDir,
    process: Option<ToolProcess>,
}

/// Messages that somebody gets from a broker.
#[derive(Debug)]
pub struct MosquittoReading {
    folder: TempDir,
    _process: ToolProcess,
}

impl Mosquitto {
    /// One that takes everybody.
    pub async fn start() -> Self {
        Self::with("allow_anonymous true\n", &[]).await
    }

    /// One with these lines in its configuration, `ROOT` standing for its folder, and these files there.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn with(lines: &str, files: &[(&str, String)]) -> Self {
        let mut broker = Self::prepare(lines, files);
        broker.start_again().await;
        broker
    }

    /// As `with`, but it does not run yet.
    ///
    /// # Panics
    /// When there is no port or no folder.
    #[must_use]
    pub fn prepare(lines: &str, files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            fs::write(folder.path().join(name), content).expect("writable");
        }
        let address = free_address().expect("a free port");
        let root = folder.path().display().to_string();
        let port = address.port();
        let config = format!(
            "listener {port} 127.0.0.1\npersistence true\npersistence_location {root}/\n\
             max_queued_messages 0\n\
             log_dest file {root}/log\nlog_type all\n{}",
            lines.replace("ROOT", &root)
        );
        fs::write(folder.path().join("mosquitto.conf"), config).expect("writable");
        Self {
            address,
            folder,
            process: None,
        }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Ends it in order, so that it has written what it keeps.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        let id = process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("kill runs").success());
        patiently("the broker ends", async || {
            let status = fs::read_to_string(format!("/proc/{id}/status"));
            status.map_or(true, |status| status.contains("State:\tZ"))
        })
        .await;
    }

    /// Starts it with what it has on its disk.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        let config = self.folder.path().join("mosquitto.conf");
        let mut command = Command::new(system_tool("mosquitto"));
        // It gives up its rights otherwise, and cannot write to a folder that is the test's.
        let user = match fs::metadata("/proc/self").is_ok_and(|own| is_root(&own)) {
            true => "user root\n",
            false => "",
        };
        let text = fs::read_to_string(&config).expect("readable");
        if !text.starts_with("user ") {
            fs::write(&config, format!("{user}{text}")).expect("writable");
        }
        command.arg("-c").arg(&config);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = ToolProcess::start(&mut command);
        process.listening(self.address).await;
        self.process = Some(process);
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Everything that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Publishes with `mosquitto_pub`, and waits for its end.
    ///
    /// # Panics
    /// When it fails.
    pub fn publish(&self, topic: &str, payload: &str, more: &[&str]) {
        let mut command = self.client("mosquitto_pub");
        command.args(["-t", topic, "-m", payload]).args(more);
        let output = command.output().expect("mosquitto_pub runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
    }

    /// Publishes a message for each line, and waits until the broker has acknowledged all of them.
    ///
    /// # Panics
    /// When it does not.
    pub fn publish_lines(&self, topic: &str, lines: &str, qos: &str) {
        let mut command = self.client("mosquitto_pub");
        command.args(["-l", "-t", topic, "-q", qos]);
        let mut child = command
            .stdin(Stdio::piped())
            .spawn()
            .expect("mosquitto_pub runs");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(lines.as_bytes()).expect("it reads");
        drop(input);
        assert!(child.wait().expect("it ends").success());
    }

    /// Subscribes with `mosquitto_sub`, and waits until it has.
    ///
    /// # Panics
    /// When it does not subscribe.
    pub async fn read(&self, filter: &str, more: &[&str]) -> MosquittoReading {
        static READERS: AtomicU64 = AtomicU64::new(0);
        let folder = tempfile::tempdir().expect("a folder");
        let id = format!("reader-{}-", READERS.fetch_add(1, Relaxed));
        let lines = File::create(folder.path().join("lines")).expect("writable");
        let told = File::create(folder.path().join("told")).expect("writable");
        let mut command = self.client("mosquitto_sub");
        command.args(["-i", &id, "-t", filter, "-F", "= %t %q %r %p"]);
        command.args(more);
        command.stdout(lines).stderr(told);
        let reading = MosquittoReading {
            _process: ToolProcess::start(&mut command),
            folder,
        };
        let granted = format!("Sending SUBACK to {id}");
        patiently("mosquitto_sub is subscribed", async || {
            self.log().contains(&granted)
        })
        .await;
        reading
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(system_tool(program));
        let port = self.address.port().to_string();
        command.args(["-h", "127.0.0.1", "-p", &port]);
        command.stdin(Stdio::null());
        command
    }
}

impl MosquittoReading {
    fn text(&self) -> String {
        fs::read_to_string(self.folder.path().join("lines")).unwrap_or_default()
    }

    /// What has come: topic, QoS, retain flag, payload.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("= "));
        lines.map(str::to_owned).collect()
    }

    /// Waits until so many have come, and gives them.
    pub async fn at_least(&self, n: usize) -> Vec<String> {
        patiently("the messages have come", async || {
            self.messages().len() >= n
        })
        .await;
        self.messages()
    }

    /// The payloads that have come.
    #[must_use]
    pub fn payloads(&self) -> BTreeSet<String> {
        let messages = self.messages().into_iter();
        let payloads = messages.filter_map(|line| line.splitn(4, ' ').nth(3).map(str::to_owned));
        payloads.collect()
    }

    /// Waits until all of `wanted` have come, however often each.
    pub async fn all_of(&self, wanted: &BTreeSet<String>) {
        patiently("every message has come", async || {
            self.payloads().is_superset(wanted)
        })
        .await;
    }
}

fn is_root(own: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    own.uid() == 0
}

/// A file of the machine's `mosquitto_passwd`, with one user.
///
/// # Panics
/// When there is no such program.
#[must_use]
pub fn mosquitto_passwords(folder: &Path, user: &str, password: &str) -> String {
    let path = folder.join("made");
    let mut command = Command::new(system_tool("mosquitto_passwd"));
    command.args(["-b", "-c"]).arg(&path).args([user, password]);
    assert!(command.status().expect("mosquitto_passwd runs").success());
    fs::read_to_string(path).expect("readable")
}
