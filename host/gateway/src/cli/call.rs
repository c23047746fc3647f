//! `postern call`.

use std::{io::Read, path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::Args;
use postern_core::{Body, Call, Context, Error, Handler, Headers, Reply};
use postern_net::Client;
use postern_system::clock;
use serde_json::{Value as Json, json};

use super::{
    failure::CommandFailure,
    message_lines::{self, LineFault},
    options::SharedOptions,
    output::Output,
    runtime::block_on,
    target::{self, CallTarget, Caller, WrittenTarget},
};
use crate::config::parse_duration;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern call users/CreateUser '{\"name\":\"Ada\",\"email\":\"ada@example.org\"}'
  postern call --transport udp users/ListUsers
  postern call --transport http://gateway.example:8080 users/ListUsers '{}'
  echo '{\"id\":\"1\"}' | postern call users/GetUser -
  postern call --raw echo/Echo 'no JSON at all'
  printf '1\n2\n' | postern call --stream calculator/Sum
  postern call --stream --data-file talk.ndjson chat/Talk

Prints the reply; JSON is spread over lines at a terminal, and each message of a stream is one line, there
as soon as it comes. With --stream the request is a stream too: each line of the standard input is sent
as one message when it is read, and its end ends the request. A failed call prints its error as JSON on
the standard error output and exits with 1.")]
pub(super) struct CallArgs {
    /// What to call.
    #[arg(value_name = "SERVICE/METHOD", value_parser = read_name)]
    name: (String, String),
    /// The message; `-` reads it from the standard input.
    #[arg(value_name = "JSON", default_value = "{}", conflicts_with_all = ["stream", "data_file"])]
    message: String,
    /// Send each line of the standard input as one message.
    #[arg(long)]
    stream: bool,
    /// Read the message, or with --stream the lines, from this file.
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,
    #[arg(long, short, env = "POSTERN_TRANSPORT", default_value = "tcp", help = target::help())]
    transport: WrittenTarget,
    /// A header of the call; may be given more than once.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = read_header)]
    header: Vec<(String, String)>,
    /// How long to wait for all of the reply; by default 30s, and with --stream for as long as both sides
    /// go on.
    #[arg(long, value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Version of the service.
    #[arg(long, value_name = "VERSION")]
    service_version: Option<String>,
    /// Send the message as it is, whether it is JSON or not.
    #[arg(long)]
    raw: bool,
    /// Show the reply's headers and how long it took, on the standard error output.
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn call(
    options: &SharedOptions,
    args: CallArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let (body, fault) = read_body(&args)?;
    let config = args.transport.configuration(options, output)?;
    let target = args.transport.clone().resolve(&config)?;
    let call = to_call(&args, body)?;
    let timeout = args.time();
    let is_verbose = args.verbose;
    block_on(async {
        let began = clock::now();
        // Lines that cannot be sent end the call, which then fails by chance in one way or another.
        let of_lines = |failure| fault.take().unwrap_or(failure);
        let (reply, _session) = send(&target, call, timeout).await.map_err(of_lines)?;
        let head = reply.headers.clone();
        print(reply, output).await.map_err(of_lines)?;
        if let Some(failure) = fault.take() {
            return Err(failure);
        }
        if is_verbose {
            for (key, value) in head.iter() {
                let (key, value) = (
                    String::from_utf8_lossy(key),
                    String::from_utf8_lossy(&value),
                );
                output.note(&format!("{key}: {value}"));
            }
            let took = clock::since(began).as_secs_f64() * 1e3;
            output.note(&format!(
                "{took:.2} ms over {} to {}",
                target.transport, target.authority
            ));
        }
        Ok(())
    })
}

impl CallArgs {
    fn time(&self) -> Duration {
        let usual = if self.stream { STREAM_TIME } else { CALL_TIME };
        self.timeout.unwrap_or(usual)
    }
}

/// How long a call may take where nobody says.
const CALL_TIME: Duration = Duration::from_secs(30);
/// How long the head of the reply to a stream may take where nobody says: the gateway knows better.
const STREAM_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The request, and what may go wrong with it later.
fn read_body(args: &CallArgs) -> Result<(Body, LineFault), CommandFailure> {
    if args.stream {
        return message_lines::read(args.data_file.as_deref(), args.raw);
    }
    let message = match &args.data_file {
        None => read_message(&args.message, args.raw)?,
        Some(path) => {
            let octets = std::fs::read(path);
            let octets = octets.map_err(|error| message_lines::unread(&path.display(), &error))?;
            check_message(octets, args.raw)?
        }
    };
    Ok((Body::One(message), LineFault::default()))
}

fn to_call(args: &CallArgs, body: Body) -> Result<Call, CommandFailure> {
    let mut headers = Headers::new();
    let content_type = if args.raw {
        "application/octet-stream"
    } else {
        "application/json"
    };
    let has_type = args
        .header
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let default = (!has_type).then(|| ("content-type".to_owned(), content_type.to_owned()));
    for (name, value) in args.header.iter().chain(default.iter()) {
        let pushed = headers.push(name.to_lowercase(), value);
        pushed.map_err(|error| CommandFailure::usage(format!("--header {name}: {error}")))?;
    }
    let (service, method) = &args.name;
    let context = Context {
        deadline: clock::now().checked_add(args.time()),
        is_deadline_of_head: args.stream && args.timeout.is_none(),
        ..Context::default()
    };
    Ok(Call {
        version: args.service_version.as_deref().map(Into::into),
        headers,
        context,
        body,
        ..Call::unary(service.as_str(), method.as_str(), Bytes::new())
    })
}

/// The reply, and the session that one of many messages still needs: dropped, it cuts them off.
pub(super) async fn send(
    target: &CallTarget,
    call: Call,
    timeout: Duration,
) -> Result<(Reply, Option<Client>), CommandFailure> {
    let client = match target.open(Some(timeout)).await? {
        Caller::Session(client) => client,
        Caller::Requests(handler) => {
            let reply = handler.call(call).await;
            let reply = reply.map_err(|error| CommandFailure::call(&error))?;
            return Ok((reply, None));
        }
    };
    let reply = client.call(call).await;
    if reply.as_ref().is_ok_and(|reply| reply.body.is_stream()) {
        return Ok((
            reply.map_err(|error| CommandFailure::call(&error))?,
            Some(client),
        ));
    }
    client.close().await;
    let reply = reply.map_err(|error| CommandFailure::call(&error))?;
    Ok((reply, None))
}

pub(super) async fn print(reply: Reply, output: &Output) -> Result<(), CommandFailure> {
    match reply.body {
        Body::Empty => print_message(&Bytes::new(), output),
        Body::One(message) => print_message(&message, output),
        Body::Messages(mut messages) => {
            while let Some(message) = messages.next().await {
                let message = message.map_err(|error: Error| CommandFailure::call(&error))?;
                print_item(&message, output)?;
            }
            Ok(())
        }
        Body::Octets(mut pieces) => {
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|error: Error| CommandFailure::call(&error))?;
                output.octets(&piece)?;
            }
            Ok(())
        }
    }
}

