//! What a plugin uses, as `postern plugins` writes it: a line for each version and for each series of its own
//! metrics.

use serde_json::Value as Json;

use super::plugins::text;

/// `1.2.0  ok 12, failed 1; processor 0.004 s, calls 0.010 s; memory 1.2 MiB (4.0 MiB at most in one); ..`.
pub(super) fn version_line(version: &Json) -> String {
    let state = match version.pointer("/alive").and_then(Json::as_bool) {
        Some(true) => "",
        Some(false) | None => ", ended",
    };
    let mut parts = vec![
        format!("calls: {}", counts(version, "/calls")),
        format!(
            "processor {}, in calls {}",
            seconds(version, "/processor_seconds"),
            seconds(version, "/call_seconds"),
        ),
        format!(
            "memory {}, one at most {}",
            octets(version, "/memory_bytes"),
            octets(version, "/memory_bytes_high"),
        ),
        format!(
            "instances {} of {} made, dropped: {}",
            text(version, "/instances"),
            text(version, "/instances_created"),
            counts(version, "/retired"),
        ),
    ];
    if number(version, "/queue_waits") > 0.0 {
        let (n_waits, waited) = (text(version, "/queue_waits"), "/queue_wait_seconds");
        let waited = seconds(version, waited);
        parts.push(format!("{n_waits} calls queued for {waited}"));
    }
    for (name, pointer) in [
        ("traps", "/traps"),
        ("calls of the host", "/host_calls"),
        ("waited for the host, in seconds", "/host_call_seconds"),
        ("reloads", "/reloads"),
    ] {
        let counts = counts(version, pointer);
        if counts != NONE {
            parts.push(format!("{name}: {counts}"));
        }
    }
    let name = text(version, "/version");
    format!("{name}{state}: {}", parts.join("; "))
}

/// `jobs_done{queue="mail"} 3`: counters and gauges their value, histograms how many and their sum. A metric
/// without series has no line.
pub(super) fn metric_lines(metric: &Json) -> Vec<String> {
    let name = text(metric, "/name");
    let series = metric.pointer("/series").and_then(Json::as_array);
    let series = series.into_iter().flatten();
    series
        .map(|series| {
            let labels = series.pointer("/labels").and_then(Json::as_object);
            let labels = labels.into_iter().flatten();
            let labels: Vec<_> = labels
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let labels = match labels.is_empty() {
                true => String::new(),
                false => format!("{{{}}}", labels.join(",")),
            };
            let value = text(series, "/value");
            match text(series, "/count").as_str() {
                "" => format!("{name}{labels} {value}"),
                count => format!("{name}{labels} {count} of {value} together"),
            }
        })
        .collect()
}

/// Seconds with as many digits as they are worth: `0.0042 s`, `12 s`.
pub(super) fn seconds(json: &Json, pointer: &str) -> String {
    let seconds = number(json, pointer);
    match seconds {
        0.0 => "0 s".to_owned(),
        ..0.001 => format!("{:.0} µs", seconds * 1e6),
        ..1.0 => format!("{:.1} ms", seconds * 1e3),
        ..100.0 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// Octets as people read them: `1.2 MiB`.
pub(super) fn octets(json: &Json, pointer: &str) -> String {
    const KIB: f64 = 1024.0;
    let octets = number(json, pointer);
    match octets {
        ..KIB => format!("{octets:.0} octets"),
        octets if octets < KIB * KIB => format!("{:.1} KiB", octets / KIB),
        octets if octets < KIB * KIB * KIB => format!("{:.1} MiB", octets / KIB / KIB),
        octets => format!("{:.1} GiB", octets / KIB / KIB / KIB),
    }
}

/// `failed 1, ok 12`.
fn counts(json: &Json, pointer: &str) -> String {
    let counts = json.pointer(pointer).and_then(Json::as_object);
    let counts: Vec<_> = counts
        .into_iter()
        .flatten()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    match counts.is_empty() {
        true => NONE.to_owned(),
        false => counts.join(", "),
    }
}

fn number(json: &Json, pointer: &str) -> f64 {
    let number = json.pointer(pointer).and_then(Json::as_f64);
    number.unwrap_or_default()
}

const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_reads_like_this() {
        let version = json!({
            "version": "1.2.0", "alive": true,
            "calls": { "failed": 1, "ok": 12 }, "traps": { "unreachable": 1 },
            "call_seconds": 1.25, "processor_seconds": 0.0042,
            "memory_bytes": 1_258_291, "memory_bytes_high": 65_536,
            "instances": 2, "instances_created": 3, "retired": { "trapped": 1 },
            "queue_waits": 2, "queue_wait_seconds": 0.000_12,
            "host_calls": { "kv": 4 }, "host_call_seconds": { "kv": 0.5 }, "reloads": {},
        });
        assert_eq!(
            version_line(&version),
            "1.2.0: calls: failed 1, ok 12; processor 4.2 ms, in calls 1.2 s; memory 1.2 MiB, one \
             at most 64.0 KiB; instances 2 of 3 made, dropped: trapped 1; 2 calls queued for 120 µs; \
             traps: unreachable 1; calls of the host: kv 4; waited for the host, in seconds: kv 0.5"
        );
        let ended = json!({ "version": "1", "alive": false });
        let line = version_line(&ended);
        assert!(
            line.starts_with("1, ended: calls: none; processor 0 s"),
            "{line}"
        );
    }

    #[test]
    fn series_of_a_plugins_own_metrics_read_like_this() {
        let metric = json!({ "name": "jobs", "kind": "counter", "series": [
            { "labels": { "queue": "mail" }, "value": 3.0 },
            { "labels": {}, "value": 1.5, "count": 2 },
        ]});
        let lines = metric_lines(&metric);
        assert_eq!(
            lines,
            ["jobs{queue=\"mail\"} 3.0", "jobs 2 of 1.5 together"]
        );
    }

    #[test]
    fn sizes_and_times_are_as_long_as_people_read_them() {
        let json = json!({ "a": 0, "b": 1023, "c": 3_221_225_472_u64, "d": 250.4, "e": 0.5 });
        assert_eq!(octets(&json, "/a"), "0 octets");
        assert_eq!(octets(&json, "/b"), "1023 octets");
        assert_eq!(octets(&json, "/c"), "3.0 GiB");
        assert_eq!(seconds(&json, "/d"), "250 s");
        assert_eq!(seconds(&json, "/e"), "500.0 ms");
    }
}
