//! Role `frame-extension`: frames in both directions.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{
    Headers, Kind,
    extension::{FrameDirection, FrameExtension, FrameHead, FrameVerdict},
    wire::{Flags, Frame, FrameType},
};
use postern_wasm::{Plugin, PluginSpec, Role};

use crate::guest::{Fixture, frame};

async fn extension(fixture: &Fixture) -> (Arc<Plugin>, Arc<dyn FrameExtension>) {
    let plugin = fixture.shared("tag", &frame(), PluginSpec::default()).await;
    let extension = plugin.frame_extension().unwrap();
    (plugin, extension)
}

fn data(what: &str, payload: &Bytes) -> Frame {
    let mut headers = Headers::new();
    headers.push("do", what).unwrap();
    Frame::data(headers, payload.clone())
}

fn handle(extension: &Arc<dyn FrameExtension>, what: &str, payload: &Bytes) -> FrameVerdict {
    extension.handle(FrameDirection::Inbound, data(what, payload))
}

#[tokio::test]
async fn the_head_alone_decides() {
    let fixture = Fixture::new();
    let (plugin, extension) = extension(&fixture).await;
    assert_eq!(plugin.status().roles, [Role::FrameExtension]);
    let head = |kind| FrameHead::of(&Frame::new(kind), FrameDirection::Outbound);
    assert!(extension.should_handle(&head(FrameType::Data)).unwrap());
    assert!(!extension.should_handle(&head(FrameType::Ping)).unwrap());
    let part = FrameHead {
        flags: Flags::FRAG,
        ..head(FrameType::Data)
    };
    assert!(extension.should_handle(&part).is_err(), "the guest trapped");
    assert!(extension.should_handle(&head(FrameType::Data)).unwrap());
}

#[tokio::test]
async fn a_header_is_added_and_the_payload_stays_where_it_is() {
    let fixture = Fixture::new();
    let (_, extension) = extension(&fixture).await;
    let payload = Bytes::from(vec![7; 10_000]);
    let FrameVerdict::Pass(frame) = handle(&extension, "mark", &payload) else {
        panic!("it passes");
    };
    assert_eq!(frame.headers.get_str("x-tag").as_deref(), Some("on"));
    assert_eq!(frame.payload.as_ptr(), payload.as_ptr());
}

#[tokio::test]
async fn a_payload_that_is_asked_for_goes_in_and_out() {
    let fixture = Fixture::new();
    let (_, extension) = extension(&fixture).await;
    let payload = Bytes::from(vec![7; 10_000]);
    let FrameVerdict::Pass(frame) = handle(&extension, "give", &payload) else {
        panic!("it passes");
    };
    assert_eq!(frame.payload, payload);
    assert_ne!(frame.payload.as_ptr(), payload.as_ptr());
}

#[tokio::test]
async fn frames_are_dropped_and_refused() {
    let fixture = Fixture::new();
    let (_, extension) = extension(&fixture).await;
    assert!(matches!(
        handle(&extension, "drop", &Bytes::new()),
        FrameVerdict::Drop
    ));
    let FrameVerdict::Refuse(error) = handle(&extension, "refuse", &Bytes::new()) else {
        panic!("it is refused");
    };
    assert_eq!(
        (error.kind, &*error.message),
        (Kind::InvalidArgument, "not this")
    );
}

#[tokio::test]
async fn a_trap_and_an_endless_loop_give_the_frame_back_as_it_was() {
    let fixture = Fixture::new();
    let (_, extension) = extension(&fixture).await;
    let payload = Bytes::from(vec![7; 100]);
    for what in ["trap", "loop"] {
        let FrameVerdict::Broken(frame, _) = handle(&extension, what, &payload) else {
            panic!("it is broken");
        };
        assert_eq!(frame, data(what, &payload));
        assert_eq!(frame.payload.as_ptr(), payload.as_ptr());
    }
    assert!(matches!(
        handle(&extension, "mark", &payload),
        FrameVerdict::Pass(_)
    ));
}
