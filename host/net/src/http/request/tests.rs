//! What joining a body allocates.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use http_body::{Frame, SizeHint};

use super::*;
use crate::ByteBudget;

/// Declares much more than it brings.
struct Boaster {
    n_left: usize,
}

impl HttpBody for Boaster {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(n_left) = self.n_left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.n_left = n_left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(DECLARED as u64)
    }
}

const DECLARED: usize = 8 << 20;

#[tokio::test]
async fn what_is_declared_and_has_not_arrived_takes_no_memory() {
    let bytes = Arc::new(ByteBudget::new(1 << 20)).connection(1 << 20);
    let mut held = bytes.hold(0).expect("room");
    let joined = collect(Boaster { n_left: 3 }, DECLARED, &mut held).await;
    let (joined, _) = joined.expect("joins");
    let joined = joined.try_into_mut().expect("one owner");
    assert_eq!((&*joined, held.len()), (&b"piecepiecepiece"[..], 15));
    assert!(joined.capacity() < 4096, "{}", joined.capacity());
}
