//! Linearizable operations: what they send and to whom, what a retry may conclude, and what their answers say.

use std::future::IntoFuture;
use std::time::Duration;

use quorate_client::{
    AttemptOptions, Cas, Client, Error, Expect, Fate, Level, NotAppliedWhy, OpId, Outcome, Reason, Token, TypedError, UnknownWhy,
};
use quorate_protocol::Attempt;
use quorate_protocol::chain::state::Inapplicable;
use quorate_rpc::kv::Changed;
use tokio::sync::oneshot;

use crate::fake::{Cluster, LIN_ONLY, Script, Seen};

fn token(cas: &Cas) -> Token {
    match cas {
        Cas::Applied { token } => *token,
        Cas::Conflict { current } => panic!("{current:?}"),
    }
}

#[tokio::test]
async fn a_lock_is_taken_once_and_the_second_is_told_who_holds_it() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let taken = client.cas("lock").expect(Expect::Absent).set("me").await.expect("answered");
    let Cas::Conflict { current } = client.cas("lock").expect(Expect::Absent).set("you").await.expect("answered") else {
        panic!("it is taken")
    };
    assert_eq!((current.single().map(|value| &value[..]), current.token), (Some(&b"me"[..]), token(&taken)));
    let released = client.cas("lock").expect(token(&taken)).delete().await.expect("answered");
    assert!(token(&released) > token(&taken));
    let again = client.cas("lock").expect(Expect::Absent).set("you").await.expect("answered");
    assert!(token(&again) > token(&released), "tokens grow through a delete: a fence for whoever held the lock before");
    let stale = client.cas("lock").expect(Expect::value("me")).set("x").await.expect("answered");
    assert!(!stale.is_applied());
}

#[tokio::test]
async fn a_linearizable_read_and_write_tell_the_token_and_others_have_none() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let absent = client.get("k").level(Level::Linearizable).await.expect("answered");
    assert_eq!(absent.token().expect("there is one of an absent key too").to_string(), "0.0.0.0.0");
    let first = client.cas("k").expect(absent.token().expect("told")).set("a").await.expect("answered");
    let written = client.put("k", "b").level(Level::Linearizable).await.expect("answered");
    assert!(written.token() > Some(token(&first)));
    let read = client.get("k").level(Level::Linearizable).await.expect("answered");
    assert_eq!((read.token(), read.single().expect("one").as_deref()), (written.token(), Some(&b"b"[..])));
    assert_eq!(client.get("k").await.expect("answered").token(), None);
    assert_eq!(client.put("k", "c").await.expect("answered").token(), None);
}

#[tokio::test]
async fn functions_return_what_they_made_of_the_value() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    assert_eq!(client.incr("n", 5).await.expect("answered"), 5);
    assert_eq!(client.incr("n", -7).await.expect("answered"), -2);
    assert_eq!(client.set_if_greater("n", 10).await.expect("answered"), 10);
    assert_eq!(client.set_if_greater("n", 3).await.expect("answered"), 10);
    assert_eq!(client.append("n", "0").await.expect("answered"), 3);
    let full = client.incr("n", 1).in_full().await.expect("answered");
    assert_eq!((full.value, full.receipt().level, full.receipt().rounds), (101, Level::Linearizable, 1));
    client.put("text", "abc").level(Level::Linearizable).await.expect("answered");
    let error = client.incr("text", 1).await.expect_err("no number");
    assert_eq!(error.reason(), Some(&Reason::Inapplicable { why: Inapplicable::NotANumber }));
    assert_eq!((error.outcome(), error.is_retryable()), (Outcome::NotApplied, false), "{error}");
}

/// Two coordinators would only compete; any one does.
#[tokio::test]
async fn linearizable_operations_go_to_the_first_home_replica_and_then_to_the_next() {
    let mut cluster = Cluster::start(5).await;
    let client = cluster.client().await;
    for index in 0..30 {
        let key = format!("key{index}");
        let homes = client.ring().preference_list(3, key.as_bytes()).expect("made for three").clone();
        client.incr(&key, 1).await.expect("answered");
        assert_eq!(cluster.next_change().await.0, homes.first());
        client.put(&key, "1").level(Level::Linearizable).await.expect("answered");
        assert_eq!(cluster.next_write().await.0, homes.first());
        client.get(&key).level(Level::Linearizable).await.expect("answered");
        assert_eq!(cluster.next_read().await.0, homes.first());
    }
    let homes = client.ring().preference_list(3, b"k").expect("made for three").clone();
    cluster.script([Script::Break]);
    client.incr("k", 1).await.expect("the second does it");
    assert_eq!(cluster.next_change().await.0, homes.first());
    assert_eq!(Some(cluster.next_change().await.0), homes.iter().nth(1));
}

