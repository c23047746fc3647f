//! The messages of `proto`, as this component reads and writes them.

use std::collections::BTreeMap;

use postern_guest::{Failure, Octets, Result};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BoolValue {
    #[prost(bool, tag = "1")]
    pub(crate) value: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Payload {
    /// `PayloadType`.
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) body: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EchoStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TestOrcaReport {
    #[prost(double, tag = "1")]
    pub(crate) cpu_utilization: f64,
    #[prost(double, tag = "2")]
    pub(crate) memory_utilization: f64,
    #[prost(btree_map = "string, double", tag = "3")]
    pub(crate) request_cost: BTreeMap<String, f64>,
    #[prost(btree_map = "string, double", tag = "4")]
    pub(crate) utilization: BTreeMap<String, f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SimpleRequest {
    #[prost(int32, tag = "1")]
    pub(crate) response_type: i32,
    #[prost(int32, tag = "2")]
    pub(crate) response_size: i32,
    #[prost(message, optional, tag = "6")]
    pub(crate) response_compressed: Option<BoolValue>,
    #[prost(message, optional, tag = "7")]
    pub(crate) response_status: Option<EchoStatus>,
    #[prost(bool, tag = "9")]
    pub(crate) fill_server_id: bool,
    #[prost(message, optional, tag = "11")]
    pub(crate) orca_per_query_report: Option<TestOrcaReport>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SimpleResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) payload: Option<Payload>,
    #[prost(string, tag = "4")]
    pub(crate) server_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamingInputCallRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) payload: Option<Payload>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamingInputCallResponse {
    #[prost(int32, tag = "1")]
    pub(crate) aggregated_payload_size: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ResponseParameters {
    #[prost(int32, tag = "1")]
    pub(crate) size: i32,
    #[prost(int32, tag = "2")]
    pub(crate) interval_us: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) compressed: Option<BoolValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamingOutputCallRequest {
    #[prost(int32, tag = "1")]
    pub(crate) response_type: i32,
    #[prost(message, repeated, tag = "2")]
    pub(crate) response_parameters: Vec<ResponseParameters>,
    #[prost(message, optional, tag = "7")]
    pub(crate) response_status: Option<EchoStatus>,
    #[prost(message, optional, tag = "8")]
    pub(crate) orca_oob_report: Option<TestOrcaReport>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamingOutputCallResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) payload: Option<Payload>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Interval {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OrcaLoadReportRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) report_interval: Option<Interval>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OrcaLoadReport {
    #[prost(double, tag = "1")]
    pub(crate) cpu_utilization: f64,
    #[prost(double, tag = "2")]
    pub(crate) mem_utilization: f64,
    #[prost(btree_map = "string, double", tag = "4")]
    pub(crate) request_cost: BTreeMap<String, f64>,
    #[prost(btree_map = "string, double", tag = "5")]
    pub(crate) utilization: BTreeMap<String, f64>,
}

impl From<TestOrcaReport> for OrcaLoadReport {
    fn from(report: TestOrcaReport) -> Self {
        Self {
            cpu_utilization: report.cpu_utilization,
            mem_utilization: report.memory_utilization,
            request_cost: report.request_cost,
            utilization: report.utilization,
        }
    }
}

/// # Errors
/// `invalid-argument` where the octets are no such message.
pub(crate) fn read<M: prost::Message + Default>(octets: &Octets) -> Result<M> {
    M::decode(&**octets).map_err(|error| Failure::invalid_argument(error.to_string()))
}

pub(crate) fn written(message: &impl prost::Message) -> Octets {
    Octets(message.encode_to_vec())
}
