//! What a client accepts (RFC 9110 section 12.5.1), and what it is sent for it. Pure.

use http::{HeaderMap, header};

use super::is_ndjson;

/// The media ranges of `accept`, and how much each is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accepted<'a> {
    /// `None` where nothing is said: all is wanted.
    ranges: Option<Vec<MediaRange<'a>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct MediaRange<'a> {
    media: &'a str,
    /// Thousandths; 0 is not acceptable.
    quality: u16,
}

/// How a reply is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ReplyForm {
    /// A message as it is, several as lines.
    #[default]
    Usual,
    /// Messages as lines of NDJSON, one message as well.
    Lines,
    /// Messages as server-sent events, one message as well.
    Events,
    /// Messages as one JSON array. No client asks for it; some routes answer so.
    Array,
}

impl<'a> Accepted<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter();
        let mut items = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .peekable();
        if items.peek().is_none() {
            return Self { ranges: None };
        }
        let ranges = items.take(RANGES_MAX).map(MediaRange::parse);
        Self {
            ranges: Some(ranges.collect()),
        }
    }

    /// How much `media` is wanted, by the most precise range that has it. In thousandths.
    pub(super) fn quality(&self, media: &str) -> u16 {
        let Some(ranges) = &self.ranges else {
            return QUALITY_MAX;
        };
        let (kind, _) = media.split_once('/').unwrap_or((media, ""));
        let of = |is_meant: &dyn Fn(&str) -> bool| {
            let mut found = ranges.iter().filter(|range| is_meant(range.media));
            found.next().map(|range| range.quality)
        };
        let is_kind = |range: &str| {
            let named = range.strip_suffix("/*");
            named.is_some_and(|named| named.eq_ignore_ascii_case(kind))
        };
        of(&|range| range.eq_ignore_ascii_case(media))
            .or_else(|| of(&is_kind))
            .or_else(|| of(&|range| range == "*/*"))
            .unwrap_or(0)
    }

    /// Whether `media` itself is asked for, and not only a range that has it.
    pub(super) fn names(&self, media: &str) -> bool {
        let mut ranges = self.ranges.iter().flatten();
        ranges.any(|range| range.media.eq_ignore_ascii_case(media) && range.quality > 0)
    }

    /// How a reply is to be written: as a stream's form only where it is named.
    pub(super) fn reply_form(&self) -> ReplyForm {
        let ranges = || self.ranges.iter().flatten();
        let best = |is_of: &dyn Fn(&str) -> bool| {
            let named = ranges().filter(|range| is_of(range.media));
            named.map(|range| range.quality).max().unwrap_or(0)
        };
        let (lines, events) = (
            best(&is_ndjson),
            best(&|media| media.eq_ignore_ascii_case(EVENT_STREAM)),
        );
        match (lines, events) {
            (0, 0) => ReplyForm::Usual,
            (lines, events) if lines >= events => ReplyForm::Lines,
            (_, _) => ReplyForm::Events,
        }
    }
}

impl ReplyForm {
    /// As `Accepted::reply_form`. Few requests name a form of streams; the fields of others are not
    /// parsed.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match says(headers, "ndjson") || says(headers, "event-stream") {
            true => Accepted::of(headers).reply_form(),
            false => Self::Usual,
        }
    }
}

/// Whether errors are wanted as problem details. Few requests say so; the fields of others are not
/// parsed.
pub(super) fn wants_problems(headers: &HeaderMap) -> bool {
    says(headers, "problem+json") && Accepted::of(headers).names(PROBLEM)
}

/// Whether `accept` may name a media type that ends with `subtype`, which is in lower case.
fn says(headers: &HeaderMap, subtype: &str) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter();
    values.any(|value| {
        let mut places = value.as_bytes().windows(subtype.len());
        places.any(|place| place.eq_ignore_ascii_case(subtype.as_bytes()))
    })
}

impl<'a> MediaRange<'a> {
    fn parse(item: &'a str) -> Self {
        let (media, quality) = with_quality(item);
        Self { media, quality }
    }
}

/// A name, and how much it is wanted in thousandths. What is no quality is none.
pub(super) fn with_quality(item: &str) -> (&str, u16) {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    (name, quality.map_or(QUALITY_MAX, read_quality))
}

/// RFC 9110 section 12.4.2: `0` or `1`, and at most three digits behind the point.
fn read_quality(value: &str) -> u16 {
    let (whole, rest) = value.split_once('.').unwrap_or((value, ""));
    let is_number = rest.len() <= 3 && rest.bytes().all(|digit| digit.is_ascii_digit());
    let thousandths = format!("{rest:0<3}").parse::<u16>().unwrap_or(0);
    match whole {
        "0" if is_number => thousandths,
        "1" if is_number && thousandths == 0 => QUALITY_MAX,
        _ => 0,
    }
}

pub(super) const EVENT_STREAM: &str = "text/event-stream";
/// RFC 9457 section 3.
pub(super) const PROBLEM: &str = "application/problem+json";
const QUALITY_MAX: u16 = 1000;
/// Ranges that are looked at; browsers send less than ten.
const RANGES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn the_most_precise_range_counts() {
        let headers = headers("text/*;q=0.3, TEXT/html, */*; q=0.1, image/png;q=0, a/b;q=nan");
        let accepted = Accepted::of(&headers);
        for (media, quality) in [
            ("text/html", 1000),
            ("text/plain", 300),
            ("application/json", 100),
            ("image/png", 0),
            ("a/b", 0),
        ] {
            assert_eq!(accepted.quality(media), quality, "{media}");
        }
        assert_eq!(Accepted::of(&HeaderMap::new()).quality("a/b"), 1000);
        assert!(!accepted.names("text/plain") && !accepted.names("image/png"));
    }

    #[test]
    fn a_stream_has_the_form_that_is_named() {
        for (value, form) in [
            ("*/*", ReplyForm::Usual),
            ("text/*", ReplyForm::Usual),
            ("text/event-stream", ReplyForm::Events),
            ("Text/Event-Stream", ReplyForm::Events),
            ("application/X-NDJSON", ReplyForm::Lines),
            ("application/x-ndjson, text/event-stream", ReplyForm::Lines),
            (
                "application/ndjson;q=0.5, text/event-stream;q=0.9",
                ReplyForm::Events,
            ),
            ("text/event-stream;q=0, application/json", ReplyForm::Usual),
        ] {
            assert_eq!(ReplyForm::of(&headers(value)), form, "{value}");
        }
    }

    #[test]
    fn problems_are_wanted_by_name_only() {
        for (value, wanted) in [
            ("application/problem+json", true),
            ("text/html, Application/Problem+JSON;q=0.1", true),
            ("application/problem+json;q=0", false),
            ("application/*", false),
            ("*/*", false),
        ] {
            assert_eq!(wants_problems(&headers(value)), wanted, "{value}");
        }
    }

    #[test]
    fn a_header_of_many_ranges_is_read_to_a_bound() {
        let value = "a/b,".repeat(RANGES_MAX) + "c/d";
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_str(&value).expect("a value"),
        );
        assert_eq!(Accepted::of(&headers).quality("c/d"), 0);
    }
}
