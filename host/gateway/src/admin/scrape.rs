//! `/metrics` as the scraper asks for it: OpenMetrics or the Prometheus text format, compressed or not.
//! Negotiation: RFC 9110 section 12.5; gzip: RFC 1952.

use std::io::{self, Write as _};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};

use crate::telemetry::export::CONTENT_TYPE;

/// Answers with `exposition`, which is OpenMetrics.
pub(super) fn answer(exposition: String, headers: &HeaderMap) -> Response {
    let text = if prefers_open_metrics(headers) {
        (CONTENT_TYPE, exposition)
    } else {
        (TEXT_TYPE, to_prometheus_text(&exposition))
    };
    let (media, text) = text;
    let vary = (
        header::VARY,
        HeaderValue::from_static("accept, accept-encoding"),
    );
    let media = (header::CONTENT_TYPE, HeaderValue::from_static(media));
    // Writing into memory does not fail; if it did, the text is good as it is.
    if takes_gzip(headers)
        && let Ok(octets) = gzip_of(text.as_bytes())
    {
        let gzip = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return ([media, vary, gzip], octets).into_response();
    }
    ([media, vary], text).into_response()
}

/// OpenMetrics unless the text format is asked for more: who asks for nothing gets what was always
/// here.
fn prefers_open_metrics(headers: &HeaderMap) -> bool {
    let (mut open, mut text, mut any) = (None, None, None);
    for (item, quality) in items(headers, header::ACCEPT) {
        let place = match item.as_str() {
            "application/openmetrics-text" | "application/*" => &mut open,
            "text/plain" | "text/*" => &mut text,
            "*/*" => &mut any,
            _ => continue,
        };
        *place = Some(place.map_or(quality, |before: u16| before.max(quality)));
    }
    let (open, text) = (open.or(any), text.or(any));
    match (open, text) {
        (None, Some(text)) => text == 0,
        (open, text) => open.unwrap_or(0) >= text.unwrap_or(0),
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut named = None;
    let mut any = 0;
    for (item, quality) in items(headers, header::ACCEPT_ENCODING) {
        match item.as_str() {
            "gzip" | "x-gzip" => named = Some(quality),
            "*" => any = quality,
            _ => {}
        }
    }
    named.unwrap_or(any) > 0
}

/// The items of a list of preferences, in lower case and without parameters, with their quality in
/// thousandths.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = (String, u16)> {
    let values = headers.get_all(name).into_iter();
    let texts: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    let list = texts.join(",").to_ascii_lowercase();
    let items: Vec<_> = list
        .split(',')
        .map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_owned();
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            (name, quality.map_or(1000, thousandths))
        })
        .collect();
    items.into_iter()
}

/// A quality of at most three decimals, in thousandths; what is none counts as 0.
fn thousandths(quality: &str) -> u16 {
    let (whole, decimals) = quality.split_once('.').unwrap_or((quality, ""));
    let padded: String = decimals.chars().chain("000".chars()).take(3).collect();
    let number = whole.parse::<u16>().ok().zip(padded.parse::<u16>().ok());
    number.map_or(0, |(whole, decimals)| {
        whole
            .saturating_mul(1000)
            .saturating_add(decimals)
            .min(1000)
    })
}

/// The same numbers in the Prometheus text format 0.0.4: a counter's name has its `_total` where it is
/// described, too, and nothing says that it is over.
fn to_prometheus_text(exposition: &str) -> String {
    let mut text = String::with_capacity(exposition.len());
    let mut help = None;
    for line in exposition.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), told) => {
                help = Some((name, told.unwrap_or_default()));
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let suffix = if kind == "counter" { "_total" } else { "" };
                if let Some((of, told)) = help.take()
                    && of == name
                {
                    text.push_str(&format!("# HELP {name}{suffix} {told}\n"));
                }
                text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

fn gzip_of(octets: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(octets)?;
    gzip.finish()
}

const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: Option<&str>) -> HeaderMap {
        let value = value.map(|value| value.parse().expect("a value"));
        value.map(|value| (name, value)).into_iter().collect()
    }

    #[track_caller]
    fn check_format(accept: Option<&str>, is_open_metrics: bool) {
        let headers = headers(header::ACCEPT, accept);
        assert_eq!(
            prefers_open_metrics(&headers),
            is_open_metrics,
            "{accept:?}"
        );
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for_most() {
        check_format(None, true);
        check_format(Some("*/*"), true);
        check_format(Some("text/plain"), false);
        check_format(Some("text/plain;version=0.0.4;q=0.5,*/*;q=0.1"), false);
        check_format(Some("application/openmetrics-text"), true);
        // As Prometheus 2 and 3 ask.
        let both = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        check_format(Some(both), true);
        check_format(
            Some("text/plain;q=0.9, application/openmetrics-text;q=0.8"),
            false,
        );
        check_format(Some("application/json"), true);
    }

    #[track_caller]
    fn check_gzip(accept: Option<&str>, is_taken: bool) {
        let headers = headers(header::ACCEPT_ENCODING, accept);
        assert_eq!(takes_gzip(&headers), is_taken, "{accept:?}");
    }

    #[test]
    fn compresses_for_those_who_take_it() {
        check_gzip(None, false);
        check_gzip(Some("gzip"), true);
        check_gzip(Some("br, GZIP;q=0.5"), true);
        check_gzip(Some("gzip;q=0, *"), false);
        check_gzip(Some("*;q=0.001"), true);
        check_gzip(Some("br"), false);
        check_gzip(Some("gzip;q=x"), false);
    }

    #[test]
    fn text_describes_counters_by_their_whole_name() {
        let open = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n\
                    # HELP c One.\n# TYPE c gauge\n# UNIT c bytes\nc 3\n# EOF\n";
        let text = "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n\
                    # HELP c One.\n# TYPE c gauge\nc 3\n";
        assert_eq!(to_prometheus_text(open), text);
    }

    #[test]
    fn gzip_is_read_again() {
        let octets = b"postern postern postern".repeat(100);
        let gzip = gzip_of(&octets).expect("compressed");
        let mut inflated = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&gzip[..]);
        io::Read::read_to_end(&mut decoder, &mut inflated).expect("gzip");
        assert_eq!(inflated, octets);
        assert!(gzip.len() < octets.len() / 10, "{} octets", gzip.len());
    }
}
