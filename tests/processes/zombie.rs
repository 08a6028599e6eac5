//! Requests that a stopped node finds in its sockets when it goes on.
//!
//! A clock goes on while its process is stopped, so the node can tell how late it is.

use quorate_client::Level;
use quorate_protocol::Attempt;
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::replica::Refusal;
use quorate_rpc::kv::{WriteContext, WriteRequest};

use crate::support::cluster::{N1, N2, TestCluster, spec};

/// A client's put goes to a node that is stopped, then, when that can begin no more, as a retry to another one, which acknowledges it.
/// The next put replaces it. Then the stopped node goes on and finds the first sending: if it began now, it would replace the next put,
/// or stand beside it, depending on what of it the node has heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blind_put_that_waited_in_a_stopped_node_replaces_nothing_when_the_node_goes_on() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let (n1, n2) = (cluster.direct(N1).await, cluster.direct(N2).await);
    for round in 0..3 {
        let key = format!("k{round}");
        cluster.stop(N1).await;
        let first = n1.request(&key, "old", Level::Quorum, WriteContext::Blind);
        // A retry may go out as soon as this has passed.
        let first = WriteRequest { begin_by: Some(n1.tick()), ..first };
        let retry = WriteRequest { attempt: Attempt(1), begin_by: None, ..first.clone() };
        let waiting = n1.send(first);
        let meanwhile = async {
            n2.send(retry).await.unwrap_or_else(|failure| panic!("{failure}"));
            n2.put(&key, "new", Level::Quorum).await.unwrap_or_else(|failure| panic!("{failure}"));
            cluster.resume(N1).await.unwrap_or_else(|error| panic!("{error}"));
        };
        let (answer, ()) = tokio::join!(waiting, meanwhile);
        for node in [N1, N2] {
            cluster.until_sees(node, if node == N1 { N2 } else { N1 }, true).await;
        }
        let found = n2.values(&key, Level::All).await.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(found, ["new"], "what was acknowledged last is all there is");
        let late = Failure::refused(Reason::Refused { refusal: Refusal::Expired });
        assert_eq!(answer.as_ref().map_err(|failure| (&failure.reason, failure.outcome)), Err((&late.reason, Outcome::NotApplied)));
    }
}
