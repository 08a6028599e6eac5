//! Who may speak as a node of a cluster with a secret.

use quorate_protocol::BootId;
use quorate_ring::NodeId;
use quorate_rpc::hello::{Class, Hello, HelloError, HelloRefusal, Identity, introduce, introduce_node};
use quorate_rpc::proof::{Challenge, PeerKey};
use tokio::net::TcpStream;

use super::{N1, N2, TestCluster, TestNode};

const SECRET: &[&str] = &["cluster.secret=correct horse battery staple"];

async fn claim(listener: &TestNode, from: Identity, key: Option<PeerKey>) -> Result<Identity, HelloError> {
    let topology = listener.node.placement.fingerprint();
    let hello = Hello { class: Class::Peer, from: Some(from), topology, ..listener.hello() };
    let mut stream = TcpStream::connect(listener.address).await.expect("it listens");
    introduce_node(&mut stream, &hello, from, key.as_ref(), Challenge([9; 16])).await.map(|host| host.identity)
}

/// Whoever could make n1 remember a boot that n2 has not reached yet would shut n2 out for ever.
#[tokio::test]
async fn a_forged_hello_leaves_no_trace_and_the_real_node_is_welcome_after_it() {
    let mut cluster = TestCluster::of(2, SECRET).await;
    let (n1, n2) = (cluster.start(N1), cluster.start(N2));
    let forged = Identity { boot: BootId(u32::MAX), ..n2.node.identity };
    for key in [None, Some(PeerKey::new("test", "a guess")), Some(PeerKey::new("another", SECRET[0]))] {
        let refused = claim(&n1, forged, key).await.expect_err("nothing is proven");
        assert!(matches!(refused, HelloError::Refused(HelloRefusal::Unproven)), "{refused}");
    }
    n1.connect();
    n2.connect();
    n1.until_up(N2).await;
    n2.until_up(N1).await;
}

#[tokio::test]
async fn a_node_with_another_secret_is_refused_and_told_why() {
    let mut cluster = TestCluster::of(2, SECRET).await;
    let n1 = cluster.start(N1);
    cluster.settings = vec!["cluster.secret=another".to_owned()];
    let n2 = cluster.start(N2);
    let refused = crate::peers::dial(&n2.node, N1, &n1.address.to_string(), Class::Peer).await.err();
    assert_eq!(refused, Some(quorate_rpc::kv::PeerTrouble::Refused(HelloRefusal::Unproven)));
}

#[tokio::test]
async fn without_a_secret_a_node_is_taken_at_its_word() {
    let mut cluster = TestCluster::of(2, &[]).await;
    let n1 = cluster.start(N1);
    let n2 = Identity { node: N2, nonce: 5, boot: BootId(1) };
    assert_eq!(claim(&n1, n2, None).await.expect("welcome"), n1.node.identity);
    let refused = claim(&n1, Identity { nonce: 6, ..n2 }, None).await.expect_err("another directory");
    assert!(matches!(refused, HelloError::Refused(HelloRefusal::OtherNonce { node: N2 })), "{refused}");
}

#[tokio::test]
async fn a_client_is_told_which_node_it_is_and_nothing_to_pass_for_it_with() {
    let mut cluster = TestCluster::of(1, &[]).await;
    let n1 = cluster.start(N1);
    let mut stream = TcpStream::connect(n1.address).await.expect("it listens");
    let welcome = introduce(&mut stream, &n1.hello()).await.expect("welcome");
    assert_eq!((welcome.node, welcome.identity, welcome.proof), (N1, None, None));
}

#[tokio::test]
async fn hellos_from_nodes_that_are_no_members_are_not_remembered() {
    let mut cluster = TestCluster::of(1, &[]).await;
    let n1 = cluster.start(N1);
    for number in 100..200 {
        let stranger = Identity { node: NodeId(number), nonce: 1, boot: BootId(1) };
        let refused = claim(&n1, stranger, None).await.expect_err("no member");
        assert!(matches!(refused, HelloError::Refused(HelloRefusal::UnknownNode { .. })), "{refused}");
    }
    assert_eq!(n1.node.faults.known_links(), 0);
}
