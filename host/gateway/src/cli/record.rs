//! `postern record`.

use std::{
    fs,
    future::pending,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use postern_core::{Body, BodyStream};
use serde_json::{Value as Json, json};

use super::{
    admin::{Admin, AdminArgs, path},
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    runtime::block_on,
};
use crate::{
    config::parse_duration,
    recording::{RecordingFault, RecordingWriter},
};

/// How long the gateway may take to end a recording.
const GRACE: Duration = Duration::from_secs(5);
/// A recording ends when its file is this long, in octets.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern record users                              the next 100 calls, into users.calls
  postern record users --calls 20 --out plugins/users/tests/users.calls
  postern record users --sample 1% --for 10m --calls 1000
  postern record users --method users/CreateUser

A recorded call is answered by a fresh instance, and everything that its guest is told is kept with it: clocks,
random numbers, kv, replies of other services. `postern test` and `postern plugins shadow` replay it bit for
bit. Calls that are not recorded take their usual path. Ends after --calls, at --for, or with Ctrl-C. A
file that is there is continued.

The file is readable for its owner alone. It holds what callers sent and got, values of kv and config that were
asked for, and the seed of the random numbers; headers such as authorization and cookie only with
--with-credentials.")]
pub(super) struct RecordArgs {
    /// NAME, NAME@VERSION, or NAME@ for the version without a name. NAME alone is the version that takes the calls.
    plugin: String,
    /// The file; PLUGIN.calls when absent.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many calls.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    calls: u64,
    /// How long at most.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Which share of the calls.
    #[arg(long, value_name = "SHARE", default_value = "100%", value_parser = read_share)]
    sample: f64,
    /// Only this method: METHOD or SERVICE/METHOD.
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Keep headers that say who the caller is.
    #[arg(long)]
    with_credentials: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// How a recording ended.
#[derive(Debug, Default)]
struct Ended {
    n_calls: u64,
    /// What the gateway said last of calls that it left out.
    skipped: Json,
    /// Why it ended before it was to.
    early: Option<String>,
}

pub(super) fn record(
    options: &SharedOptions,
    args: &RecordArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let admin = Admin::new(options, &args.admin, output)?;
    let file = args.out.clone();
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{}.calls", args.plugin)));
    let mut writer = RecordingWriter::append(&file).map_err(|fault| unwritable(&fault))?;
    let ended = block_on(async {
        let lines = admin.follow(&target(args), Body::Empty).await?;
        output.note(&format!("recording {}; Ctrl-C ends it", args.plugin));
        follow(lines, args, &mut writer, output).await
    });
    if writer.n_octets() == 0 {
        // Nothing is in it; one that was there before had something.
        drop(fs::remove_file(&file));
    }
    tell(&ended?, &file, args, output)
}

fn unwritable(fault: &RecordingFault) -> CommandFailure {
    let failure = CommandFailure::new(fault.to_string());
    match fault {
        RecordingFault::Line { .. } => failure.with_remedy("name another file with --out"),
        RecordingFault::Unusable { .. } | RecordingFault::Empty { .. } => failure,
    }
}

fn target(args: &RecordArgs) -> String {
    let mut query = format!("/record?calls={}&share={}", args.calls, args.sample);
    if let Some(method) = &args.method {
        let method = utf8_percent_encode(method, NON_ALPHANUMERIC);
        query.push_str(&format!("&method={method}"));
    }
    if let Some(time) = args.time {
        query.push_str(&format!("&time_ms={}", time.as_millis()));
    }
    if args.with_credentials {
        query.push_str("&credentials=true");
    }
    path("plugins", &args.plugin, &query)
}

/// Writes lines as they come, until there are enough or somebody ends it.
async fn follow(
    mut lines: BodyStream,
    args: &RecordArgs,
    writer: &mut RecordingWriter,
    output: &Output,
) -> Result<Ended, CommandFailure> {
    let bar = progress(output);
    let mut ended = Ended::default();
    let over = async {
        match args.time {
            // The gateway ends it; this is for one that does not.
            Some(time) => tokio::time::sleep(time.saturating_add(GRACE)).await,
            None => pending().await,
        }
    };
    tokio::pin!(over);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            () = &mut over => break,
            _ = &mut interrupted => break,
        };
        let line = match line {
            Some(Ok(line)) => line,
            Some(Err(error)) => {
                ended.early = Some(format!("the gateway ended it: {}", error.message));
                break;
            }
            None => {
                ended.early = Some("the gateway ended it".to_owned());
                break;
            }
        };
        match said(&line) {
            Some((counts, is_end)) => {
                ended.skipped = counts.get("skipped").cloned().unwrap_or_default();
                if is_end {
                    break;
                }
            }
            None => {
                writer.put(&line).map_err(|fault| unwritable(&fault))?;
                // A header holds no call.
                ended.n_calls += u64::from(!line.starts_with(b"{\"postern-calls\""));
                bar.set_message(format!("{} of {} calls", ended.n_calls, args.calls));
                if writer.n_octets() > FILE_BYTES_MAX {
                    ended.early = Some(format!("the file passed {FILE_BYTES_MAX} octets"));
                    break;
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(ended)
}

/// What the gateway says beside calls, and whether it is the end.
fn said(line: &[u8]) -> Option<(Json, bool)> {
    let is_end = line.starts_with(b"{\"end\"");
    if !is_end && !line.starts_with(b"{\"progress\"") {
        return None;
    }
    let json: Json = serde_json::from_slice(line).ok()?;
    let counts = json.get(if is_end { "end" } else { "progress" })?;
    Some((counts.clone(), is_end))
}

fn tell(
    ended: &Ended,
    file: &Path,
    args: &RecordArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let Ended {
        n_calls,
        skipped,
        early,
    } = ended;
    let json = json!({ "file": file, "calls": n_calls, "skipped": skipped, "ended": early });
    let line = match n_calls {
        0 => format!("no call of {} was recorded", args.plugin),
        n_calls => format!("{n_calls} calls of {} in {}", args.plugin, file.display()),
    };
    if let Some(early) = early {
        return Err(CommandFailure {
            json: Some(json),
            ..CommandFailure::new(format!("{early}; {line}"))
        });
    }
    if output.is_json() {
        return output.json(&json);
    }
    output.line(&line)?;
    let left_out = skipped.as_object().into_iter().flatten();
    let left_out = left_out.filter(|(_, count)| count.as_u64() != Some(0));
    let left_out: Vec<_> = left_out
        .map(|(why, count)| format!("{count} {why}"))
        .collect();
    if !left_out.is_empty() {
        output.note(&format!("not recorded: {}", left_out.join(", ")));
    }
    Ok(())
}

fn progress(output: &Output) -> ProgressBar {
    let target = match output.shows_progress() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// `1%`, or `0.01`.
fn read_share(text: &str) -> Result<f64, String> {
    let (number, whole) = match text.strip_suffix('%') {
        Some(number) => (number.trim(), 100.0),
        None => (text, 1.0),
    };
    let share = number.parse::<f64>().map(|number| number / whole);
    match share {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        Ok(_) | Err(_) => Err("write a share above 0% and at most 100%, such as 1%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_in_percent_or_as_parts_of_one() {
        assert_eq!(read_share("1%"), Ok(0.01));
        assert_eq!(read_share("0.5"), Ok(0.5));
        assert_eq!(read_share("100 %"), Ok(1.0));
        for text in ["0", "0%", "101%", "2", "-1%", "much", "", "NaN"] {
            assert!(read_share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_the_gateway_says_is_told_from_calls() {
        let (counts, is_end) = said(b"{\"progress\":{\"recorded\":1}}").expect("a word");
        assert_eq!((counts["recorded"].as_u64(), is_end), (Some(1), false));
        assert!(said(b"{\"end\":{}}").is_some_and(|(_, is_end)| is_end));
        assert!(said(b"{\"request\":{}}").is_none());
    }
}
