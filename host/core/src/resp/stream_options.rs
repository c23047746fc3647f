//! Options of the commands for streams.

use super::{
    arguments::{RespError, integer, is},
    request::RespRequest,
    stream_id::{StreamId, whole},
};

/// Options of `XADD`, and where its fields begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddOptions {
    /// Whether a stream that is not there is an error that is told as null.
    pub needs_stream: bool,
    /// Of the request: the first field.
    pub fields_idx: usize,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStart {
    /// Behind this id.
    After(StreamId),
    /// With what comes from here on: `$`. A group has no such start.
    New,
    /// With what no consumer of the group has had: `>`.
    Undelivered,
}

/// Options of `XREAD` and `XREADGROUP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions<'r> {
    pub group: Option<GroupConsumer<'r>>,
    /// Entries of each stream; 0 is no bound.
    pub count: usize,
    /// For how long nothing may come, in milliseconds; 0 for ever.
    pub block_ms: Option<u64>,
    /// What is given counts as acknowledged.
    pub is_unacknowledged: bool,
    pub streams: Vec<(&'r [u8], StreamStart)>,
}

/// A group, and who of it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupConsumer<'r> {
    pub group: &'r [u8],
    pub consumer: &'r [u8],
}

/// Options of `XPENDING` beside stream and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingOptions<'r> {
    pub idle_ms_min: u64,
    pub from: &'r [u8],
    pub until: &'r [u8],
    pub count: usize,
    pub consumer: Option<&'r [u8]>,
}

/// Options of `XCLAIM` and `XAUTOCLAIM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimOptions {
    pub idle_ms_min: u64,
    /// How long the entries count as idle from then on.
    pub idle_ms: Option<u64>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    pub n_deliveries: Option<u64>,
    pub gives_ids_only: bool,
    pub ids: Vec<StreamId>,
    /// Of `XAUTOCLAIM`: entries that are looked at.
    pub count: usize,
}

impl AddOptions {
    /// # Errors
    /// As Redis says it, and for what a log does by its own rules: ids and how long it keeps events.
    pub fn read(request: &RespRequest) -> Result<Self, RespError> {
        let (mut idx, mut needs_stream) = (2, false);
        while let Some(word) = request.try_octets(idx) {
            if is(word, "NOMKSTREAM") {
                needs_stream = true;
                idx += 1;
            } else if is(word, "MAXLEN") || is(word, "MINID") {
                idx = skip_trimming(request, idx)?;
            } else {
                break;
            }
        }
        let id = request.try_octets(idx);
        let id = id.ok_or_else(|| RespError::wrong_arity("xadd"))?;
        if id != b"*" {
            StreamId::read(id.strip_suffix(b"-*").unwrap_or(id), 0)?;
            return Err(RespError::fixed(
                "ERR ids are given by the log of the durable topic; write *",
            ));
        }
        let fields_idx = idx + 1;
        let n_fields = request.len().saturating_sub(fields_idx);
        match n_fields == 0 || !n_fields.is_multiple_of(2) {
            true => Err(RespError::wrong_arity("xadd")),
            false => Ok(Self {
                needs_stream,
                fields_idx,
            }),
        }
    }
}

/// Trimming that may as well not be done is not done; what must be exact is for the log's own rules.
fn skip_trimming(request: &RespRequest, idx: usize) -> Result<usize, RespError> {
    let is_length = is(request.octets(idx), "MAXLEN");
    if request.try_octets(idx + 1) != Some(b"~") {
        return Err(RespError::fixed(
            "ERR how much of a durable topic is kept is its own setting; write MAXLEN ~, or leave it out",
        ));
    }
    let threshold = request.try_octets(idx + 2).ok_or(RespError::SYNTAX)?;
    match is_length {
        true => {
            if integer(threshold)? < 0 {
                return Err(RespError::fixed("ERR The MAXLEN argument must be >= 0."));
            }
        }
        false => drop(StreamId::read(threshold, 0)?),
    }
    let mut idx = idx + 3;
    if request
        .try_octets(idx)
        .is_some_and(|word| is(word, "LIMIT"))
    {
        integer(request.try_octets(idx + 1).ok_or(RespError::SYNTAX)?)?;
        idx += 2;
    }
    Ok(idx)
}