#[tokio::test]
async fn a_retried_change_keeps_its_name_and_is_applied_once() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.script([Script::Break]);
    let full = client.incr("n", 1).in_full().await.expect("the second node does it");
    let (first, second) = (cluster.next_change().await.1, cluster.next_change().await.1);
    assert_eq!((first.attempt, second.attempt), (Attempt(0), Attempt(1)));
    assert_eq!((first.op, second.op), (full.op(), full.op()));
    let again = client.incr("n", 1).op_id(full.op()).in_full().await.expect("answered as then");
    assert_eq!((again.value, again.token()), (1, full.token()));
    assert_eq!(cluster.next_change().await.1.attempt, Attempt(1));
    assert_eq!(client.incr("n", 1).await.expect("answered"), 2);
}

/// An eventual blind write would have to wait until its first sending can begin no more; a linearizable one is applied once whenever it
/// begins.
#[tokio::test]
async fn a_linearizable_put_says_nothing_of_when_it_must_begin() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    client.put("k", "v").level(Level::Linearizable).await.expect("answered");
    assert_eq!(cluster.next_write().await.1.begin_by, None);
    cluster.change(|topology| topology.buckets[0].level = Level::Linearizable);
    assert!(client.refresh().await);
    client.put("k", "v").await.expect("answered");
    let (_, request) = cluster.next_write().await;
    assert_eq!((request.level, request.begin_by), (Some(Level::Linearizable), None), "by the bucket's level, which is said then");
}

async fn two_sendings(cluster: &mut Cluster) -> (Client, oneshot::Sender<Script>, oneshot::Sender<Script>) {
    let attempts = AttemptOptions { silence_micros: 30_000, ..AttemptOptions::default() };
    let client = cluster.client_with(|builder| builder.attempts(attempts).deadline(Duration::from_secs(20))).await;
    let ((older, first), (newer, second)) = (oneshot::channel(), oneshot::channel());
    cluster.script([Script::Wait(first), Script::Wait(second)]);
    (client, older, newer)
}

/// T5: the first coordinator says late that the expectation did not hold, which is true of its sending alone.
#[tokio::test]
async fn an_unrecorded_conflict_of_an_older_sending_is_ignored() {
    let mut cluster = Cluster::start(2).await;
    let (client, older, newer) = two_sendings(&mut cluster).await;
    let cas = tokio::spawn(client.cas("k").expect(Expect::Absent).set("v").into_future());
    cluster.next_change().await;
    assert_eq!(cluster.next_change().await.1.attempt, Attempt(1));
    let unrecorded = Changed::Conflict { current: Some(vec!["other".into()]), recorded: false };
    older.send(Script::Answer(unrecorded)).expect("waiting");
    // An answer to a later question on the same connection shows that the older answer has arrived.
    for node in client.nodes() {
        client.status_of(node).await.expect("answered");
    }
    assert!(!cas.is_finished());
    newer.send(Script::Do).expect("waiting");
    assert!(cas.await.expect("no panic").expect("answered").is_applied());
}

#[tokio::test]
async fn a_recorded_conflict_of_an_older_sending_is_final() {
    let mut cluster = Cluster::start(2).await;
    let (client, older, _newer) = two_sendings(&mut cluster).await;
    let cas = tokio::spawn(client.cas("k").expect(Expect::Absent).set("v").into_future());
    cluster.next_change().await;
    cluster.next_change().await;
    older.send(Script::Answer(Changed::Conflict { current: None, recorded: true })).expect("waiting");
    let Cas::Conflict { current } = cas.await.expect("no panic").expect("answered") else { panic!("it failed") };
    assert_eq!((current.values.as_ref(), current.single()), (None, None), "what was there then is not told");
}

#[tokio::test]
async fn an_unrecorded_conflict_of_the_only_sending_is_final() {
    let mut cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    cluster.script([Script::Answer(Changed::Conflict { current: Some(vec!["other".into()]), recorded: false })]);
    assert!(!client.cas("k").expect(Expect::Absent).set("v").await.expect("answered").is_applied());
    assert!(matches!(cluster.rest()[..], [Seen::Change(..)]), "it was sent once");
}

/// An operation that nobody answered, and its name.
async fn unknown(client: &Client, cluster: &Cluster, key: &str) -> OpId {
    cluster.script([Script::Ignore]);
    let error = client.incr(key, 1).deadline(Duration::from_millis(60)).await.expect_err("nobody answers");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(error.advice().is_some_and(|advice| advice.contains("settle")), "{error}");
    error.op().expect("it has a name")
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_for_and_settled() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let op = unknown(&client, &cluster, "n").await;
    let ask = async || client.outcome("n", op).deadline(Duration::from_secs(5)).await.expect("answered");
    assert_eq!(ask().await, Fate::Unknown(UnknownWhy::NotContained), "looking changes nothing");
    assert_eq!(client.outcome("n", op).settle().await.expect("answered"), Fate::NotApplied(NotAppliedWhy::Settled));
    assert_eq!(ask().await, Fate::NotApplied(NotAppliedWhy::Settled));
    let late = client.incr("n", 1).op_id(op).await.expect_err("it was settled");
    assert_eq!((late.reason(), late.outcome()), (Some(&Reason::Fenced), Outcome::NotApplied), "{late}");
    assert_eq!(client.incr("n", 1).await.expect("another operation"), 1);
    let applied = client.incr("n", 1).in_full().await.expect("answered");
    let fate = client.outcome("n", applied.op()).settle().await.expect("answered");
    assert_eq!(fate, Fate::Applied { token: Some(applied.token()), result: Some("2".into()) }, "settling does not undo");
}

