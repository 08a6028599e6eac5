//! Bytes that are not the protocol: the connection is closed, after a typed refusal where the other side could read one, and
//! the node goes on as before.

use std::time::Duration;

use quorate_protocol::limits::FRAME_BYTES_MAX;
use quorate_protocol::{BootId, Level};
use quorate_ring::NodeId;
use quorate_rpc::codec;
use quorate_rpc::hello::{Class, Hello, HelloError, HelloRefusal, HelloReply, Identity, PROTOCOL_VERSION};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::cluster::{N1, TestCluster, spec};
use crate::support::direct::{client_hello, greeted};
use crate::support::wait::{PATIENCE, eventually, seen};

async fn connect(cluster: &TestCluster) -> TcpStream {
    TcpStream::connect(cluster.address(N1)).await.expect("the node listens")
}

/// What the node says until it closes the connection.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let reading = async {
        // A reset closes too: the node has not read everything.
        let _ = stream.read_to_end(&mut said).await;
    };
    timeout(PATIENCE, reading).await.expect("the node closes the connection");
    said
}

/// Sends bytes as a stranger and returns what comes back before the connection is closed.
async fn exchange(cluster: &TestCluster, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(cluster).await;
    stream.write_all(bytes).await.expect("the node reads");
    until_closed(&mut stream).await
}

/// Lines of the node's log about refused connections.
fn refusals(cluster: &TestCluster) -> usize {
    cluster.log(N1).lines().filter(|line| line.contains("connection refused")).count()
}