impl<'r> ReadOptions<'r> {
    /// Those of `XREADGROUP` where `is_group`, else of `XREAD`.
    ///
    /// # Errors
    /// As Redis says it.
    pub fn read(request: &'r RespRequest, is_group: bool) -> Result<Self, RespError> {
        let mut options = Self {
            group: None,
            count: 0,
            block_ms: None,
            is_unacknowledged: false,
            streams: Vec::new(),
        };
        let mut idx = 1;
        while let Some(word) = request.try_octets(idx) {
            let next = request.try_octets(idx + 1);
            match next {
                Some(next) if is(word, "BLOCK") => options.block_ms = Some(timeout(next)?),
                Some(next) if is(word, "COUNT") => {
                    let count = integer(next)?.max(0);
                    options.count = usize::try_from(count).unwrap_or(usize::MAX);
                }
                Some(_) if is(word, "STREAMS") => {
                    options.read_streams(request, idx + 1, is_group)?;
                    break;
                }
                Some(group) if is(word, "GROUP") && request.try_octets(idx + 2).is_some() => {
                    if !is_group {
                        return Err(only_of_groups("GROUP"));
                    }
                    let consumer = request.octets(idx + 2);
                    options.group = Some(GroupConsumer { group, consumer });
                    idx += 1;
                }
                _ if is(word, "NOACK") => {
                    if !is_group {
                        return Err(only_of_groups("NOACK"));
                    }
                    options.is_unacknowledged = true;
                    idx -= 1;
                }
                _ => return Err(RespError::SYNTAX),
            }
            idx += 2;
        }
        if options.streams.is_empty() {
            return Err(RespError::SYNTAX);
        }
        Ok(options)
    }

    fn read_streams(
        &mut self,
        request: &'r RespRequest,
        first: usize,
        is_group: bool,
    ) -> Result<(), RespError> {
        let n_rest = request.len() - first;
        let command = if is_group { "XREADGROUP" } else { "XREAD" };
        if !n_rest.is_multiple_of(2) {
            return Err(RespError::new(format!(
                "ERR Unbalanced {command} list of streams: for each stream key an ID or '$' must be \
                 specified."
            )));
        }
        if is_group && self.group.is_none() {
            return Err(RespError::fixed("ERR Missing GROUP option for XREADGROUP"));
        }
        let n_streams = n_rest / 2;
        for idx in first..first + n_streams {
            let id = request.octets(idx + n_streams);
            self.streams.push((request.octets(idx), self.start(id)?));
        }
        Ok(())
    }

    fn start(&self, id: &[u8]) -> Result<StreamStart, RespError> {
        match (id, self.group) {
            (b"$", _) => Ok(StreamStart::New),
            (b">", Some(_)) => Ok(StreamStart::Undelivered),
            (b">", None) => Err(RespError::fixed(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                 <group> <consumer> option.",
            )),
            (id, _) => Ok(StreamStart::After(StreamId::read(id, 0)?)),
        }
    }
}

impl<'r> PendingOptions<'r> {
    /// `None` where only the summary is asked for.
    ///
    /// # Errors
    /// As Redis says it.
    pub fn read(request: &'r RespRequest) -> Result<Option<Self>, RespError> {
        if request.len() == 3 {
            return Ok(None);
        }
        let mut idx = 3;
        let mut idle_ms_min = 0;
        if is(request.octets(idx), "IDLE") {
            let idle = request.try_octets(idx + 1).ok_or(RespError::SYNTAX)?;
            idle_ms_min = u64::try_from(integer(idle)?).unwrap_or(0);
            idx += 2;
        }
        let n_rest = request.len().saturating_sub(idx);
        if !(3..=4).contains(&n_rest) {
            return Err(RespError::SYNTAX);
        }
        let count = integer(request.octets(idx + 2))?.max(0);
        Ok(Some(Self {
            idle_ms_min,
            from: request.octets(idx),
            until: request.octets(idx + 1),
            count: usize::try_from(count).unwrap_or(usize::MAX),
            consumer: request.try_octets(idx + 3),
        }))
    }
}

