//! Lines on their way to the standard error output. Whoever logs appends a line to a buffer and goes
//! on; one thread writes what is there. A reader that stalls stalls that thread alone: once
//! `bytes_max` wait, lines are dropped, counted, and told of when writing goes on.
//!
//! **Invariant:** `append` never waits for the output.

use std::{
    io,
    mem::take,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use postern_system::clock;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written.
#[derive(Debug)]
pub(super) struct LogQueue {
    pending: Mutex<Pending>,
    /// Something waits, or there is something to tell.
    filled: Condvar,
    /// Everything that waited was written.
    emptied: Condvar,
    bytes_max: usize,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Bytes that the thread has taken and not written yet.
    in_writing: usize,
    /// Since the thread last told of them.
    n_dropped_untold: u64,
}

/// A handle as the formatting layer wants it.
#[derive(Debug, Clone)]
pub(super) struct LogWriter(pub(super) Arc<LogQueue>);

impl LogQueue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            pending: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            bytes_max,
            dropped: AtomicU64::new(0),
        }
    }

    /// Takes one line, or drops it where too much waits already.
    pub(super) fn append(&self, line: &[u8]) {
        let mut pending = self.pending.lock();
        if pending.bytes.len() + pending.in_writing + line.len() > self.bytes_max {
            pending.n_dropped_untold += 1;
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        pending.bytes.extend_from_slice(line);
        drop(pending);
        self.filled.notify_one();
    }

    /// Lines that were dropped since the start.
    pub(super) fn n_dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Waits until everything is written, for at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let deadline = clock::now() + limit;
        let mut pending = self.pending.lock();
        while !pending.bytes.is_empty() || pending.in_writing > 0 {
            if self.emptied.wait_until(&mut pending, deadline).timed_out() {
                return;
            }
        }
    }

    /// What waits.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.pending.lock().bytes).into_owned()
    }

    /// Starts the thread that writes to `output`. `tell` is called with the number of lines that
    /// were dropped once writing goes on, and `maintain` now and then; both may log.
    ///
    /// The thread is never joined: it may be stuck in the output for good, and ends with the process.
    ///
    /// # Errors
    /// Whatever the system says when it gives no thread.
    pub(super) fn start(
        self: &Arc<Self>,
        output: impl io::Write + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
        maintain: impl Fn() + Send + 'static,
    ) -> io::Result<()> {
        let queue = Arc::clone(self);
        let thread = thread::Builder::new().name("log".to_owned());
        thread.spawn(move || queue.run(output, tell, maintain))?;
        Ok(())
    }

    fn run(&self, mut output: impl io::Write, tell: impl Fn(u64), maintain: impl Fn()) {
        let mut maintained = clock::now();
        loop {
            let batch = self.take_batch();
            if !batch.is_empty() {
                let n_lost = write(&mut output, &batch);
                self.on_written(n_lost);
            }
            let n_untold = self.take_untold();
            if n_untold > 0 {
                tell(n_untold);
            }
            if clock::since(maintained) >= MAINTAIN_INTERVAL {
                maintain();
                maintained = clock::now();
            }
        }
    }

    /// What waits, when something does; nothing after a while without.
    fn take_batch(&self) -> Vec<u8> {
        let mut pending = self.pending.lock();
        if pending.bytes.is_empty() {
            self.filled.wait_for(&mut pending, MAINTAIN_INTERVAL);
        }
        let batch = take(&mut pending.bytes);
        pending.in_writing = batch.len();
        batch
    }

    fn on_written(&self, n_lost: u64) {
        let mut pending = self.pending.lock();
        pending.in_writing = 0;
        pending.n_dropped_untold += n_lost;
        self.dropped.fetch_add(n_lost, Relaxed);
        if pending.bytes.is_empty() {
            self.emptied.notify_all();
        }
    }

    /// Lines to tell of, once there is room again: half of the queue, so that a reader that is too
    /// slow is not given a line about each line.
    fn take_untold(&self) -> u64 {
        let mut pending = self.pending.lock();
        match pending.bytes.len() <= self.bytes_max / 2 {
            true => take(&mut pending.n_dropped_untold),
            false => 0,
        }
    }
}

impl io::Write for &LogQueue {
    /// The formatting layer writes a whole line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a LogQueue;

    fn make_writer(&'a self) -> Self::Writer {
        &self.0
    }
}

/// Writes `batch` as far as the output takes it; says how many lines were lost.
fn write(output: &mut impl io::Write, mut batch: &[u8]) -> u64 {
    while !batch.is_empty() {
        match output.write(batch) {
            Ok(0) => break,
            Ok(n_bytes) => batch = batch.get(n_bytes..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody else has made the pipe non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY_PAUSE),
            // A closed pipe or a full disk: what comes later is tried again.
            Err(_) => break,
        }
    }
    batch.split_inclusive(|byte| *byte == b'\n').count() as u64
}

/// How often something is looked at that no line brings about.
const MAINTAIN_INTERVAL: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// An output that takes what it is given when it is let.
    struct Gated {
        permits: Receiver<()>,
        written: Sender<String>,
    }

    impl io::Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(io::Error::other)?;
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.written.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_stalled_reader_costs_lines_and_is_told_of_them_when_it_reads() {
        let ((permit, permits), (written, lines)) = (channel(), channel());
        let queue = Arc::new(LogQueue::new(100));
        let told = Arc::clone(&queue);
        let tell = move |n_lines| told.append(format!("dropped {n_lines}\n").as_bytes());
        let output = Gated { permits, written };
        queue.start(output, tell, || {}).expect("a thread");
        // The test would not end if one of these waited.
        for _ in 0..1000 {
            queue.append(b"0123456789\n");
        }
        assert_eq!(queue.n_dropped(), 991, "9 lines of 11 bytes fit into 100");
        queue.flush(Duration::from_millis(10));
        let mut text = String::new();
        while !text.contains("dropped") {
            permit.send(()).expect("the thread lives");
            text += &lines.recv_timeout(PATIENCE).expect("lines are written");
        }
        assert_eq!(text, format!("{}dropped 991\n", "0123456789\n".repeat(9)));
    }

    #[test]
    fn flush_waits_for_what_was_logged() {
        let ((permit, permits), (written, lines)) = (channel(), channel());
        let queue = Arc::new(LogQueue::new(100));
        let output = Gated { permits, written };
        queue.start(output, |_| {}, || {}).expect("a thread");
        queue.append(b"last\n");
        permit.send(()).expect("the thread lives");
        queue.flush(PATIENCE);
        assert_eq!(lines.try_recv().as_deref(), Ok("last\n"));
    }

    #[test]
    fn what_an_output_refuses_is_counted() {
        struct Closed;
        impl io::Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert_eq!(write(&mut Closed, b"a\nb\n"), 2);
        assert_eq!(write(&mut io::sink(), b"a\nb\n"), 0);
    }
}