#[tokio::test]
async fn an_operation_that_its_client_has_gone_on_from_is_never_applied() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let first = client.incr("n", 1).in_full().await.expect("answered");
    client.incr("n", 1).await.expect("answered, on the same lane");
    let zombie = client.incr("n", 1).op_id(first.op()).await.expect_err("superseded");
    assert_eq!((zombie.reason(), zombie.outcome()), (Some(&Reason::Superseded), Outcome::Unknown), "{zombie}");
    assert!(zombie.advice().is_some_and(|advice| advice.starts_with("read the key")), "{zombie}");
    assert_eq!(client.incr("n", 0).await.expect("answered"), 2, "{}", first.op());
}

#[tokio::test]
async fn what_does_not_go_together_is_refused_before_anything_is_sent() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let context = client.get("k").await.expect("answered").context().clone();
    cluster.rest();
    let lin_only = client.bucket(LIN_ONLY);
    let errors: [(Error, &str); 4] = [
        (client.put("k", "v").level(Level::Linearizable).context(&context).await.expect_err("a context"), "takes no context"),
        (client.delete("k").level(Level::Linearizable).concurrent().await.expect_err("concurrent"), "takes no context"),
        (lin_only.put("k", "v").await.expect_err("eventual"), "takes linearizable writes only"),
        (client.cas("k").expect(Expect::Absent).set(vec![0; 1024 * 1024 + 1]).await.expect_err("large"), "at most 1048576 are allowed"),
    ];
    for (error, text) in errors {
        assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains(text), "{error}");
        assert_eq!((error.outcome(), error.is_retryable()), (Outcome::NotApplied, false));
    }
    assert!(cluster.rest().is_empty());
    lin_only.put("k", "v").level(Level::Linearizable).await.expect("it takes those");
    lin_only.cas("k").expect(Expect::value("v")).set("w").await.expect("and these");
}

#[tokio::test]
async fn an_update_at_linearizable_loses_nothing_without_a_resolver() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let counts = client.default_bucket().level(Level::Linearizable).json::<u32>();
    let updates = (0..4).map(|_| {
        let counts = counts.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while done < 10 {
                match counts.update("n", |n| n.unwrap_or(0) + 1).await {
                    Ok(updated) => {
                        assert!(updated.written.token().is_some());
                        done += 1;
                    }
                    Err(TypedError::Overtaken { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    for update in updates.collect::<Vec<_>>() {
        update.await.expect("no panic");
    }
    let read = counts.read("n").await.expect("answered");
    assert_eq!((read.value, read.siblings), (Some(40), 1));
    let expected = counts.expect_value(&40).expect("a number");
    assert!(counts.cas("n", expected, Some(&1)).await.expect("answered").is_applied());
    let Cas::Conflict { current } = counts.cas("n", Expect::Absent, None).await.expect("answered") else { panic!("it is there") };
    assert_eq!(current.single(), Some(&1));
}

#[cfg(feature = "blocking")]
#[test]
fn a_program_without_async_does_the_same() {
    use quorate_client::blocking;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let cluster = runtime.block_on(Cluster::start(3));
    let client = blocking::Client::connect(&cluster.addresses()).expect("the nodes answer");
    let taken = client.cas("lock").expect(Expect::Absent).set("me").send().expect("answered");
    assert!(taken.is_applied() && !client.cas("lock").expect(Expect::Absent).delete().send().expect("answered").is_applied());
    assert_eq!(client.incr("n", 2).send().expect("answered"), 2);
    assert_eq!(client.append("n", "0").send().expect("answered"), 2);
    let full = client.set_if_greater("n", 30).in_full().send().expect("answered");
    assert_eq!(full.value, 30);
    let fate = client.outcome("n", full.op()).settle().send().expect("answered");
    assert_eq!(fate, Fate::Applied { token: Some(full.token()), result: Some("30".into()) });
    let never = OpId { seq: full.op().seq + 9, ..full.op() };
    assert_eq!(client.outcome("n", never).settle().send().expect("answered"), Fate::NotApplied(NotAppliedWhy::Settled));
}
