//! A gateway process in a folder of its own: started, waited for, asked, stopped.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use serde_json::Value;
use tempfile::TempDir;

use crate::{caller::patiently, guests, network::Host, ports};

/// What a gateway starts with.
#[derive(Debug, Default)]
pub struct Setup {
    /// Files of the plugin folder: `echo.wasm`, `echo.toml`.
    pub files: Vec<(String, Vec<u8>)>,
    /// `default-service` of the VSTP listener.
    pub default_service: Option<String>,
    /// Further keys of `[listeners.vstp]`, a line each.
    pub vstp: String,
    /// Further keys of `[listeners.http]`, a line each.
    pub http: String,
    /// Further keys of `[admin]`, a line each.
    pub admin: String,
    /// Further tables of `postern.toml`.
    pub config: String,
    /// Where it runs; beside the test when left out.
    pub host: Option<Host>,
    /// Where its log goes; into the file that `Gateway::log` reads when left out.
    pub log_pipe: Option<io::PipeWriter>,
    /// The reason for which it stays not ready, where that is expected: it has started once `/readyz`
    /// says so.
    pub unready: Option<&'static str>,
    /// Whether versions wait to be approved as the configuration says. They do not otherwise: most tests
    /// put plugins in the place of others that ask for less.
    pub holds: bool,
}

/// A running gateway. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub struct Gateway {
    pub vstp: SocketAddr,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    folder: TempDir,
    host: Option<Host>,
    unready: Option<&'static str>,
    holds: bool,
    child: Child,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Setup {
    /// Adds the component of the guest `name` as `name.wasm`.
    #[must_use]
    pub fn plugin(self, name: &str) -> Self {
        self.file(&format!("{name}.wasm"), guests::component(name))
    }

    /// Adds a file of the plugin folder.
    #[must_use]
    pub fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.files
            .push((name.to_owned(), content.as_ref().to_vec()));
        self
    }

    #[must_use]
    pub fn default_service(self, name: &str) -> Self {
        Self {
            default_service: Some(name.to_owned()),
            ..self
        }
    }

    /// Of VSTP, HTTP and the admin door. A host has nobody else on it, so that any port is free.
    fn addresses(&self) -> io::Result<[SocketAddr; 3]> {
        if let Some(host) = &self.host {
            return Ok([9090, 8080, 9900].map(|port| (host.control(), port).into()));
        }
        let mut addresses = [([127, 0, 0, 1], 0).into(); 3];
        for address in &mut addresses {
            *address = ports::free_address()?;
        }
        Ok(addresses)
    }

    fn write(&self, folder: &Path, [vstp, http, admin]: [SocketAddr; 3]) -> io::Result<()> {
        let plugins = folder.join("plugins");
        fs::create_dir_all(&plugins)?;
        for (name, content) in &self.files {
            place(&plugins, name, content)?;
        }
        let mut config = self.config.clone();
        // Writing to a `String` cannot fail.
        for (table, address, keys) in [
            ("admin", admin, &self.admin),
            ("listeners.http", http, &self.http),
            ("listeners.vstp", vstp, &self.vstp),
        ] {
            let insecure = if address.ip().is_loopback() {
                ""
            } else {
                "insecure = true\n"
            };
            let _ = write!(
                config,
                "\n[{table}]\naddress = \"{address}\"\n{insecure}{keys}\n"
            );
        }
        if let Some(name) = &self.default_service {
            let _ = writeln!(config, "default-service = \"{name}\"");
        }
        fs::write(folder.join("postern.toml"), config)
    }
}

impl Gateway {
    /// Starts a gateway and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready, with its log.
    pub async fn start(setup: Setup) -> Self {
        const TRIES: usize = 3;
        for _ in 1..TRIES {
            // A port may be taken between its choice and its use.
            match Self::try_start(&setup).await {
                Err(log) if log.to_lowercase().contains("in use") => {}
                outcome => return outcome.expect("the gateway becomes ready"),
            }
        }
        Self::try_start(&setup)
            .await
            .expect("the gateway becomes ready")
    }

