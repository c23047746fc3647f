//! The service that clients of gRPC are tested against (`grpc/doc/interop-test-descriptions.md`), and the one
//! by which they ask for the load of a server. Messages are protobuf, which this component reads itself. Whether
//! they were compressed is not told to a component, so that `expect_compressed` is not looked at.

mod messages;

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use postern_guest::{Failure, Incoming, Kind, Octets, Outgoing, Result, call, kv};

use crate::messages::{
    BoolValue, EchoStatus, OrcaLoadReport, OrcaLoadReportRequest, Payload, ResponseParameters,
    SimpleRequest, SimpleResponse, StreamingInputCallRequest, StreamingInputCallResponse,
    StreamingOutputCallRequest, StreamingOutputCallResponse, read, written,
};

/// Metadata that is sent back before the first message, and after the last.
const ECHO_INITIAL: &str = "x-grpc-test-echo-initial";
const ECHO_TRAILING: &str = "x-grpc-test-echo-trailing-bin";
/// Trailing metadata with the load that a call has caused. gRFC A51.
const LOAD_OF_CALL: &str = "endpoint-load-metrics-bin";
/// Of the store: the load that was last told out of band.
const LOAD: &str = "load";
/// Payloads of answers; the largest that a case asks for has 314,159 octets.
const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// `PayloadType.COMPRESSABLE`, the only one that is answered.
const COMPRESSABLE: i32 = 0;

struct TestService;

/// Answers what clients of gRPC are tested with.
#[postern_guest::service(name = "grpc.testing.TestService", part)]
impl TestService {
    /// Answers nothing with nothing.
    #[method(idempotent)]
    fn empty_call(_: Octets) -> Octets {
        Octets::default()
    }

    /// Answers with a payload of the size that is asked for, or with the status.
    fn unary_call(message: Octets) -> Result<Octets> {
        answer(&read(&message)?)
    }

    /// Answers with the time, which caches may keep for a minute.
    #[method(idempotent)]
    fn cacheable_unary_call(_: Octets) -> Result<Octets> {
        call::add_header("cache-control", "max-age=60, public")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos().to_string();
        Ok(written(&SimpleResponse {
            payload: Some(payload_of(now.into_bytes())),
            server_id: String::new(),
        }))
    }

    /// Sends payloads of the sizes that are asked for, at the intervals.
    fn streaming_output_call(message: Octets, mut out: Outgoing<Octets>) -> Result<()> {
        let request: StreamingOutputCallRequest = read(&message)?;
        compress_stream(&request.response_parameters)?;
        send_payloads(&request, &mut out)
    }

    /// Adds up the sizes of payloads.
    fn streaming_input_call(messages: Incoming<Octets>) -> Result<Octets> {
        let mut n_octets = 0_usize;
        for message in messages {
            let request: StreamingInputCallRequest = read(&message?)?;
            n_octets += request.payload.map_or(0, |payload| payload.body.len());
        }
        let aggregated_payload_size = i32::try_from(n_octets)
            .map_err(|_| Failure::out_of_range(format!("{n_octets} octets of payloads")))?;
        Ok(written(&StreamingInputCallResponse {
            aggregated_payload_size,
        }))
    }

    /// Answers each request as it comes.
    fn full_duplex_call(messages: Incoming<Octets>, mut out: Outgoing<Octets>) -> Result<()> {
        echo_metadata()?;
        for message in messages {
            let request: StreamingOutputCallRequest = read(&message?)?;
            if let Some(report) = request.orca_oob_report.clone() {
                kv::octets::set(LOAD, &written(&OrcaLoadReport::from(report)))?;
            }
            fail_as_asked(request.response_status.as_ref())?;
            send_payloads(&request, &mut out)?;
        }
        Ok(())
    }

    /// Answers all requests once the last has come.
    fn half_duplex_call(messages: Incoming<Octets>, mut out: Outgoing<Octets>) -> Result<()> {
        let requests = messages.map(|message| read(&message?));
        let requests: Vec<StreamingOutputCallRequest> = requests.collect::<Result<_>>()?;
        let mut requests = requests.iter();
        requests.try_for_each(|request| send_payloads(request, &mut out))
    }
}

struct OpenRcaService;

/// Tells the load that was last told to this component.
#[postern_guest::service(name = "xds.service.orca.v3.OpenRcaService", part)]
impl OpenRcaService {
    /// Sends the load at the interval that is asked for, until the caller leaves.
    fn stream_core_metrics(message: Octets, mut out: Outgoing<Octets>) -> Result<()> {
        const INTERVAL_MIN: Duration = Duration::from_millis(100);
        let request: OrcaLoadReportRequest = read(&message)?;
        let interval = request.report_interval.unwrap_or_default();
        let seconds = u64::try_from(interval.seconds).unwrap_or_default();
        let nanos = u32::try_from(interval.nanos).unwrap_or_default();
        let interval = Duration::new(seconds, nanos).max(INTERVAL_MIN);
        loop {
            let report = kv::octets::get(LOAD)?.unwrap_or_default();
            out.send(Octets(report))?;
            // Blocks this instance only.
            thread::sleep(interval);
        }
    }
}

postern_guest::services!(TestService, OpenRcaService);

