//! Uses every import and says what it saw: what tests ask about the current call, the store, the
//! configuration, the log, other services, and how long an instance lives.

mod shapes;

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Read as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use postern_guest::{
    Failure, Incoming, Kind, Octets, Outgoing, Result, call, client, config, directory, kv,
    log::{self, Level},
    metrics::{self, MetricKind},
};
use serde_json::Value;

use self::shapes::{
    Annotation, Declaration, Entry, Fault, Keys, Line, Listed, Look, Measure, Request, Seen, Swap,
};

#[derive(Default)]
struct Probe {
    n_calls: Cell<u64>,
}

/// Uses every import and says what it saw.
#[postern_guest::service]
impl Probe {
    /// Everything about the current call.
    fn context() -> Seen {
        let call::Peer { transport, address } = call::peer();
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        Seen {
            headers: call::headers()
                .into_iter()
                .map(|(key, value)| (key, text(value)))
                .collect(),
            transport,
            address,
            principal: call::principal().map(|principal| (principal.name, principal.roles)),
            remaining_ms: u64::try_from(call::remaining().as_millis()).unwrap_or(u64::MAX),
            correlation_id: call::correlation_id(),
            traceparent: call::traceparent(),
        }
    }

    /// The first header of a name.
    fn header(name: String) -> Option<String> {
        call::header(&name)
    }

    /// Adds headers to the reply.
    fn set_headers(headers: Vec<(String, String)>) -> Result<()> {
        headers
            .iter()
            .try_for_each(|(name, value)| call::add_header(name, value))
    }

    /// Sets everything that a reply has beside its message, and fails if it is told so.
    fn annotate(Annotation { status, fails }: Annotation) -> Result<String> {
        call::add_header("x-note", "one")?;
        call::add_header("x-note", "two")?;
        call::add_binary_header("x-octets-bin", b"\xc3\x28")?;
        call::add_trailer("x-sum", "7")?;
        call::add_binary_trailer("x-sum-bin", b"\xff")?;
        if let Some(status) = status {
            call::set_status(status)?;
        }
        match fails.as_deref().and_then(Kind::from_name) {
            Some(kind) => Err(Failure::new(kind, "told to fail")),
            None => Ok("noted".to_owned()),
        }
    }

    /// How many calls this instance has answered to this method.
    fn count(&self) -> u64 {
        self.n_calls.set(self.n_calls.get() + 1);
        self.n_calls.get()
    }

    /// One value of the manifest's `config`, as text.
    fn config(key: String) -> Option<String> {
        config::text(&key)
    }

    /// The whole of `config`.
    fn config_all() -> Vec<(String, String)> {
        config::all()
    }

    /// Answers with the `name` of `config`, after `sleep-ms` of it. Of a hundred calls `failing` fail by chance,
    /// with that name as their message.
    fn version() -> Result<String> {
        let number = |key| config::text(key).and_then(|text| text.parse::<u64>().ok());
        if let Some(millis) = number("sleep-ms") {
            thread::sleep(Duration::from_millis(millis));
        }
        let name = config::text("name").unwrap_or_default();
        let chance = RandomState::new().build_hasher().finish() % 100;
        match chance < number("failing").unwrap_or(0) {
            true => Err(Failure::new(Kind::Internal, name)),
            false => Ok(name),
        }
    }

    /// A variable of the environment.
    fn environment(name: String) -> Option<String> {
        std::env::var(name).ok()
    }

    /// A file's text.
    fn read_file(path: String) -> Result<String> {
        std::fs::read_to_string(&path).map_err(|error| Failure::not_found(error.to_string()))
    }

    /// Writes a file that holds its own path.
    fn write_file(path: String) -> Result<()> {
        std::fs::write(&path, &path).map_err(|error| Failure::permission_denied(error.to_string()))
    }

    fn kv_get(Entry { key, .. }: Entry) -> Result<Option<Value>> {
        kv::get(&key)
    }

