//! What operations carry: siblings, contexts, typed values, scans.

use std::collections::BTreeSet;

use quorate_client::{Client, Context, Error, Outcome, Reason, TypedError};
use quorate_protocol::outcome::Failure;
use quorate_rpc::kv::WriteContext;

use crate::fake::{Cluster, Script, Seen};

#[tokio::test]
async fn siblings_are_told_and_resolved_with_the_context_of_their_read() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    assert_eq!(client.get("k").await.expect("answered").single().expect("no conflict"), None);
    client.put("k", "a").concurrent().await.expect("answered");
    client.put("k", "b").concurrent().await.expect("answered");

    let read = client.get("k").await.expect("answered");
    let conflict = read.single().expect_err("two values");
    assert_eq!(conflict.to_string(), "\"k\" has 2 siblings; merge them and put the result with the context of this read");
    assert_eq!(read.values().map(|value| &value[..]).collect::<Vec<_>>(), [b"a", b"b"]);

    let context: Context = read.context().to_string().parse().expect("its own text");
    let written = client.put("k", "ab").context(&context).await.expect("answered");
    let read = client.get("k").await.expect("answered");
    assert_eq!(read.single().expect("resolved").as_deref(), Some(&b"ab"[..]));
    assert_eq!(written.dot(), Some(read.siblings()[0].dot));
    client.delete("k").context(written.context()).await.expect("answered");
    assert_eq!(client.get("k").await.expect("answered").single().expect("no conflict"), None);
}

#[tokio::test]
async fn a_write_without_a_context_is_blind() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    client.put("k", "a").await.expect("answered");
    assert_eq!(cluster.next_write().await.1.context, WriteContext::Blind);
}

#[tokio::test]
async fn an_update_merges_siblings_and_replaces_what_it_has_read() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let union = |a: BTreeSet<String>, b: BTreeSet<String>| &a | &b;
    let carts = client.default_bucket().json::<BTreeSet<String>>().resolve_with(union);
    let add = |item: &'static str| {
        move |cart: Option<BTreeSet<String>>| {
            let mut cart = cart.unwrap_or_default();
            cart.insert(item.to_owned());
            cart
        }
    };
    carts.update("7", add("milk")).await.expect("answered");
    client.put("7", r#"["eggs"]"#).concurrent().await.expect("answered");
    let updated = carts.update("7", add("flour")).await.expect("answered");
    let expected = ["eggs", "flour", "milk"].map(str::to_owned).into();
    assert_eq!(updated.value, expected);
    let read = carts.read("7").await.expect("answered");
    assert_eq!((read.value, read.siblings), (Some(expected), 1));
}

#[tokio::test]
async fn an_update_reads_again_when_the_key_had_too_many_siblings_and_stops_when_it_does_not_know() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let numbers = client.default_bucket().json::<u32>().resolve_with(u32::max);
    let sealed = client.get("k").await.expect("answered").context().sealed().clone();
    let too_many = Failure::refused(Reason::TooManySiblings { siblings_max: 2, context: sealed });
    cluster.script([Script::Do, Script::Fail(too_many)]);
    let mut calls = 0;
    let updated = numbers.update("k", |number| {
        calls += 1;
        number.unwrap_or(0) + 1
    });
    assert_eq!(updated.await.expect("the second try").value, 1);
    assert_eq!(calls, 2);

    let mut unknown = Failure::refused(Reason::InvalidContext);
    unknown.outcome = Outcome::Unknown;
    cluster.script([Script::Do, Script::Fail(unknown)]);
    let error = numbers.update("k", |_| 5).await.expect_err("unknown");
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[tokio::test]
async fn siblings_without_a_resolver_and_values_of_another_type_are_typed_errors() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let numbers = client.default_bucket().json::<u32>();
    client.put("text", "\"three\"").await.expect("answered");
    let error = numbers.get("text").await.expect_err("no number");
    assert!(matches!(error, TypedError::Decode { .. }), "{error}");
    for value in ["1", "2"] {
        client.put("two", value).concurrent().await.expect("answered");
    }
    let error = numbers.update("two", |_| 3).await.expect_err("two values");
    assert!(matches!(&error, TypedError::Conflict(conflict) if conflict.siblings().len() == 2), "{error}");
    assert_eq!(numbers.resolve_all_with(|all| all.into_iter().sum()).get("two").await.expect("answered"), Some(3));
}

