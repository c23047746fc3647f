//! A network of hosts that can be cut: a test runs again as root of namespaces of its own, and each
//! gateway in a network namespace within.
//!
//! ```text
//!            test, 10.77.1.254
//!  control ──────┬──────┬──────┐      never cut: callers and the admin doors
//!                a      b      c      10.77.1.1, .2, .3
//!  peers   ──────┴──────┴──────┘      10.77.0.1, .2, .3: cut between any two
//! ```
//!
//! Root needs nothing for it, others need user namespaces. Interfaces, namespaces, mounts and
//! processes live in namespaces that go with the test, however it ends; so no name meets that of
//! another test, and nothing is left to remove.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::{Command, Output},
};

/// Set where a test runs in namespaces of its own.
const INSIDE: &str = "POSTERN_TESTS_INSIDE";

/// The network of a test that runs inside.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Host>,
}

/// A place for a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
    number: u8,
}

impl Network {
    /// Outside: runs `test` of this very program again inside, and is `None` when that has passed.
    /// Inside: the network with hosts of these names.
    ///
    /// # Panics
    /// When the test fails inside, or when the machine lacks or refuses something; it says what.
    #[must_use]
    pub fn enter(test: &str, hosts: &[&str]) -> Option<Self> {
        if std::env::var_os(INSIDE).is_none() {
            again_inside(test);
            return None;
        }
        run("mount", "-t tmpfs none /run");
        for command in [
            "link set lo up",
            "link add peers type bridge",
            "link set peers up",
            "link add control type bridge",
            "addr add 10.77.1.254/24 dev control",
            "link set control up",
        ] {
            run("ip", command);
        }
        let hosts = (1..).zip(hosts);
        let hosts = hosts.map(|(number, name)| Host::new((*name).to_owned(), number));
        Some(Self {
            hosts: hosts.collect(),
        })
    }

    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// From here on `one` and `other` do not hear each other among the peers; all others hear both.
    /// Nobody is told: what is sent is lost.
    pub fn cut(&self, one: &Host, other: &Host) {
        self.isolate([one, other], "on");
    }

    pub fn heal(&self, one: &Host, other: &Host) {
        self.isolate([one, other], "off");
    }

    /// Ports of a bridge that are isolated reach only those that are not.
    fn isolate(&self, hosts: [&Host; 2], state: &str) {
        for Host { name, .. } in hosts {
            let command = format!("link set peers-{name} type bridge_slave isolated {state}");
            run("ip", &command);
        }
    }
}

impl Host {
    fn new(name: String, number: u8) -> Self {
        run("ip", &format!("netns add {name}"));
        run("ip", &format!("-n {name} link set lo up"));
        for (bridge, net) in [("peers", 0), ("control", 1)] {
            let port = format!("{bridge}-{name}");
            for command in [
                format!("link add {port} type veth peer name {bridge} netns {name}"),
                format!("link set {port} master {bridge} up"),
                format!("-n {name} addr add 10.77.{net}.{number}/24 dev {bridge}"),
                format!("-n {name} link set {bridge} up"),
            ] {
                run("ip", &command);
            }
        }
        Self { name, number }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where other hosts reach it.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, 0, self.number))
    }

    /// Where the test reaches it.
    #[must_use]
    pub const fn control(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, 1, self.number))
    }

    /// Where it reaches the test.
    #[must_use]
    pub const fn test(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, 1, 254))
    }

    /// A command that starts `program` there, under the same process number.
    pub(crate) fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name));
        command.arg("--").arg(program);
        command
    }
}

/// Runs `test` of this program in namespaces of its own. What it says goes where ours goes.
fn again_inside(test: &str) {
    let refused = "network namespaces are needed and this machine refuses them: run the test as \
                   root, or allow user namespaces (user.max_user_namespaces, \
                   kernel.apparmor_restrict_unprivileged_userns)";
    // Apart from the test, so that what is missing is told as such.
    output(Command::new("ip").arg("-V"));
    let trial = output(unshare().args(["ip", "link", "add", "peers", "type", "bridge"]));
    assert!(trial.status.success(), "{refused}\n{}", said(&trial));
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = unshare();
    command
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stderr(std::process::Stdio::inherit());
    let inside = output(&mut command);
    let said = said(&inside);
    assert!(inside.status.success(), "{test} failed inside\n{said}");
    // A test that is not found would pass.
    assert!(said.contains("1 passed"), "no test is called {test}");
}

/// Starts what follows in new namespaces, with the user as their root; all of it ends together.
fn unshare() -> Command {
    let is_root = output(Command::new("id").arg("-u")).stdout == b"0\n";
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

fn run(program: &str, arguments: &str) {
    let output = output(Command::new(program).args(arguments.split(' ')));
    let is_well = output.status.success();
    assert!(is_well, "{program} {arguments}: {}", said(&output));
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        let program = command.get_program().to_string_lossy();
        missing(&program, &error)
    })
}

#[expect(clippy::panic, reason = "a test that cannot run fails and says why")]
fn missing(program: &str, error: &std::io::Error) -> ! {
    panic!(
        "`{program}` does not run, {error}: install iproute2 (ip) or util-linux (unshare, nsenter)"
    )
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr];
    texts.map(|text| String::from_utf8_lossy(text)).concat()
}