    /// Starts a gateway; the log when it does not become ready.
    ///
    /// # Errors
    /// The log of a gateway that ended or was not ready within a minute.
    pub async fn try_start(setup: &Setup) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let addresses = setup.addresses().map_err(|error| error.to_string())?;
        setup
            .write(folder.path(), addresses)
            .map_err(|error| error.to_string())?;
        let host = setup.host.clone();
        let pipe = setup.log_pipe.as_ref().map(io::PipeWriter::try_clone);
        let pipe = pipe.transpose().map_err(|error| error.to_string())?;
        let child = spawn(folder.path(), host.as_ref(), pipe, setup.holds);
        let child = child.map_err(|error| error.to_string())?;
        let [vstp, http, admin] = addresses;
        let mut gateway = Self {
            vstp,
            http,
            admin,
            folder,
            host,
            unready: setup.unready,
            holds: setup.holds,
            child,
        };
        gateway.become_ready().await?;
        Ok(gateway)
    }

    async fn become_ready(&mut self) -> Result<(), String> {
        // Debug builds compile components slowly on a busy machine.
        let ready = async {
            loop {
                if let Ok(Some(status)) = self.child.try_wait() {
                    return Err(format!("the gateway ended with {status}\n{}", self.log()));
                }
                let has_started = match (self.admin("/readyz").await, self.unready) {
                    (Ok((status, _)), None) => status == 200,
                    (Ok((status, body)), Some(reason)) => {
                        let reason = format!("\"{reason}\"");
                        let is_alone = !body.contains("\"starting\"");
                        status == 503 && is_alone && body.contains(&reason)
                    }
                    (Err(_), _) => false,
                };
                if has_started {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), ready).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!(
                "the gateway is not ready after a minute\n{}",
                self.log()
            )),
        }
    }

    /// Stops in order and starts again with the same folder and addresses.
    pub async fn restart(&mut self) {
        self.terminate().await;
        self.start_again().await;
    }

    /// Starts a gateway that has ended, with the same folder and addresses.
    pub async fn start_again(&mut self) {
        let child = spawn(self.folder.path(), self.host.as_ref(), None, self.holds);
        self.child = child.expect("the gateway starts as before");
        self.become_ready()
            .await
            .expect("the gateway becomes ready again");
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        patiently("the gateway ends", async || {
            status = self.child.try_wait().expect("the child can be waited for");
            status.is_some()
        })
        .await;
        status.expect("the loop ended with a status")
    }

    /// Sends the signal `name`: `TERM`, `INT`.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.expect("kill runs").success(), "cannot send {name}");
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The folder that holds `postern.toml`, `plugins/` and the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the plugin folder as a careful deployer does: whole, then by rename.
    pub fn deploy(&self, name: &str, content: &[u8]) {
        place(&self.folder().join("plugins"), name, content).expect("the folder is writable");
    }

    /// Removes a file of the plugin folder.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.folder().join("plugins").join(name)).expect("the file is there");
    }

    /// Everything that the process has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// Asks the admin door: status and body.
    ///
    /// # Errors
    /// Whatever keeps the door from answering.
    pub async fn admin(&self, path: &str) -> Result<(u16, String), String> {
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http::<Empty<bytes::Bytes>>();
        let uri = format!("http://{}{path}", self.admin).parse();
        let uri = uri.map_err(|error: http::uri::InvalidUri| error.to_string())?;
        let response = client.get(uri).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok((
            status,
            String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        ))
    }

    /// The JSON of an admin page that answers 200.
    pub async fn admin_json(&self, path: &str) -> Value {
        let (status, body) = self.admin(path).await.expect("the admin door answers");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("the admin door speaks JSON")
    }

    /// Runs `postern` with `arguments` in the gateway's folder.
    #[must_use]
    pub fn postern(&self, arguments: &[&str]) -> Finished {
        postern(self.folder(), arguments)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// Runs the gateway's binary with `arguments` in `folder` and waits for its end.
///
/// # Panics
/// When there is no such binary.
#[must_use]
pub fn postern(folder: &Path, arguments: &[&str]) -> Finished {
    let output = command(folder, None).args(arguments).output();
    output.expect("the binary under test runs").into()
}

/// The gateway's binary in `folder`, to be started in another way than as `Gateway` does.
#[must_use]
pub fn command_in(folder: &Path) -> Command {
    command(folder, None)
}

fn spawn(
    folder: &Path,
    host: Option<&Host>,
    log_pipe: Option<io::PipeWriter>,
    holds: bool,
) -> io::Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    let mut command = command(folder, host);
    if !holds {
        command.env("POSTERN_PLUGINS_APPROVAL", "off");
    }
    command
        .arg("run")
        .stdout(log.try_clone()?)
        .stderr(log_pipe.map_or_else(|| log.into(), Stdio::from))
        .spawn()
}

/// The binary under test in `folder` on `host`, without what the environment of the tests says to it.
fn command(folder: &Path, host: Option<&Host>) -> Command {
    let binary = binary();
    let mut command = host.map_or_else(|| Command::new(&binary), |host| host.command(&binary));
    command
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("POSTERN_") {
            command.env_remove(name);
        }
    }
    command
}

/// The binary under test.
#[must_use]
pub fn binary() -> PathBuf {
    match std::env::var_os("POSTERN_BIN") {
        Some(path) => path.into(),
        None => guests::profile_folder().join("postern-under-test"),
    }
}

/// Writes beside and renames, so that nobody sees half a file.
fn place(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap_or(folder))?;
    let beside = path.with_extension("part~");
    fs::write(&beside, content)?;
    fs::rename(beside, path)
}