async fn filled(cluster: &mut Cluster, keys: usize) -> Client {
    let client = cluster.client().await;
    for index in 0..keys {
        client.put(format!("key{index:03}"), index.to_string()).await.expect("answered");
    }
    client.delete("key007").await.expect("answered");
    cluster.rest();
    client
}

#[tokio::test]
async fn a_scan_reads_every_key_that_has_a_value_once() {
    let mut cluster = Cluster::start(3).await;
    let client = filled(&mut cluster, 100).await;
    let mut reads = client.default_bucket().scan().page_keys(5).concurrency(7).stream();
    let mut found = BTreeSet::new();
    while let Some(read) = reads.next().await {
        let read = read.expect("answered");
        let value = read.single().expect("no conflict").expect("present");
        let key = String::from_utf8(read.key().to_vec()).expect("text");
        assert_eq!(key, format!("key{:0>3}", String::from_utf8_lossy(&value)));
        assert!(found.insert(key), "no key comes twice");
    }
    assert_eq!(found.len(), 99);
    assert!(!found.contains("key007"));
    let lists = cluster.rest().into_iter().filter(|seen| matches!(seen, Seen::List)).count();
    assert!(lists >= 100 / 5, "{lists} pages");
}

#[tokio::test]
async fn keys_come_in_byte_order_within_a_partition_deleted_ones_included() {
    let mut cluster = Cluster::start(3).await;
    let client = filled(&mut cluster, 40).await;
    let partitions = client.ring().partitions();
    let mut keys = client.default_bucket().keys().page_keys(3).stream();
    let mut found = Vec::new();
    while let Some(key) = keys.next().await {
        found.push(key.expect("answered"));
    }
    assert_eq!(found.len(), 40);
    assert!(found.is_sorted_by_key(|key| (partitions.of_key(key), key.clone())));
}

#[tokio::test]
async fn a_scan_reports_a_failed_page_and_goes_on() {
    let mut cluster = Cluster::start(1).await;
    let client = filled(&mut cluster, 40).await;
    cluster.script([Script::Fail(Failure::refused(Reason::InvalidContext))]);
    let mut keys = client.default_bucket().keys().stream();
    let first = keys.next().await.expect("an item").expect_err("the failed page");
    assert!(matches!(first, Error::Failed { .. }) && first.to_string().starts_with("list p0 at quorum: "), "{first}");
    let mut found = 0;
    while let Some(key) = keys.next().await {
        key.expect("answered");
        found += 1;
    }
    assert!((1..40).contains(&found), "{found}");
}

#[tokio::test]
async fn a_scan_of_a_bucket_nobody_knows_ends_at_once() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let mut reads = client.bucket("nowhere").scan().stream();
    let error = reads.next().await.expect("an item").expect_err("no such bucket");
    assert!(matches!(error.reason(), Some(Reason::UnknownBucket { .. })), "{error}");
    assert!(reads.next().await.is_none());
}

#[cfg(feature = "blocking")]
#[test]
fn a_program_without_async_does_the_same() {
    use quorate_client::blocking;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let cluster = runtime.block_on(Cluster::start(3));
    let client = blocking::Client::connect(&cluster.addresses()).expect("the nodes answer");
    let written = client.put("k", "a").send().expect("answered");
    let threads = (0..4).map(|thread| {
        let client = client.clone();
        std::thread::spawn(move || client.put(format!("t{thread}"), "b").send().expect("answered"))
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| drop(thread.join().expect("no panic")));
    assert_eq!(client.get("k").send().expect("answered").single().expect("one").as_deref(), Some(&b"a"[..]));
    client.delete("k").context(written.context()).send().expect("answered");
    let found = client.bucket("default").scan(|scan| scan.concurrency(2)).filter(Result::is_ok).count();
    assert_eq!(found, 4);
    let counts = client.bucket("default").json::<u32>(|counts| counts.resolve_with(u32::max));
    assert_eq!(counts.update("n", |n| n.unwrap_or(0) + 1).expect("answered").value, 1);
}
