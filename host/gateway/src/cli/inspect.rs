//! `postern inspect`.

use std::{io::Read, net::SocketAddr, path::Path};

use bytes::Bytes;
use clap::Args;
use postern_system::clock;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::{failure::CommandFailure, output::Output, runtime::block_on, target::look_up};
use crate::inspect::{
    Flows, Packets, Relay, RelayDirection, RelayEvent, Relayed, Stream, StreamPrefix, from_hex,
    is_capture, to_json, to_text,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern inspect 56540103000000000000000548656c6c6f326d0910 
  postern inspect traffic.pcap                            tcpdump -i lo -w traffic.pcap port 9090
  xxd -p dump | postern inspect -
  postern inspect --relay 127.0.0.1:9099 --to 127.0.0.1:9090      then call vstp://127.0.0.1:9099

Takes hex, a file of hex, a raw dump of a stream, pcap or pcapng. Exits with 1 when a frame has a
problem.")]
pub(super) struct InspectArgs {
    /// Hex, a file, or `-` for the standard input.
    #[arg(value_name = "HEX|FILE", required_unless_present = "relay", num_args = 1..)]
    what: Vec<String>,
    /// Listen here, over TCP and UDP, and show what passes to --to and back.
    #[arg(long, value_name = "ADDRESS", requires = "to", conflicts_with = "what")]
    relay: Option<SocketAddr>,
    /// The listener that the relay stands in front of.
    #[arg(long, value_name = "HOST:PORT", requires = "relay")]
    to: Option<String>,
}

pub(super) fn inspect(args: &InspectArgs, output: &Output) -> Result<(), CommandFailure> {
    if let (Some(listen), Some(to)) = (args.relay, &args.to) {
        return block_on(relay(listen, to, output));
    }
    let octets = read(&args.what)?;
    let mut summary = Summary::default();
    if is_capture(&octets) {
        capture(octets, &mut summary, output)?;
    } else {
        stream(&octets, &mut summary, output)?;
    }
    summary.finish(output)
}

/// What was seen so far.
#[derive(Default)]
struct Summary {
    frames: usize,
    problems: usize,
    ignored: usize,
}

impl Summary {
    fn print(
        &mut self,
        place: &str,
        found: &StreamPrefix,
        mut about: Json,
        output: &Output,
    ) -> Result<(), CommandFailure> {
        match found {
            StreamPrefix::Frame(frame) => {
                self.frames += 1;
                self.problems += frame.problems.len();
            }
            StreamPrefix::Garbage { .. } | StreamPrefix::Cut { .. } => self.problems += 1,
        }
        if !output.is_json() {
            return output.line(&format!("{place}  {}", to_text(found)));
        }
        if let (Some(about), Json::Object(fields)) = (about.as_object_mut(), to_json(found)) {
            about.extend(fields);
        }
        output.line(&about.to_string())
    }

    fn finish(&self, output: &Output) -> Result<(), CommandFailure> {
        let Self {
            frames,
            problems,
            ignored,
        } = self;
        let frames = counted(*frames, "frame");
        let ignored = match ignored {
            0 => String::new(),
            n => format!(", {} of something else", counted(*n, "packet")),
        };
        if *problems > 0 {
            let problems = counted(*problems, "problem");
            return Err(CommandFailure::new(format!(
                "{frames}, {problems}{ignored}"
            )));
        }
        output.note(&format!("{frames}, no problem{ignored}"));
        Ok(())
    }
}

/// `1 frame`, `2 frames`.
fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn read(what: &[String]) -> Result<Bytes, CommandFailure> {
    let unreadable = |name: &str, error: std::io::Error| {
        CommandFailure::new(format!("cannot read {name}: {error}"))
    };
    let octets = match what {
        [one] if one == "-" => {
            let mut octets = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut octets);
            read.map_err(|error| unreadable("the standard input", error))?;
            octets
        }
        [one] if Path::new(one).is_file() => {
            std::fs::read(one).map_err(|error| unreadable(one, error))?
        }
        words => {
            let octets = from_hex(&words.join(" "));
            return octets.map(Bytes::from).map_err(|error| {
                CommandFailure::usage(format!("neither a file nor hex: {error}"))
            });
        }
    };
    // A file of hex is text; a capture and a dump are not.
    let hex = std::str::from_utf8(&octets)
        .ok()
        .and_then(|text| from_hex(text).ok());
    Ok(hex.unwrap_or(octets).into())
}