    fn kv_set(Entry { key, value }: Entry) -> Result<()> {
        kv::set(&key, &value)
    }

    fn kv_delete(Entry { key, .. }: Entry) -> Result<bool> {
        kv::delete(&key)
    }

    fn kv_swap(
        Swap {
            key,
            expected,
            value,
        }: Swap,
    ) -> Result<bool> {
        kv::swap(&key, expected.as_ref(), value.as_ref())
    }

    fn kv_keys(
        Keys {
            prefix,
            after,
            limit,
        }: Keys,
    ) -> Result<Vec<String>> {
        kv::keys(&prefix, after.as_deref(), limit)
    }

    /// Writes a value and says what is there afterwards: the value, the keys that begin as its key does, and
    /// whether another key that it writes as well is there and goes.
    fn kv_write_and_read(
        Entry { key, value }: Entry,
    ) -> Result<(Option<Value>, Vec<String>, bool)> {
        let other = format!("{key}/other");
        kv::set(&key, &value)?;
        kv::set(&other, &value)?;
        let keys = kv::keys(&key, None, 10)?;
        let has_gone = kv::delete(&other)?;
        Ok((kv::get(&key)?, keys, has_gone))
    }

    /// Writes so many values of 1 MiB, where `config` says that its name is `new`.
    fn kv_fill_where_new(Entry { key, value }: Entry) -> Result<()> {
        if config::text("name").as_deref() != Some("new") {
            return Ok(());
        }
        let mebibyte = "x".repeat((1 << 20) - 2);
        (0..value.as_u64().unwrap_or(0)).try_for_each(|n| kv::set(&format!("{key}/{n}"), &mebibyte))
    }

    /// Adds one to a number in the store, against all others who do the same.
    fn kv_increment(Entry { key, .. }: Entry) -> Result<Option<u64>> {
        kv::update(&key, |number| Ok(Some(number.unwrap_or(0) + 1)))
    }

    /// Writes a line; says whether its level is kept.
    fn log(
        Line {
            level,
            message,
            fields,
        }: Line,
    ) -> Result<bool> {
        let level = match level.as_str() {
            "trace" => Level::Trace,
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" => Level::Warn,
            "error" => Level::Error,
            other => {
                return Err(Failure::invalid_argument(format!(
                    "no level is called `{other}`"
                )));
            }
        };
        log::write(level, &message, &fields.into_iter().collect::<Vec<_>>());
        Ok(log::enabled(level))
    }

    /// Fails as it is told.
    fn fail(
        Fault {
            kind,
            message,
            details,
        }: Fault,
    ) -> Result<()> {
        let Some(kind) = Kind::from_name(&kind) else {
            return Err(Failure::invalid_argument(format!(
                "no kind is called `{kind}`"
            )));
        };
        Err(Failure {
            details: details.map(|json| json.to_string()),
            ..Failure::new(kind, message)
        })
    }

    /// Calls another service and passes on what it says.
    fn call(request: Request) -> Result<Octets> {
        let Request {
            service,
            method,
            body,
            headers,
            timeout_ms,
        } = request;
        let mut call = client::request(&service, &method);
        for (name, value) in headers {
            call = call.header(name, value);
        }
        if let Some(timeout_ms) = timeout_ms {
            call = call.timeout(Duration::from_millis(timeout_ms));
        }
        call.send(body)
    }

    /// Connects to `HOST:PORT` by a socket of its own and gives what is said there to its end.
    fn connect(address: String) -> Result<String> {
        let refused = |error: io::Error| {
            let kind = if error.kind() == io::ErrorKind::PermissionDenied {
                Kind::PermissionDenied
            } else {
                Kind::Unavailable
            };
            Failure::new(kind, error.to_string())
        };
        let mut said = String::new();
        let mut stream = TcpStream::connect(address).map_err(refused)?;
        stream.read_to_string(&mut said).map_err(refused)?;
        Ok(said)
    }

