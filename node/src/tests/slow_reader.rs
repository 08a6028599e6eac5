//! A client that asks and asks and never reads.

use futures::{SinkExt, StreamExt};
use quorate_protocol::Level;
use quorate_protocol::limits::VALUE_BYTES_MAX;
use quorate_protocol::outcome::Reason;
use quorate_rpc::kv::{IN_FLIGHT_MAX, KeyValueRequest, KeyValueResponse};
use quorate_rpc::tarpc::{ClientMessage, Request, Response};
use quorate_rpc::transport::{Transport, framed};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, TestCluster, envelope, eventually, put, read};
use crate::service::UNSENT_BYTES_MAX;
use crate::tests::N1;

/// More requests than a connection may have under way, and more bytes of answers than may wait.
const REQUESTS: u64 = IN_FLIGHT_MAX as u64 + 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_costs_a_bounded_number_of_bytes_and_nobody_else_anything() {
    let mut cluster = TestCluster::of(1, &[]).await;
    let n1 = cluster.start(N1);
    let other = n1.client().await;
    let large = put("large", vec![b'v'; VALUE_BYTES_MAX], Level::One);
    other.write(envelope(), large).await.expect("an answer").expect("written");

    let mut slow: Transport<Response<KeyValueResponse>, ClientMessage<KeyValueRequest>, TcpStream> = framed(n1.greeted().await);
    for id in 0..REQUESTS {
        let message = KeyValueRequest::Read { request: read("large", Level::One) };
        slow.feed(ClientMessage::Request(Request { context: envelope(), id, message })).await.expect("the node reads");
    }
    slow.flush().await.expect("the node reads");
    let metrics = &n1.node.metrics;
    eventually("an answer is refused", || metrics.answers_refused.get() > 0).await;
    let held = usize::try_from(metrics.unsent_bytes.get()).expect("never negative");
    assert!((UNSENT_BYTES_MAX - VALUE_BYTES_MAX..=UNSENT_BYTES_MAX).contains(&held), "{held} bytes wait");

    other.write(envelope(), put("small", "v", Level::One)).await.expect("an answer").expect("written");
    let reply = other.read(envelope(), read("large", Level::One)).await.expect("an answer").expect("another connection reads");
    assert_eq!(reply.siblings[0].value.len(), VALUE_BYTES_MAX);
    eventually("no request of the slow client is worked on", || metrics.in_flight.get() == 0).await;

    let (mut answered, mut refused) = (0, 0);
    for _ in 0..REQUESTS {
        let response = timeout(PATIENCE, slow.next()).await.expect("in time").expect("open").expect("decodes");
        match response.message {
            Ok(KeyValueResponse::Read(Ok(reply))) if reply.siblings[0].value.len() == VALUE_BYTES_MAX => answered += 1,
            Ok(KeyValueResponse::Read(Err(failure))) if failure.reason == Reason::Overloaded => refused += 1,
            // Above the number of requests that may be under way.
            Err(_) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(answered >= UNSENT_BYTES_MAX / VALUE_BYTES_MAX - 1 && refused > 0, "{answered} answered, {refused} refused");
    eventually("nothing waits any more", || metrics.unsent_bytes.get() == 0).await;
}