/// The node serves, is the same process as before, and has logged so many refusals.
async fn assert_unharmed(cluster: &TestCluster, refused: usize) {
    eventually(&format!("{refused} lines of log about refused connections"), async || {
        let lines = refusals(cluster);
        seen(lines == refused, lines)
    })
    .await;
    assert_eq!(cluster.answering(N1).await.boot, 1, "the node was never restarted");
    let n1 = cluster.direct(N1).await;
    n1.put("k", "v", Level::Quorum).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(n1.values("k", Level::Quorum).await, Ok(vec!["v".to_owned()]));
    let log = cluster.log(N1);
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn bytes_of_another_protocol_close_the_connection() {
    let cluster = TestCluster::start(spec(1)).await;
    let random: Vec<u8> = (0..4096u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert_eq!(exchange(&cluster, &random).await, b"");
    assert_eq!(exchange(&cluster, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await, b"");
    assert_eq!(exchange(&cluster, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await, b"", "a TLS greeting");
    assert_unharmed(&cluster, 3).await;
}

#[tokio::test]
async fn another_version_of_the_protocol_is_told_ours_before_the_connection_is_closed() {
    let cluster = TestCluster::start(spec(1)).await;
    let said = exchange(&cluster, b"QRTE\x00\x63\x00\x02??").await;
    assert_eq!(&said[..4], b"QRTE");
    assert_eq!(said[4..6], PROTOCOL_VERSION.to_be_bytes(), "the refusal is spelled in the node's version");
    let reply: HelloReply = codec::decode(&said[8..]).expect("a reply of this version");
    assert_eq!(reply, HelloReply::Refused(HelloRefusal::Version { theirs: PROTOCOL_VERSION }));
    assert_unharmed(&cluster, 1).await;
}

#[tokio::test]
async fn hellos_that_the_node_must_not_trust_are_refused_with_the_reason() {
    let cluster = TestCluster::start(spec(1)).await;
    let refusal = async |hello: Hello| match greeted(cluster.address(N1), &hello).await {
        Err(HelloError::Refused(refusal)) => refusal,
        other => panic!("{hello:?} got {other:?}"),
    };
    let ours = cluster.id().to_owned();
    let me = |node| Some(Identity { node: NodeId(node), nonce: 1, boot: BootId(1) });
    assert_eq!(refusal(client_hello("another")).await, HelloRefusal::OtherCluster { theirs: ours.clone() });
    let peer = Hello { class: Class::Peer, from: me(2), topology: 1, ..client_hello(&ours) };
    assert_eq!(refusal(peer.clone()).await, HelloRefusal::OtherTopology);
    assert_eq!(refusal(Hello { from: None, ..peer.clone() }).await, HelloRefusal::Malformed);
    assert_eq!(refusal(Hello { class: Class::Client, ..peer }).await, HelloRefusal::Malformed);
    assert_eq!(refusal(Hello { class: Class::Admin, ..client_hello(&ours) }).await, HelloRefusal::FaultsDisabled);
    assert_unharmed(&cluster, 5).await;
}

#[tokio::test]
async fn a_client_that_insists_on_another_cluster_is_turned_away() {
    let cluster = TestCluster::start(spec(1)).await;
    let refused =
        quorate_client::Client::builder().seeds(&cluster.seeds()).cluster("another").connect().await.expect_err("another cluster");
    assert!(refused.to_string().contains(&format!("cluster {:?}", cluster.id())), "{refused}");
}

#[tokio::test]
async fn half_a_hello_and_then_silence_costs_a_bounded_time() {
    let cluster = TestCluster::start(spec(1)).await;
    let (mut half, mut none, mut long) = (connect(&cluster).await, connect(&cluster).await, connect(&cluster).await);
    half.write_all(b"QRTE\x00\x01\x00").await.expect("the node reads");
    long.write_all(b"QRTE\x00\x01\xff\xff").await.expect("the node reads");
    // Meanwhile others are served.
    cluster.direct(N1).await.put("k", "v", Level::One).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((until_closed(&mut half).await, until_closed(&mut none).await, until_closed(&mut long).await), (vec![], vec![], vec![]));
    assert_unharmed(&cluster, 3).await;
}

/// A greeted connection of a client, for frames that no client sends.
async fn welcomed(cluster: &TestCluster) -> TcpStream {
    greeted(cluster.address(N1), &client_hello(cluster.id())).await.unwrap_or_else(|error| panic!("{error}"))
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame");
    [&length.to_be_bytes()[..], payload].concat()
}

/// A request for the node's topology as it travels, with a deadline that begins with these bytes of seconds.
fn request(seconds: &[u8]) -> Vec<u8> {
    const REQUEST: u8 = 0;
    const TOPOLOGY: u8 = 5;
    let nanoseconds = [0];
    let trace = [0; 16 + 1 + 1];
    let id = [1];
    [&[REQUEST][..], seconds, &nanoseconds, &trace, &id, &[TOPOLOGY]].concat()
}

#[tokio::test]
async fn frames_that_no_client_sends_close_their_connection_and_no_other() {
    let cluster = TestCluster::start(spec(1)).await;
    let bystander = cluster.direct(N1).await;
    // The same frame with an ordinary deadline is answered, so it is the deadline that is refused.
    let mut ordinary = welcomed(&cluster).await;
    ordinary.write_all(&frame(&request(&[5]))).await.expect("the node reads");
    let mut length = [0; 4];
    timeout(PATIENCE, ordinary.read_exact(&mut length)).await.expect("in time").expect("an ordinary request is answered");

    let too_long = u32::try_from(FRAME_BYTES_MAX + 1).expect("32 MiB").to_be_bytes().to_vec();
    let endless = request(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    for (what, bytes) in [
        ("a frame above the limit", too_long),
        ("a frame of noise", frame(&[0xa5; 64])),
        ("an empty frame", frame(&[])),
        ("a deadline beyond the end of time", frame(&endless)),
        ("a request and a byte", frame(&[request(&[5]), vec![0]].concat())),
    ] {
        let mut stream = welcomed(&cluster).await;
        stream.write_all(&bytes).await.expect("the node reads");
        assert_eq!(until_closed(&mut stream).await, b"", "{what}");
        bystander.put("k", what, Level::One).await.unwrap_or_else(|failure| panic!("after {what}: {failure}"));
    }
    assert_eq!(cluster.answering(N1).await.boot, 1);
}

#[tokio::test]
async fn a_flood_of_silent_connections_does_not_keep_clients_out() {
    let settings = vec!["node.connections_max=32".to_owned()];
    let cluster = TestCluster::start(quorate_lab::cluster::ClusterSpec { settings, ..spec(1) }).await;
    let kv = cluster.connect(quorate_client::Client::builder().deadline(Duration::from_secs(20))).await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(connect(&cluster).await);
    }
    kv.put("k", "v").await.unwrap_or_else(|error| panic!("a client that was there before: {error}"));
    // The silent ones are thrown out after a while.
    eventually("a new client is let in", async || {
        let client = quorate_client::Client::connect(cluster.address(N1)).await.map_err(|error| error.to_string())?;
        client.get("k").await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    drop(silent);
}
