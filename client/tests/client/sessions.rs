//! Sessions: what is sent along, what is kept, and that operations on one key take turns.

use std::future::IntoFuture;
use std::time::Duration;

use quorate_client::{Error, Outcome, Reason, Session};
use quorate_protocol::outcome::Failure;
use tokio::sync::oneshot;

use crate::fake::{Cluster, Script};

#[tokio::test]
async fn a_session_sends_what_it_has_seen_and_keeps_what_comes_back() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let session = client.session();
    client.put("k", "by somebody else").await.expect("answered");

    let first = client.get("k").session(&session).await.expect("answered");
    assert_eq!(cluster.next_read().await.1.seen, None);
    let written = client.put("k", "v").concurrent().session(&session).await.expect("answered");
    assert_eq!(cluster.next_write().await.1.session.as_ref(), Some(first.context().sealed()));
    let read = client.get("k").session(&session).await.expect("answered");
    let seen = cluster.next_read().await.1.seen.expect("both writes");
    assert_ne!(&seen, written.context().sealed(), "the write had seen less than the session");
    assert_ne!(&seen, first.context().sealed());
    assert_eq!(&seen, read.context().sealed());
}

#[tokio::test]
async fn a_session_is_about_its_own_operations_and_each_key_alone() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let session = client.session();
    client.put("k", "v").session(&session).await.expect("answered");
    client.get("k").await.expect("answered");
    assert_eq!(cluster.next_read().await.1.seen, None, "outside the session");
    client.get("other").session(&session).await.expect("answered");
    assert_eq!(cluster.next_read().await.1.seen, None, "another key");
    assert_eq!(session.len(), 2);
}

#[tokio::test]
async fn a_session_written_down_goes_on_elsewhere() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let session = client.session();
    let written = client.put("k", "v").session(&session).await.expect("answered");
    let session: Session = session.to_string().parse().expect("a session");
    cluster.rest();
    let other = cluster.client().await;
    other.get("k").session(&session).await.expect("answered");
    assert_eq!(cluster.next_read().await.1.seen.as_ref(), Some(written.context().sealed()));
}

#[tokio::test]
async fn operations_of_a_session_on_one_key_take_turns() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let session = client.session();
    let (decide, decision) = oneshot::channel();
    cluster.script([Script::Wait(decision)]);
    let write = tokio::spawn(client.put("k", "v").session(&session).into_future());
    cluster.next_write().await;

    let error = client.get("k").session(&session).deadline(Duration::from_millis(30)).await.expect_err("not its turn");
    assert!(matches!(&error, Error::TimedOut { asked, .. } if asked.is_empty()), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);

    let read = tokio::spawn(client.get("k").session(&session).into_future());
    decide.send(Script::Do).expect("waiting");
    let written = write.await.expect("no panic").expect("answered");
    read.await.expect("no panic").expect("answered");
    assert_eq!(cluster.next_read().await.1.seen.as_ref(), Some(written.context().sealed()));
}

#[tokio::test]
async fn a_failed_operation_leaves_the_session_as_it_was() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let session = client.session();
    client.put("k", "v").session(&session).await.expect("answered");
    let before = session.to_string();
    cluster.script((0..100).map(|_| Script::Fail(Failure::refused(Reason::Behind))));
    let deadline = Duration::from_millis(50);
    let error = client.get("k").session(&session).deadline(deadline).await.expect_err("behind");
    assert!(error.is_session_behind(), "{error}");
    assert!(client.get("new").session(&session).deadline(deadline).await.is_err());
    assert_eq!(session.to_string(), before);
}
