//! A full disk makes the store read-only; any other failure of a log write ends the process.

use std::time::Duration;

use quorate_protocol::hlc::Hlc;
use quorate_protocol::{Actor, Body, Context, Dot, Siblings, Version};

use super::*;

/// A small file system of its own, unmounted when dropped.
struct TinyDisk {
    mount: TempDir,
}

impl TinyDisk {
    /// `None`, with the reason printed, where this process may not mount.
    fn mount() -> Option<Self> {
        let mount = tempfile::tempdir().expect("a temporary directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(mount.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { mount }),
            Ok(output) => {
                println!("skipped: mounting needs root: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                println!("skipped: there is no mount command: {error}");
                None
            }
        }
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.mount.path()).status().expect("what was mounted can be unmounted");
    }
}

/// Puts a value of the given size under a dot of its own.
fn put_large(store: &Store, name: &str, bytes: usize) -> Result<(), StoreError> {
    let transition = |record: &mut KeyRecord| {
        let n = count_up(record);
        let dot = Dot { actor: Actor::Node { node: NodeId(3), epoch: KeyEpoch(1) }, n };
        let body = Body::Value(noise(n, bytes).into());
        record.eventual = Siblings::delta(Context::empty(), dot, Version { body, hlc: Hlc(n), op: None });
    };
    store.update(&key(name), Durability::Synced, transition)?.1.wait()
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_keeps_what_was_acknowledged() {
    let Some(disk) = TinyDisk::mount() else { return };
    let directory = disk.mount.path().join("n3");
    let open = |init| Store::open(&directory, &expected(), init, &small());
    let (store, _) = open(Init::Fresh).expect("there is space");
    let ballast = disk.mount.path().join("ballast");
    fs::write(&ballast, vec![0; 8 << 20]).expect("there is space");
    let acknowledged = (0..1_000).take_while(|index| put_large(&store, &format!("k{index}"), 100 << 10).is_ok()).count();
    assert!((1..1_000).contains(&acknowledged), "{acknowledged} writes fit");

    assert!(!store.is_writable());
    let refused = format!("k{acknowledged}");
    assert!(matches!(put_large(&store, &refused, 10), Err(StoreError::DiskFull)), "also a small one");
    assert!(matches!(store.close(), Err(StoreError::DiskFull)), "the stop is not a clean one");
    assert_eq!(durable_count(&store, &refused), 0, "what was given up is not shown");
    let holds_all = |store: &Store| (0..acknowledged).all(|index| durable_count(store, &format!("k{index}")) == 1);
    assert!(holds_all(&store));
    drop(store);

    fs::remove_file(&ballast).expect("the ballast is there");
    let (store, opened) = open(Init::Existing).expect("there is space again");
    assert!(!opened.clean);
    assert!(holds_all(&store));
    put_large(&store, &refused, 10).expect("there is space again");
}

/// A table file may find the disk full before the log does. RocksDB then stops taking writes, and would let them wait for room.
#[test]
fn a_disk_that_is_full_for_table_files_refuses_writes_instead_of_letting_them_wait() {
    let Some(disk) = TinyDisk::mount() else { return };
    for round in 0..8 {
        let (directory, ballast) = (disk.mount.path().join(format!("n{round}")), disk.mount.path().join("ballast"));
        fs::write(&ballast, vec![0; (12 << 20) + round * (223 << 10)]).expect("there is space");
        let (filled, full) = std::sync::mpsc::channel();
        let at = directory.clone();
        std::thread::spawn(move || {
            let (store, _) = Store::open(&at, &expected(), Init::Fresh, &small()).expect("there is space");
            let acknowledged = (0..1_000).take_while(|index| put_large(&store, &format!("k{index}"), 100 << 10).is_ok()).count();
            let closed = store.close();
            drop(store);
            // An error means that the test has failed meanwhile.
            let _ = filled.send((acknowledged, closed));
        });
        let (acknowledged, closed) = full.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("round {round}: a write waits"));
        assert!(
            (1..1_000).contains(&acknowledged) && matches!(closed, Err(StoreError::DiskFull)),
            "round {round}: {acknowledged}, {closed:?}"
        );
        fs::remove_file(&ballast).expect("the ballast is there");
        let (store, _) = Store::open(&directory, &expected(), Init::Existing, &small()).expect("there is space again");
        assert!((0..acknowledged).all(|index| durable_count(&store, &format!("k{index}")) == 1), "round {round}");
        drop(store);
        fs::remove_dir_all(&directory).expect("removed");
    }
}

#[test]
fn everything_queued_behind_a_full_disk_is_given_up_together() {
    let Some(disk) = TinyDisk::mount() else { return };
    let options = StoreOptions { batch_writes_max: 1, ..small() };
    let store = Store::prepare(&disk.mount.path().join("n3"), &expected(), Init::Fresh, &options).expect("there is space").0;
    let large = |record: &mut KeyRecord| {
        let dot = Dot { actor: Actor::Node { node: NodeId(3), epoch: KeyEpoch(1) }, n: count_up(record) };
        let body = Body::Value(vec![7; 30 << 20].into());
        record.eventual = Siblings::delta(Context::empty(), dot, Version { body, hlc: Hlc(1), op: None });
    };
    let (_, too_large) = store.update(&key("a"), Durability::Synced, large).expect("it is queued");
    let (seen, behind) = queue_bump(&store, "a").expect("it is queued");
    let (_, other) = queue_bump(&store, "b").expect("it is queued");
    let hint = store.put_hint(NodeId(5), bytes::Bytes::from_static(b"hint")).expect("it is queued");
    assert_eq!(seen, 2);
    store.begin().expect("a thread can be started");
    for commit in [too_large, behind, other, hint] {
        assert!(matches!(commit.wait(), Err(StoreError::DiskFull)));
    }
    assert_eq!((durable_count(&store, "a"), durable_count(&store, "b")), (0, 0));
    assert_eq!(store.hint_stats(NodeId(5)).count, 0);
    assert_eq!(store.pending().writes, 0);
}

#[test]
fn a_failed_log_write_aborts_the_process() {
    // Files that cannot grow beyond 2 MiB make the log write fail with something else than a full disk.
    let limit = "trap '' XFSZ; ulimit -f 4096;";
    let output = in_a_process(limit, "disk_full::writes_until_its_log_fails").output().expect("a shell is there");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("a write was acknowledged"), "{printed}");
    assert!(!printed.contains("a write was refused"), "{printed}");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(6), "aborted: {:?} {printed}", output.status);
}

#[test]
#[ignore = "ends its process; run by a_failed_log_write_aborts_the_process"]
fn writes_until_its_log_fails() {
    let place = Place::new();
    let store = place.init();
    for index in 0..100 {
        match put_large(&store, &format!("k{index}"), 100 << 10) {
            Ok(()) => println!("a write was acknowledged"),
            Err(error) => println!("a write was refused: {error}"),
        }
    }
}