impl ClaimOptions {
    /// Those of `XCLAIM`, behind stream, group and consumer.
    ///
    /// # Errors
    /// As Redis says it; `FORCE` is refused, as a log gives out what nobody has by itself.
    pub fn read(request: &RespRequest) -> Result<Self, RespError> {
        let mut options = Self::new(request.octets(4), "XCLAIM")?;
        let mut idx = 5;
        while let Some(id) = request.try_octets(idx) {
            match StreamId::read(id, 0) {
                Ok(id) => options.ids.push(id),
                Err(error) if options.ids.is_empty() => return Err(error),
                Err(_) => break,
            }
            idx += 1;
        }
        while let Some(word) = request.try_octets(idx) {
            let next = request.try_octets(idx + 1);
            let number = |what: &str| {
                let number = next.ok_or(RespError::SYNTAX).map(whole)?;
                let text = format!("ERR Invalid {what} option argument for XCLAIM");
                number.ok_or_else(|| RespError::new(text))
            };
            if is(word, "JUSTID") {
                options.gives_ids_only = true;
                idx += 1;
                continue;
            } else if is(word, "IDLE") {
                options.idle_ms = Some(number("IDLE")?);
            } else if is(word, "TIME") {
                options.since_ms = Some(number("TIME")?);
            } else if is(word, "RETRYCOUNT") {
                options.n_deliveries = Some(number("RETRYCOUNT")?);
            } else if is(word, "LASTID") {
                StreamId::read(next.ok_or(RespError::SYNTAX)?, 0)?;
            } else if is(word, "FORCE") {
                return Err(RespError::fixed(
                    "ERR FORCE is not possible: entries that nobody has are given out by XREADGROUP",
                ));
            } else {
                let shown = String::from_utf8_lossy(word);
                return Err(RespError::new(format!(
                    "ERR Unrecognized XCLAIM option '{shown}'"
                )));
            }
            idx += 2;
        }
        Ok(options)
    }

    /// Those of `XAUTOCLAIM`, whose start is the one id.
    ///
    /// # Errors
    /// As Redis says it.
    pub fn read_auto(request: &RespRequest) -> Result<Self, RespError> {
        let mut options = Self::new(request.octets(4), "XAUTOCLAIM")?;
        let start = match request.octets(5) {
            b"-" => StreamId::default(),
            id => StreamId::read(id, 0)?,
        };
        options.ids.push(start);
        let mut idx = 6;
        while let Some(word) = request.try_octets(idx) {
            if is(word, "JUSTID") {
                options.gives_ids_only = true;
                idx += 1;
                continue;
            }
            let next = request.try_octets(idx + 1).filter(|_| is(word, "COUNT"));
            let count = integer(next.ok_or(RespError::SYNTAX)?)?;
            let count = usize::try_from(count).ok().filter(|count| *count > 0);
            options.count = count.ok_or_else(|| RespError::fixed("ERR COUNT must be > 0"))?;
            idx += 2;
        }
        Ok(options)
    }

    fn new(idle: &[u8], command: &str) -> Result<Self, RespError> {
        let idle = integer(idle).map_err(|_| {
            RespError::new(format!("ERR Invalid min-idle-time argument for {command}"))
        })?;
        Ok(Self {
            idle_ms_min: u64::try_from(idle).unwrap_or(0),
            idle_ms: None,
            since_ms: None,
            n_deliveries: None,
            gives_ids_only: false,
            ids: Vec::new(),
            count: AUTO_CLAIM_COUNT,
        })
    }
}

