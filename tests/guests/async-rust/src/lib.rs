//! The table of asynchronous streams: `tests/vectors/async-streams.json` says what each method does.

use postern_guest::{
    AsyncReply, AsyncRequest, AsyncStreamHandler, Failure, Kind, Octets, Result, call, config, kv,
};
use serde::{Deserialize, Serialize};

/// Answers by the name of the method.
#[derive(Debug, Default)]
pub struct Table;

#[derive(Serialize, Deserialize)]
struct Number {
    value: i64,
}

#[derive(Serialize)]
struct Sum {
    sum: i64,
    count: u64,
}

#[derive(Deserialize)]
struct Counting {
    to: i64,
    then: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Said {
    text: String,
}

#[derive(Deserialize)]
struct Filling {
    pieces: u32,
}

#[derive(Serialize)]
struct Measured {
    octets: usize,
}

#[derive(Deserialize)]
struct Asked {
    key: String,
}

#[derive(Serialize)]
struct Setting {
    value: Option<String>,
}

const PIECE_BYTES: usize = 64 * 1024;

impl AsyncStreamHandler for Table {
    async fn handle(
        &mut self,
        _: &str,
        method: &str,
        request: &mut AsyncRequest,
        reply: &mut AsyncReply,
    ) -> Result<()> {
        match method {
            "Echo" => pass(request, reply).await,
            "Collect" => collect(request, reply).await,
            "Count" => count(request, reply).await,
            "Chat" => chat(request, reply).await,
            "Fill" => {
                let Filling { pieces } = only(request).await?;
                for _ in 0..pieces {
                    reply.send(Octets(vec![7; PIECE_BYTES])).await?;
                }
                Ok(())
            }
            "Measure" => {
                let mut octets = 0;
                while let Some(piece) = request.receive::<Octets>().await? {
                    octets += piece.len();
                }
                reply.send(Measured { octets }).await
            }
            "Copy" => {
                call::set_status(201)?;
                call::add_header("content-type", "application/octet-stream")?;
                call::set_octets()?;
                pass(request, reply).await
            }
            "Spin" => {
                reply.send(Octets::from("begun")).await?;
                loop {
                    std::hint::spin_loop();
                }
            }
            "Leave" => loop {
                if let Err(failure) = reply.send(Octets(vec![7; PIECE_BYTES])).await {
                    kv::set("left", "told")?;
                    return Err(failure);
                }
            },
            "Left" => {
                let value = kv::get::<String>("left")?;
                reply.send(Setting { value }).await
            }
            "Setting" => {
                let Asked { key } = only(request).await?;
                let value = config::get::<String>(&key)?;
                reply.send(Setting { value }).await
            }
            // Keeps its stream open and waits for what never comes.
            "Hang" => std::future::pending().await,
            "Panic" => {
                reply.send(Octets::from("begun")).await?;
                let none: Option<u8> = None;
                reply.send(none.expect("there is none")).await
            }
            _ => Err(Failure::not_found(format!("no method `{method}`"))),
        }
    }
}

postern_guest::export!(Table: AsyncStreamHandler);

async fn only<T: postern_guest::Decode>(request: &mut AsyncRequest) -> Result<T> {
    let message = request.receive().await?;
    message.ok_or_else(|| Failure::invalid_argument("there is no message"))
}

async fn pass(request: &mut AsyncRequest, reply: &mut AsyncReply) -> Result<()> {
    while let Some(message) = request.receive::<Octets>().await? {
        reply.send(message).await?;
    }
    Ok(())
}

async fn collect(request: &mut AsyncRequest, reply: &mut AsyncReply) -> Result<()> {
    let mut found = Sum { sum: 0, count: 0 };
    while let Some(Number { value }) = request.receive().await? {
        found.sum += value;
        found.count += 1;
    }
    reply.send(found).await
}

async fn count(request: &mut AsyncRequest, reply: &mut AsyncReply) -> Result<()> {
    let Counting { to, then } = only(request).await?;
    call::add_header("x-first", "1")?;
    for value in 1..=to {
        reply.send(Number { value }).await?;
    }
    match then {
        Some(kind) => Err(Failure::new(kind_of(&kind), format!("ended after {to}"))),
        None => call::add_trailer("x-count", &to.to_string()),
    }
}

async fn chat(request: &mut AsyncRequest, reply: &mut AsyncReply) -> Result<()> {
    while let Some(Said { text }) = request.receive().await? {
        let text = text.to_uppercase();
        reply.send(Said { text }).await?;
    }
    Ok(())
}

fn kind_of(name: &str) -> Kind {
    match name {
        "out-of-range" => Kind::OutOfRange,
        _ => Kind::Unknown,
    }
}
