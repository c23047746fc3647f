//! Breaks every limit that a plugin has, one method each. `Echo` behaves, so that its latency shows
//! whether the others are harmed.

use std::{
    cell::RefCell,
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use postern_guest::{Failure, Octets, Outgoing, client, config, info};
use serde::{Deserialize, Serialize};

/// 1 MiB: what `Allocate` asks for at a time.
const STEP_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
struct Bytes {
    bytes: usize,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct Flood {
    lines: u64,
    /// Of each line.
    bytes: usize,
}

#[derive(Deserialize)]
struct Millis {
    ms: u64,
}

#[derive(Serialize)]
struct Held {
    bytes: usize,
}

#[derive(Default)]
struct Misbehave {
    leaked: RefCell<Vec<Vec<u8>>>,
}

/// Breaks every limit, one method each.
#[postern_guest::service]
impl Misbehave {
    /// Behaves.
    fn echo(message: Octets) -> Octets {
        message
    }

    /// Never returns.
    fn r#loop() {
        loop {
            black_box(());
        }
    }

    /// Computes for so long, then returns.
    fn burn(Millis { ms }: Millis) -> u64 {
        let start = Instant::now();
        let mut n_rounds = 0;
        while start.elapsed().as_millis() < u128::from(ms) {
            n_rounds = black_box(n_rounds + 1);
        }
        n_rounds
    }

    /// Sleeps for so long, then returns.
    fn sleep(Millis { ms }: Millis) {
        thread::sleep(Duration::from_millis(ms));
    }

    /// Takes memory until there is none.
    fn allocate() {
        let mut held = Vec::new();
        loop {
            held.push(black_box(vec![0xa5_u8; STEP_BYTES]));
        }
    }

    /// Takes so much memory, frees it, and says how much it was.
    fn hold(Bytes { bytes }: Bytes) -> Held {
        let held = black_box(vec![0xa5_u8; bytes]);
        Held { bytes: held.len() }
    }

    /// Takes so much memory and never frees it; says how much this instance has taken so.
    fn leak(&self, Bytes { bytes }: Bytes) -> Held {
        let mut leaked = self.leaked.borrow_mut();
        leaked.push(black_box(vec![0xa5_u8; bytes]));
        Held {
            bytes: leaked.iter().map(Vec::len).sum(),
        }
    }

    /// Executes `unreachable`.
    fn trap() {
        std::process::abort();
    }

    /// Panics, with a text on standard error.
    #[expect(clippy::panic, reason = "it is what this guest is for")]
    fn panic() {
        panic!("this guest was asked to panic");
    }

    /// Prints a text to its standard output.
    #[expect(clippy::print_stdout, reason = "it is what this guest is for")]
    fn print(text: String) {
        println!("{text}");
    }

    /// Leaves through `wasi:cli/exit`.
    fn exit() {
        std::process::exit(3);
    }

    /// Calls itself until the stack is full.
    fn recurse() -> u64 {
        recurse(black_box(1))
    }

    /// Writes so many lines to the log.
    fn flood_log(Flood { lines, bytes }: Flood) -> u64 {
        let text = "x".repeat(bytes);
        for n in 0..lines {
            info!(n = n, "{text}");
        }
        lines
    }

    /// Answers with so many octets.
    fn big_output(Bytes { bytes }: Bytes) -> Octets {
        Octets(vec![b'x'; bytes])
    }

    /// Answers with a header that has so many octets; whether the host took it is the answer.
    fn big_header(Bytes { bytes }: Bytes) -> bool {
        postern_guest::call::add_header("x-big", &"x".repeat(bytes)).is_ok()
    }

    /// Calls the host so many times.
    fn host_calls(Count { count }: Count) -> u64 {
        (0..count)
            .filter(|_| black_box(config::text("absent")).is_none())
            .count() as u64
    }

    /// Prints lines to its standard output until it is stopped.
    #[expect(clippy::print_stdout, reason = "it is what this guest is for")]
    fn flood_print() {
        loop {
            println!("a line of some forty octets, again and again");
        }
    }

    /// Calls itself through the gateway until it is stopped.
    fn call_itself() -> Result<Octets, Failure> {
        client::call("misbehave", "CallItself", Octets(b"null".to_vec()))
    }

    /// Sends a message, then never returns.
    fn loop_after(mut out: Outgoing<u64>) -> Result<(), Failure> {
        out.send(1)?;
        loop {
            black_box(());
        }
    }

    /// Streams a number every so many milliseconds until it is stopped.
    fn drip(Millis { ms }: Millis, mut out: Outgoing<u64>) -> Result<(), Failure> {
        for n in 0.. {
            thread::sleep(Duration::from_millis(ms));
            out.send(n)?;
        }
        Ok(())
    }

    /// Streams messages of 64 KiB until it is stopped.
    fn flood(mut out: Outgoing<Octets>) -> Result<(), Failure> {
        loop {
            out.send(Octets(vec![b'x'; 64 << 10]))?;
        }
    }
}

/// No loop can be made of it: the outer product needs the inner one.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return depth;
    }
    recurse(depth + 1).wrapping_mul(31) ^ depth
}