fn stream(octets: &[u8], summary: &mut Summary, output: &Output) -> Result<(), CommandFailure> {
    let mut stream = Stream::default();
    stream.push(octets);
    let mut print = |at: u64, found: &StreamPrefix| {
        summary.print(&format!("{at:>8}"), found, json!({ "at": at }), output)
    };
    while let Some((at, found)) = stream.next_found() {
        print(at, &found)?;
    }
    match stream.finish() {
        Some((at, found)) => print(at, &found),
        None => Ok(()),
    }
}

fn capture(octets: Bytes, summary: &mut Summary, output: &Output) -> Result<(), CommandFailure> {
    let packets = Packets::new(octets).map_err(|error| CommandFailure::new(error.to_string()))?;
    let mut flows = Flows::default();
    let mut seen = Vec::new();
    for packet in packets {
        match packet {
            Ok((link_type, packet)) => seen.extend(flows.push(link_type, packet)),
            Err(error) => output.note(&error.to_string()),
        }
    }
    summary.ignored = flows.ignored;
    seen.extend(flows.finish());
    for sight in seen {
        let (from, to) = (sight.from, sight.to);
        let about = json!({ "transport": sight.transport, "from": from, "to": to, "at": sight.at });
        let place = format!("{} {from} > {to}", sight.transport);
        summary.print(&place, &sight.found, about, output)?;
    }
    Ok(())
}

async fn relay(listen: SocketAddr, to: &str, output: &Output) -> Result<(), CommandFailure> {
    let to = look_up(to).await?;
    let unbound = |error: std::io::Error| {
        CommandFailure::new(format!("cannot listen at {listen}: {error}"))
            .with_remedy("choose another port")
    };
    let relay = Relay::bind(listen, to, true, true).await.map_err(unbound)?;
    let address = relay.local_addr().map_err(unbound)?;
    output.note(&format!(
        "relaying {address} to {to} over tcp and udp; end with ctrl-c"
    ));
    let (sights, mut seen) = mpsc::channel(1024);
    let began = clock::now();
    let mut summary = Summary::default();
    let served = relay.serve(sights);
    tokio::pin!(served);
    loop {
        let sight = tokio::select! {
            result = &mut served => {
                return result.map_err(|error| CommandFailure::new(format!("the relay broke: {error}")));
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
            Some(sight) = seen.recv() => sight,
        };
        show(
            &sight,
            clock::since(began).as_secs_f64(),
            &mut summary,
            output,
        )?;
    }
}

fn show(
    sight: &Relayed,
    at: f64,
    summary: &mut Summary,
    output: &Output,
) -> Result<(), CommandFailure> {
    let Relayed {
        transport,
        peer,
        direction,
        event,
    } = sight;
    let arrow = match direction {
        RelayDirection::ToTarget => ">",
        RelayDirection::ToPeer => "<",
    };
    let place = format!("{at:>9.4} {transport} {peer} {arrow}");
    let about = json!({
        "seconds": at,
        "transport": transport,
        "peer": peer,
        "to": match direction {
            RelayDirection::ToTarget => "target",
            RelayDirection::ToPeer => "peer",
        },
    });
    let (event, reason) = match event {
        RelayEvent::Found(found) => return summary.print(&place, found, about, output),
        RelayEvent::Opened => ("opened", None),
        RelayEvent::Closed => ("closed", None),
        RelayEvent::Failed(reason) => ("failed", Some(reason)),
    };
    if output.is_json() {
        let mut about = about;
        if let Some(about) = about.as_object_mut() {
            about.insert("event".into(), event.into());
            about.insert("reason".into(), json!(reason));
        }
        return output.line(&about.to_string());
    }
    let reason = reason
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    output.line(&format!("{place}  {event}{reason}"))
}
