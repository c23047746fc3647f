//! What all calls of a session have in common.

use super::*;
use crate::{
    event::{Outbox, Push, Subscription},
    peer::Peer,
};

#[test]
fn calls_of_a_session_share_its_peer_and_its_outbox() {
    /// Takes nothing.
    struct Closing;

    impl Push for Closing {
        fn attach(&self, _: Subscription) -> Result<(), Error> {
            Err(Error::not_found("as asked"))
        }
    }

    let (peer, outbox) = (Arc::<Peer>::default(), Outbox::new(Arc::new(Closing)));
    let reader = Reader::new(Arc::clone(&peer), Some(Text::from_static("echo")));
    let mut reader = reader.with_outbox(outbox.clone());
    reader.set_default_service(Some(Text::from_static("users")));
    let Inbound::Request { call, .. } = reader.read(epoch(), frame(&[], "{}")) else {
        panic!("not a request")
    };
    assert!(Arc::ptr_eq(&call.context.peer, &peer));
    assert_eq!((call.context.outbox, &*call.service), (outbox, "users"));
}
