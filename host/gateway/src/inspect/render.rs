//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::dissect::{Dissected, StreamPrefix};

/// One line for the frame and indented ones for what it holds. No line break at the end.
#[must_use]
pub(crate) fn to_text(found: &StreamPrefix) -> String {
    match found {
        StreamPrefix::Frame(frame) => frame_text(frame),
        StreamPrefix::Garbage { octets } => {
            format!("no frame: {} octets, {}", octets.len(), preview(octets))
        }
        StreamPrefix::Cut { needed, octets } => {
            let begins = preview(octets.get(..octets.len().min(11)).unwrap_or_default());
            format!(
                "cut frame: {} of {needed} octets, begins with {begins}",
                octets.len()
            )
        }
    }
}

/// An object with everything; octets that are no text are hexadecimal.
#[must_use]
pub(crate) fn to_json(found: &StreamPrefix) -> Json {
    match found {
        StreamPrefix::Frame(frame) => frame_json(frame),
        StreamPrefix::Garbage { octets } => json!({ "found": "garbage", "octets": hex(octets) }),
        StreamPrefix::Cut { needed, octets } => {
            json!({ "found": "cut", "needed": needed, "octets": hex(octets) })
        }
    }
}

fn frame_text(frame: &Dissected) -> String {
    let mut text = format!("{:<8}", frame.kind_name());
    for flag in frame.flag_names() {
        let _ = write!(text, "{flag} ");
    }
    let verdict = if frame.crc.found == frame.crc.computed {
        "crc ok"
    } else {
        "crc bad"
    };
    let _ = write!(text, "{} octets, {verdict}", frame.length);
    for (key, value) in &frame.headers {
        let key = if key.is_empty() {
            "(continued)".to_owned()
        } else {
            word(key)
        };
        let _ = write!(text, "\n    {key}: {}", word(value));
    }
    if !frame.payload.is_empty() {
        let _ = write!(
            text,
            "\n    payload, {} octets: {}",
            frame.payload.len(),
            preview(&frame.payload)
        );
    }
    for problem in &frame.problems {
        let _ = write!(text, "\n    problem: {problem}");
    }
    text
}

fn frame_json(frame: &Dissected) -> Json {
    let headers = frame
        .headers
        .iter()
        .map(|(key, value)| json!([word(key), word(value)]));
    let payload = match std::str::from_utf8(&frame.payload) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "hex": hex(&frame.payload) }),
    };
    json!({
        "found": "frame",
        "type": frame.kind_name(),
        "version": frame.version,
        "flags": frame.flag_names(),
        "octets": frame.length,
        "headers": headers.collect::<Vec<_>>(),
        "payload": payload,
        "crc": format!("{:08x}", frame.crc.found),
        "crc_ok": frame.crc.found == frame.crc.computed,
        "problems": frame.problems,
    })
}

/// Text as it is, anything else as `0x...`.
fn word(octets: &[u8]) -> String {
    match printable(octets) {
        Some(text) => text.to_owned(),
        None => format!("0x{}", hex(octets)),
    }
}

/// The beginning of a payload.
fn preview(octets: &[u8]) -> String {
    if let Some(text) = printable(octets) {
        let shown: String = text.chars().take(TEXT_PREVIEW_MAX).collect();
        let more = if shown.len() < text.len() { " ..." } else { "" };
        return format!("{shown}{more}");
    }
    let shown = octets.get(..HEX_PREVIEW_MAX).unwrap_or(octets);
    let more = if shown.len() < octets.len() {
        " ..."
    } else {
        ""
    };
    format!("0x{}{more}", hex(shown))
}

/// Control characters would change the terminal that shows them.
fn printable(octets: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(octets).ok()?;
    let is_plain = |c: char| !c.is_control() || c == '\t';
    text.chars().all(is_plain).then_some(text)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

const TEXT_PREVIEW_MAX: usize = 200;
const HEX_PREVIEW_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::{
        super::{dissect::dissect, from_hex},
        *,
    };

    fn found(hex: &str) -> StreamPrefix {
        dissect(&from_hex(hex).expect("hex")).expect("octets")
    }

    #[test]
    fn a_frame_reads_like_this() {
        let text = to_text(&found(
            "56540103010b000000000506036d73672d696431323348656c6c6f8a57a96b",
        ));
        assert_eq!(
            text,
            "DATA    REQ_ACK 31 octets, crc ok\n    msg-id: 123\n    payload, 5 octets: Hello"
        );
    }

    #[test]
    fn what_is_no_text_is_hexadecimal_and_long_payloads_are_cut() {
        let binary = to_text(&found("5654010300080000000000030300ff800102feea8434c0"));
        assert!(binary.contains("0x00ff80: 0x0102fe"), "{binary}");
        assert_eq!(preview(&[0x1b; 100]), format!("0x{} ...", "1b".repeat(48)));
        assert_eq!(
            preview("ä".repeat(300).as_bytes()),
            format!("{} ...", "ä".repeat(200))
        );
    }

    #[test]
    fn programs_get_every_field() {
        let json = to_json(&found("5654020300000000000000eb0aafdc"));
        assert_eq!(json["type"], "DATA");
        assert_eq!(json["problems"], json!(["version 2 is not 1"]));
        assert_eq!(json["crc_ok"], true);
        let cut = to_json(&found("5654010300000000000005"));
        assert_eq!(
            (cut["found"].as_str(), cut["needed"].as_u64()),
            (Some("cut"), Some(20))
        );
        assert_eq!(to_json(&found("00ff"))["octets"], "00ff");
    }
}