    /// Changes a metric of the plugin's own.
    fn measure(measure: Measure) -> Result<()> {
        let pairs = measure.labels.iter();
        let labels: Vec<_> = pairs.map(|(name, value)| (&**name, &**value)).collect();
        for _ in 0..measure.times.unwrap_or(1) {
            let (name, value) = (&*measure.name, measure.value);
            match &*measure.change {
                "increase" => metrics::increase(name, &labels, value)?,
                "set" => metrics::set(name, &labels, value)?,
                "adjust" => metrics::adjust(name, &labels, value)?,
                "observe" => metrics::observe(name, &labels, value)?,
                other => {
                    let message = format!("no change is called `{other}`");
                    return Err(Failure::invalid_argument(message));
                }
            }
        }
        assert!(!measure.traps, "told to trap");
        Ok(())
    }

    /// Says what a metric is.
    fn declare(declaration: Declaration) -> Result<()> {
        let kind = match &*declaration.kind {
            "counter" => MetricKind::Counter,
            "gauge" => MetricKind::Gauge,
            "histogram" => MetricKind::Histogram,
            other => {
                let message = format!("no kind is called `{other}`");
                return Err(Failure::invalid_argument(message));
            }
        };
        let Declaration { name, help, .. } = &declaration;
        metrics::declare(name, kind, help, &declaration.bounds)
    }

    /// Who answers for a service.
    fn discover(service: String) -> Result<Listed> {
        Ok(directory::discover(&service)?.into())
    }

    /// What has changed there, after some time at most.
    fn next_change(look: Look) -> Result<Option<Listed>> {
        let timeout = Duration::from_millis(look.timeout_ms);
        let changed = directory::next_change(&look.service, &look.revision, timeout)?;
        Ok(changed.map(Listed::from))
    }

    /// Tells the listings of a service as they come.
    fn watch(service: String, mut out: Outgoing<Listed>) -> Result<()> {
        let mut watch = directory::watch(&service);
        loop {
            if let Some(listing) = watch.next(Duration::from_secs(1))? {
                out.send(listing.into())?;
            }
        }
    }

    /// Adds up the numbers of a stream.
    fn sum(numbers: Incoming<f64>) -> Result<f64> {
        numbers.sum()
    }

    /// Streams the numbers from 1.
    fn count_to(last: u64, mut out: Outgoing<u64>) -> Result<()> {
        (1..=last).try_for_each(|number| out.send(number))
    }

    /// Gives back what HTTP says of the call, its headers that are not the caller's protocol's, its body
    /// as it came, and its trailers, under the status that `x-status` asks for.
    fn mirror(pieces: Incoming<Octets>, mut out: Outgoing<Octets>) -> Result<()> {
        const RESERVED: [&str; 4] = ["version", "status", "code", "stream"];
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        if let Some(http) = call::http() {
            let query = http
                .query
                .map_or(String::new(), |query| format!("?{query}"));
            let target = format!("{}://{}{}{query}", http.scheme, http.authority, http.path);
            call::add_header("seen-target", &format!("{} {target}", http.method))?;
            if let Some(status) = call::header("X-STATUS").and_then(|text| text.parse().ok()) {
                call::set_status(status)?;
            }
        }
        for (name, value) in call::headers() {
            let is_ours = name.to_ascii_lowercase().starts_with("x-");
            if is_ours || RESERVED.contains(&&*name) || name == "trailer" {
                call::add_header(&name, &text(value))?;
            }
        }
        if call::request_kind() == call::BodyKind::Octets {
            call::set_octets()?;
        }
        for piece in pieces {
            out.send(piece?)?;
        }
        for (name, value) in call::trailers() {
            call::add_trailer(&name, &text(value))?;
        }
        Ok(())
    }

    /// Passes messages on, under a header of its own.
    fn relay(messages: Incoming<Octets>, mut out: Outgoing<Octets>) -> Result<()> {
        call::add_header("x-relayed", "yes")?;
        for message in messages {
            out.send(message?)?;
        }
        Ok(())
    }
}