fn timeout(octets: &[u8]) -> Result<u64, RespError> {
    let ms = integer(octets)
        .map_err(|_| RespError::fixed("ERR timeout is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| RespError::fixed("ERR timeout is negative"))
}

fn only_of_groups(option: &str) -> RespError {
    RespError::new(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    ))
}

/// Redis: entries that `XAUTOCLAIM` looks at where nothing is said.
const AUTO_CLAIM_COUNT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> RespRequest {
        RespRequest::of(line.split(' '))
    }

    #[test]
    fn xadd_takes_the_id_that_the_log_gives() {
        let read = |line: &str| AddOptions::read(&request(line)).map_err(|error| error.0);
        let options = |needs_stream, fields_idx| {
            Ok(AddOptions {
                needs_stream,
                fields_idx,
            })
        };
        assert_eq!(read("XADD k * f v"), options(false, 3));
        assert_eq!(
            read("XADD k NOMKSTREAM MAXLEN ~ 9 LIMIT 3 * f v"),
            options(true, 9)
        );
        assert_eq!(read("XADD k MINID ~ 5-0 * f v"), options(false, 6));
        let wrong = "ERR wrong number of arguments for 'xadd' command";
        assert_eq!(read("XADD k * f v g"), Err(wrong.into()));
        assert!(read("XADD k 5-0 f v").is_err_and(|text| text.contains("write *")));
        assert!(read("XADD k MAXLEN 9 * f v").is_err_and(|text| text.contains("MAXLEN ~")));
        assert_eq!(read("XADD k x f v"), Err(RespError::INVALID_ID.0));
    }

    #[test]
    fn readers_name_streams_and_where_they_begin() {
        let read = request("XREAD COUNT 2 BLOCK 5 STREAMS a b 1-0 $");
        let options = ReadOptions::read(&read, false).expect("good");
        let after = StreamStart::After(StreamId {
            position: 1,
            sequence: 0,
        });
        assert_eq!(
            options.streams,
            [(&b"a"[..], after), (b"b", StreamStart::New)]
        );
        assert_eq!((options.count, options.block_ms), (2, Some(5)));
        let read = request("XREADGROUP GROUP g c NOACK STREAMS a >");
        let options = ReadOptions::read(&read, true).expect("good");
        assert!(options.is_unacknowledged);
        assert_eq!(options.streams, [(&b"a"[..], StreamStart::Undelivered)]);
        assert_eq!(options.group.map(|group| group.consumer), Some(&b"c"[..]));
    }

    #[test]
    fn readers_are_refused_as_redis_does() {
        let error = |line: &str, is_group| {
            let request = request(line);
            let read = ReadOptions::read(&request, is_group).map(|_| ());
            read.expect_err("wrong").0.into_owned()
        };
        assert!(error("XREAD STREAMS a b 1", false).starts_with("ERR Unbalanced XREAD list"));
        assert_eq!(
            error("XREAD BLOCK -1 STREAMS a 1", false),
            "ERR timeout is negative"
        );
        assert!(error("XREAD GROUP g c STREAMS a 1", false).starts_with("ERR The GROUP option"));
        assert!(error("XREAD STREAMS a >", false).starts_with("ERR The > ID"));
        let missing = "ERR Missing GROUP option for XREADGROUP";
        assert_eq!(error("XREADGROUP COUNT 1 NOACK STREAMS a 1", true), missing);
        assert_eq!(error("XREAD COUNT 1", false), "ERR syntax error");
    }

    #[test]
    fn claims_name_ids_and_then_options() {
        let claim = request("XCLAIM k g c 10 1-0 2-0 IDLE 5 JUSTID");
        let options = ClaimOptions::read(&claim).expect("good");
        assert_eq!(
            (options.ids.len(), options.idle_ms, options.idle_ms_min),
            (2, Some(5), 10)
        );
        assert!(options.gives_ids_only);
        let claim = request("XAUTOCLAIM k g c 10 0 COUNT 7");
        let options = ClaimOptions::read_auto(&claim).expect("good");
        assert_eq!((options.ids.len(), options.count), (1, 7));
        assert!(ClaimOptions::read(&request("XCLAIM k g c 10 1-0 FORCE")).is_err());
    }
}