/// One of many messages: JSON on one line, whatever reads it.
fn print_item(message: &Bytes, output: &Output) -> Result<(), CommandFailure> {
    if message.iter().any(|octet| matches!(octet, b'\n' | b'\r'))
        && let Ok(json) = serde_json::from_slice::<Json>(message)
    {
        return output.line(&json.to_string());
    }
    match check_json(message) {
        Ok(()) => output.octets(&[message, &b"\n"[..]].concat()),
        Err(_) => print_message(message, output),
    }
}

/// JSON as JSON, other text as it is, anything else in hexadecimal.
fn print_message(message: &Bytes, output: &Output) -> Result<(), CommandFailure> {
    if let Ok(json) = serde_json::from_slice::<Json>(message) {
        // Numbers and order are the sender's: only whitespace may differ, and only at a terminal.
        return match output.is_terminal() {
            true => output.json(&json),
            false => output.octets(&[message, &b"\n"[..]].concat()),
        };
    }
    let text = std::str::from_utf8(message).ok();
    match (text, output.is_json()) {
        (Some(text), true) => output.json(&json!({ "text": text })),
        (None, true) => output.json(&json!({ "hex": hex(message) })),
        (Some(""), false) => Ok(()),
        (Some(text), false) => output.line(text),
        (None, false) => output.line(&hex(message)),
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

pub(super) fn read_message(message: &str, is_raw: bool) -> Result<Bytes, CommandFailure> {
    let message = if message == "-" {
        let mut octets = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut octets);
        read.map_err(|error| {
            CommandFailure::new(format!("cannot read the standard input: {error}"))
        })?;
        octets
    } else {
        message.to_owned().into_bytes()
    };
    check_message(message, is_raw)
}

fn check_message(message: Vec<u8>, is_raw: bool) -> Result<Bytes, CommandFailure> {
    if !is_raw {
        check_json(&message).map_err(|error| {
            let failure = CommandFailure::usage(format!("the message is no JSON: {error}"));
            failure.with_remedy("quote it for your shell, or send it as it is with --raw")
        })?;
    }
    Ok(message.into())
}

/// Whether `message` is JSON. Strings that are passed over are not checked to be text by the library.
fn check_json(message: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(message).map_err(|error| error.to_string())?;
    let parsed = serde_json::from_str::<serde::de::IgnoredAny>(text);
    parsed.map(|_| ()).map_err(|error| error.to_string())
}

fn read_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((service, method)) if !service.is_empty() && !method.is_empty() => {
            Ok((service.to_owned(), method.to_owned()))
        }
        _ => Err("write SERVICE/METHOD, such as users/ListUsers".to_owned()),
    }
}

fn read_header(text: &str) -> Result<(String, String), String> {
    match text.split_once([':', '=']) {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write NAME: VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_headers_are_read() {
        assert_eq!(read_name("a/b/c"), Ok(("a".into(), "b/c".into())));
        for text in ["users", "/x", "users/", ""] {
            assert!(read_name(text).is_err(), "{text}");
        }
        assert_eq!(read_header("a: b:c"), Ok(("a".into(), "b:c".into())));
        assert_eq!(read_header("a=b"), Ok(("a".into(), "b".into())));
        assert!(read_header(": b").is_err() && read_header("a").is_err());
    }
}
