//! Rounds of wrk against one server after the other, and what they say of a server beside its peer.

use std::{
    io::{self, Write as _},
    process::Stdio,
    time::Duration,
};

use postern_tests::system_tool;
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::{
    passes::Passes,
    table::{Goal, Table},
};

/// Of one round.
const SECONDS: u64 = 2;
pub(crate) const CONNECTIONS: &str = "64";
const SCRIPT: &str = "wrk.method = \"POST\"\nwrk.body = '\"hello\"'\n\
                      wrk.headers[\"content-type\"] = \"application/json\"\n";

/// What wrk says of one round.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) requests_per_second: f64,
    /// Processor time of the server for a request, in seconds.
    pub(crate) cpu_per_request: f64,
}

/// One round in which a hello is posted, each on a connection of its own where `is_fresh`.
///
/// # Errors
/// What wrk said, when it counted nothing or was answered with a failure.
pub(crate) async fn hello(
    url: &str,
    is_fresh: bool,
    cpu: impl Fn() -> Duration,
) -> io::Result<Round> {
    let mut script = NamedTempFile::with_suffix(".lua")?;
    script.write_all(SCRIPT.as_bytes())?;
    let mut command = Command::new(system_tool("wrk"));
    let duration = format!("-d{SECONDS}s");
    command
        .args(["-t1", "-c", CONNECTIONS, &duration, "-s"])
        .arg(script.path())
        .arg(url);
    if is_fresh {
        command.args(["-H", "connection: close"]);
    }
    let before = cpu();
    let output = command.stderr(Stdio::inherit()).output().await?;
    let cpu = cpu() - before;
    let said = String::from_utf8_lossy(&output.stdout);
    let number = |label: &str| {
        let line = said.lines().find(|line| line.trim().contains(label))?;
        line.split_whitespace()
            .find_map(|word| word.parse::<f64>().ok())
    };
    let (rate, requests) = (number("Requests/sec:"), number(" requests in "));
    let (Some(rate), Some(requests)) = (rate, requests) else {
        return Err(io::Error::other(said.into_owned()));
    };
    if said.contains("Non-2xx") || requests < 1.0 {
        return Err(io::Error::other(said.into_owned()));
    }
    Ok(Round {
        requests_per_second: rate,
        cpu_per_request: cpu.as_secs_f64() / requests,
    })
}

/// Two rows: requests a second, and processor time.
pub(crate) fn tell(table: &mut Table, what: &str, peer: &str, turns: Vec<[Round; 2]>, goal: Goal) {
    let passes = Passes(turns);
    let rate = |round: &Round| round.requests_per_second;
    table.compare(
        format!("{what}: requests/s ({peer})"),
        format!("{:.0}", passes.median(|[ours, _]| rate(ours))),
        format!("{:.0}", passes.median(|[_, theirs]| rate(theirs))),
        passes.median(|[ours, theirs]| rate(ours) / rate(theirs)),
        goal,
    );
    table.compare(
        format!("{what}: processor time ({peer})"),
        passes.median_time(|[ours, _]| ours.cpu_per_request),
        passes.median_time(|[_, theirs]| theirs.cpu_per_request),
        passes.median(|[ours, theirs]| ours.cpu_per_request / theirs.cpu_per_request),
        Goal::None,
    );
}
