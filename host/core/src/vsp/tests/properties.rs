//! What holds for all calls and all frames.

use proptest::prelude::*;

use super::*;
use crate::wire::FrameType;

proptest! {
    #[test]
    fn calls_come_back_as_they_went(
        service in "[a-z]{1,300}",
        method in "\\PC{1,40}",
        version in proptest::option::of("[0-9]{1,3}"),
        priority: u8,
        correlation in "\\PC{1,40}",
        payload: Vec<u8>,
        token in "\\PC{0,700}",
    ) {
        let context = Context { priority, ..Context::default() };
        let call = Call {
            version: version.clone().map(Text::from),
            headers: headers(&[("authorization", &token)]),
            context,
            ..Call::unary(&*service, &*method, "")
        };
        let sent = request_frame(&call, payload.clone().into(), &correlation, epoch());
        let frame = Frame::decode_datagram(encoded(&sent.expect("fits")), 1 << 20).expect("ours");
        prop_assert_eq!(frame.kind, FrameType::Data);
        let (read, _) = request(frame);
        prop_assert_eq!(&*read.service, &*service);
        prop_assert_eq!(&*read.method, &*method);
        prop_assert_eq!(read.version.map(|version| version.to_string()), version);
        prop_assert_eq!(read.context.priority, priority);
        prop_assert_eq!(&*read.context.correlation, &*correlation);
        let authorization = read.headers.get_str("authorization").map(|text| text.into_owned());
        prop_assert_eq!(authorization, Some(token));
        prop_assert_eq!(body(read.body), payload);
    }

    #[test]
    fn any_headers_and_payload_are_read_without_fault(
        pairs in proptest::collection::vec(
            (
                prop::sample::select(vec![
                    "type", "service", "method", "status", "code", "timeout-ms", "priority", "",
                ]),
                prop_oneof![any::<Vec<u8>>(), Just(b"request".to_vec()), Just(b"7".to_vec())],
            ),
            0..6,
        ),
        payload: Vec<u8>,
    ) {
        let mut all = Headers::new();
        for (key, value) in pairs {
            all.push(key, value.get(..200).unwrap_or(&value)).expect("short");
        }
        let frame = Frame::data(all, payload);
        let read = reader(Some("echo")).read(epoch(), frame.clone());
        if let Inbound::Refused { ref frame, .. } = read {
            prop_assert!(Frame::decode_datagram(encoded(frame), 1 << 20).is_ok());
        }
        let _ = read_response(frame);
    }
}