fn answer(request: &SimpleRequest) -> Result<Octets> {
    echo_metadata()?;
    fail_as_asked(request.response_status.as_ref())?;
    compress(request.response_compressed.as_ref())?;
    if let Some(report) = request.orca_per_query_report.clone() {
        let report = written(&OrcaLoadReport::from(report));
        call::add_binary_trailer(LOAD_OF_CALL, &report)?;
    }
    let server_id = if request.fill_server_id {
        "component"
    } else {
        ""
    };
    Ok(written(&SimpleResponse {
        payload: Some(payload(request.response_type, request.response_size)?),
        server_id: server_id.to_owned(),
    }))
}

fn echo_metadata() -> Result<()> {
    for (name, value) in call::headers() {
        match &*name {
            ECHO_INITIAL => call::add_binary_header(&name, &value)?,
            ECHO_TRAILING => call::add_binary_trailer(&name, &value)?,
            _ => {}
        }
    }
    Ok(())
}

fn fail_as_asked(status: Option<&EchoStatus>) -> Result<()> {
    let Some(status) = status.filter(|status| status.code != 0) else {
        return Ok(());
    };
    let index = usize::try_from(status.code - 1).unwrap_or(usize::MAX);
    let kind = Kind::ALL.get(index).copied().unwrap_or(Kind::Unknown);
    Err(Failure::new(kind, status.message.clone()))
}

/// Asks for messages of the reply to be compressed, or not to be.
fn compress(wanted: Option<&BoolValue>) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let coding = if wanted.value { "gzip" } else { "identity" };
    call::add_header("grpc-encoding", coding)
}

/// A stream has one coding, which is that of its messages that are to be compressed.
fn compress_stream(parameters: &[ResponseParameters]) -> Result<()> {
    let wanted = parameters.iter().filter_map(|one| one.compressed.as_ref());
    compress(wanted.max_by_key(|wanted| wanted.value))
}

fn send_payloads(request: &StreamingOutputCallRequest, out: &mut Outgoing<Octets>) -> Result<()> {
    for ResponseParameters {
        size, interval_us, ..
    } in &request.response_parameters
    {
        // Blocks this instance only.
        thread::sleep(Duration::from_micros(
            u64::try_from(*interval_us).unwrap_or_default(),
        ));
        let payload = Some(payload(request.response_type, *size)?);
        out.send(written(&StreamingOutputCallResponse { payload }))?;
    }
    Ok(())
}

fn payload(kind: i32, size: i32) -> Result<Payload> {
    if kind != COMPRESSABLE {
        let text = format!("payloads of type {kind} are not made here");
        return Err(Failure::invalid_argument(text));
    }
    let length = usize::try_from(size).ok();
    let length = length.filter(|&length| length <= PAYLOAD_BYTES_MAX);
    let length = length.ok_or_else(|| {
        Failure::invalid_argument(format!("size {size} is not 0 to {PAYLOAD_BYTES_MAX}"))
    })?;
    Ok(payload_of(vec![0; length]))
}

const fn payload_of(body: Vec<u8>) -> Payload {
    Payload {
        kind: COMPRESSABLE,
        body,
    }
}

#[cfg(test)]
mod tests {
    use postern_guest::fake::Host;

    use super::*;

    fn unary(host: &Host, request: &SimpleRequest) -> Result<SimpleResponse> {
        let reply = host.call::<TestService>("UnaryCall", written(request))?;
        read(&reply)
    }

    #[test]
    fn a_payload_has_the_size_that_is_asked_for() {
        let request = SimpleRequest {
            response_size: 1000,
            ..SimpleRequest::default()
        };
        let response = unary(&Host::new(), &request).unwrap();
        assert_eq!(
            response.payload.map(|payload| payload.body.len()),
            Some(1000)
        );
        let request = SimpleRequest {
            response_size: -1,
            ..SimpleRequest::default()
        };
        let failure = unary(&Host::new(), &request).unwrap_err();
        assert_eq!(failure.kind, Kind::InvalidArgument);
    }

    #[test]
    fn a_status_is_answered_after_the_metadata() {
        let host = Host::new();
        host.header(ECHO_INITIAL, "first")
            .header(ECHO_TRAILING, [0xab]);
        let request = SimpleRequest {
            response_status: Some(EchoStatus {
                code: 2,
                message: "\t\ntold ☺".to_owned(),
            }),
            ..SimpleRequest::default()
        };
        let failure = unary(&host, &request).unwrap_err();
        assert_eq!(failure, Failure::new(Kind::Unknown, "\t\ntold ☺"));
        let initial = (ECHO_INITIAL.to_owned(), "first".to_owned());
        assert_eq!(host.reply_headers(), [initial]);
        let trailing = (ECHO_TRAILING.to_owned(), vec![0xab]);
        assert_eq!(host.binary_reply_trailers(), [trailing]);
    }

    #[test]
    fn streams_are_answered_as_they_come_and_at_their_end() {
        let request = |sizes: &[i32]| StreamingOutputCallRequest {
            response_parameters: sizes
                .iter()
                .map(|&size| ResponseParameters {
                    size,
                    ..ResponseParameters::default()
                })
                .collect(),
            ..StreamingOutputCallRequest::default()
        };
        for method in ["FullDuplexCall", "HalfDuplexCall"] {
            let host = Host::new();
            host.incoming(written(&request(&[1, 2])));
            host.incoming(written(&request(&[3])));
            let replies = host.call_stream::<TestService>(method).unwrap();
            let sizes = replies.iter().map(|reply| {
                let reply: StreamingOutputCallResponse = read(reply).unwrap();
                reply.payload.map(|payload| payload.body.len())
            });
            assert_eq!(
                sizes.collect::<Vec<_>>(),
                [Some(1), Some(2), Some(3)],
                "{method}"
            );
        }
    }
}
