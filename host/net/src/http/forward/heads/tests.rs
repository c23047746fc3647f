//! Heads that pass, heads that are shortened, and reads that part them anywhere.

use std::collections::VecDeque;

use tokio::io::AsyncReadExt;

use super::*;

/// A stream that gives its pieces one read after the other.
struct PieceReader(VecDeque<Vec<u8>>);

impl AsyncRead for PieceReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.0.pop_front() else {
            return Poll::Ready(Ok(()));
        };
        if piece.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        if !rest.is_empty() {
            self.0.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

/// What is handed on of `pieces` that come one after the other, and the fields that are not.
async fn passed(pieces: &[&[u8]]) -> (String, Vec<(String, String)>) {
    let heads = Arc::<ResponseHeads>::default();
    heads.expect();
    let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
    let mut reader = HeadReader::new(PieceReader(pieces), Arc::clone(&heads));
    let mut octets = Vec::new();
    reader.read_to_end(&mut octets).await.expect("readable");
    let mut late = HeaderMap::new();
    heads.add_late(&mut late);
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.to_string(), value.to_str().expect("text").to_owned())
    };
    let late = late.iter().map(field).collect();
    (String::from_utf8(octets).expect("text"), late)
}

/// A head of `n_fields`, the last of which says how long the body is.
fn head(status: &str, n_fields: usize) -> String {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for idx in 1..n_fields {
        head.push_str(&format!("X-Many: {idx}\r\n"));
    }
    head + "content-length: 2\r\n\r\n"
}

async fn check_as_it_is(response: &str) {
    assert_eq!(
        passed(&[response.as_bytes()]).await,
        (response.to_owned(), Vec::new())
    );
}

#[tokio::test]
async fn a_response_of_few_fields_is_handed_on_as_it_is() {
    check_as_it_is("HTTP/1.1 200 OK\r\n\r\n").await;
    check_as_it_is("\r\nHTTP/1.1 200 OK\nx: 1\n\nbody\r\n\r\n").await;
    check_as_it_is(&(head("200 OK", FEW_FIELDS) + "ok")).await;
}

#[tokio::test]
async fn fields_past_the_room_of_hyper_are_late_and_framing_is_not() {
    for n_fields in [FEW_FIELDS + 1, FIELDS_MAX] {
        let response = head("200 OK", n_fields) + "ok";
        let (octets, late) = passed(&[response.as_bytes()]).await;
        assert_eq!(octets, head("200 OK", FEW_FIELDS) + "ok");
        let expected = FEW_FIELDS..n_fields;
        let expected = expected.map(|idx| ("x-many".to_owned(), idx.to_string()));
        assert_eq!(late, expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_hyper_is_to_refuse_is_handed_on_as_it_is() {
    check_as_it_is(&head("200 OK", FIELDS_MAX + 1)).await;
    check_as_it_is(&head("200 OK", FEW_FIELDS + 5).replace("X-Many: 104", "X Many: 104")).await;
    check_as_it_is(&head("200 OK", FEW_FIELDS + 5).replace("X-Many: 104", " folded")).await;
    check_as_it_is("HTTP/1.1 200 OK\r\nx: 1\r\n").await;
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(2 * HEAD_BYTES_MAX));
    check_as_it_is(&endless).await;
}

#[tokio::test]
async fn heads_before_the_one_that_counts_are_heads_and_their_fields_go() {
    let response = head("103 Early Hints", FEW_FIELDS + 9) + &head("200 OK", FEW_FIELDS + 2) + "ok";
    let expected = head("103 Early Hints", FEW_FIELDS) + &head("200 OK", FEW_FIELDS) + "ok";
    let (octets, late) = passed(&[response.as_bytes()]).await;
    assert_eq!(octets, expected);
    assert_eq!(late.len(), 2);
    // What follows a switch of protocols is none of HTTP.
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n";
    check_as_it_is(&(switch.to_owned() + &head("200 OK", FEW_FIELDS + 2))).await;
}

#[tokio::test]
async fn it_does_not_matter_where_reads_part_a_response() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".to_owned();
    for n_fields in [3, FEW_FIELDS + 20] {
        let response = interim.clone() + &head("200 OK", n_fields) + "ok";
        let whole = passed(&[response.as_bytes()]).await;
        for at in 1..response.len() {
            let (first, second) = response.as_bytes().split_at(at);
            assert_eq!(passed(&[first, b"", second]).await, whole, "{at}");
        }
        let single: Vec<_> = response.as_bytes().chunks(1).collect();
        assert_eq!(passed(&single).await, whole);
    }
}

#[tokio::test]
async fn a_body_is_not_looked_at() {
    let body = head("200 OK", FEW_FIELDS + 2);
    check_as_it_is(&(head("200 OK", 1) + &body)).await;
    let (octets, late) = passed(&[head("200 OK", 1).as_bytes(), body.as_bytes()]).await;
    assert_eq!((octets, late.len()), (head("200 OK", 1) + &body, 0));
}
