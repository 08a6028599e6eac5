//! Kills, torn writes, flipped bits and missing files: all acknowledged writes are there, or the store refuses to open.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use quorate_protocol::chain::state::Authorship;
use quorate_protocol::chain::volatile::Volatile;
use quorate_protocol::chain::{Accepted, Ballot, ChainRecord, ChainState, Change};
use quorate_protocol::hlc::Hlc;
use quorate_protocol::{BootId, Options};
use quorate_ring::RingEpoch;

use super::*;

const WRITES: u64 = 40;

/// A store that was killed after some acknowledged writes, each synced alone.
fn killed() -> Place {
    let place = Place::new();
    let store = place.init();
    (0..WRITES).for_each(|index| assert_eq!(bump(&store, &format!("k{index}")), 1));
    place.as_killed()
}

fn all_there(store: &Store) -> bool {
    (0..WRITES).all(|index| durable_count(store, &format!("k{index}")) == 1)
}

fn cut(file: &Path, length: u64) {
    File::options().write(true).open(file).and_then(|file| file.set_len(length)).expect("the file can be cut");
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).expect("the file is there").len()
}

#[test]
fn a_kill_loses_no_acknowledged_write() {
    let mut place = killed();
    for boot in 2..5 {
        let (store, opened) = place.reopen();
        assert_eq!((opened.boot.0, opened.clean), (boot, false));
        assert!(all_there(&store));
        let survivor = place.as_killed();
        drop(store);
        place = survivor;
    }
}

/// T17: whoever forgets a promise lets a majority choose twice.
#[test]
fn a_kill_loses_no_promise_and_no_accepted_state() {
    let ballot = |counter| Ballot { epoch: RingEpoch(1), counter, node: NodeId(1), boot: BootId(1) };
    let proposal = |counter, value: &'static str| {
        let author = Authorship { ballot: ballot(counter), hlc: Hlc(1), op: None };
        Accepted { ballot: ballot(counter), state: ChainState::default().apply(&Change::Put(value.into()), author).0 }
    };
    let place = Place::new();
    let store = place.init();
    let act = |transition: &dyn Fn(&mut ChainRecord)| {
        let ((), commit) = store.update(&key("k"), Durability::Synced, |record| transition(&mut record.chain)).expect("open");
        commit.wait().expect("the disk has space");
        let survivor = place.as_killed();
        let (store, _) = survivor.reopen();
        store.read(&key("k")).expect("readable").expect("acknowledged").chain
    };
    let mut promised = act(&|chain| chain.prepare(ballot(5), Ballot::ZERO).expect("higher"));
    assert_eq!(promised.promised, ballot(5));
    assert!(promised.accept(&proposal(4, "late"), None, Ballot::ZERO, Options::default()).expect("one state").is_err());
    let accepted = act(&|chain| {
        chain.accept(&proposal(5, "v"), Some(ballot(9)), Ballot::ZERO, Options::default()).expect("one state").expect("promised")
    });
    assert_eq!((accepted.accepted, accepted.promised), (Some(proposal(5, "v")), ballot(9)));
}

/// T17 again, for promises that are in no record.
#[test]
fn what_was_left_to_memory_is_gone_after_a_kill_below_the_floor_and_written_by_a_clean_stop() {
    let ballot = |counter| Ballot { epoch: RingEpoch(1), counter, node: NodeId(1), boot: BootId(1) };
    let place = Place::new();
    let store = place.init();
    let promise = |counter| {
        let act = |record: &mut KeyRecord| record.chain.prepare(ballot(counter), Ballot::ZERO).expect("higher");
        let ((), commit) = store.update_lightly(&key("k"), Durability::Synced, act).expect("open");
        commit.wait().expect("the disk has space");
        store.read(&key("k")).expect("readable").map_or(Ballot::ZERO, |record| record.chain.promised)
    };
    assert_eq!(promise(5), ballot(5), "no ceiling is durable yet");
    bump(&store, "another, behind the ceiling");
    assert_eq!(promise(7), ballot(5), "left to memory");
    assert_eq!(store.view(&key("k")).expect("readable").chain.promised, ballot(7));
    let (survivor, opened) = place.as_killed().reopen();
    assert_eq!(survivor.read(&key("k")).expect("readable").expect("written").chain.promised, ballot(5));
    assert!(opened.promise_floor > ballot(7), "it may have promised all of this");
    store.close().expect("the disk has space");
    drop(store);
    let (store, opened) = place.reopen();
    assert_eq!(store.read(&key("k")).expect("readable").expect("written").chain.promised, ballot(7));
    assert!(opened.promise_floor.is_zero(), "there is nothing more to know");
}

#[test]
fn what_rests_in_memory_is_written_back() {
    const REST: Rest = Rest { sweeps: 3, sweeps_with_room: 3 };
    let ballot = |counter| Ballot { epoch: RingEpoch(1), counter, node: NodeId(1), boot: BootId(1) };
    let store = Place::new().init();
    for counter in [5, 7] {
        let act = |record: &mut KeyRecord| record.chain.prepare(ballot(counter), Ballot::ZERO).expect("higher");
        let ((), commit) = store.update_lightly(&key("k"), Durability::Synced, act).expect("open");
        commit.wait().expect("the disk has space");
        bump(&store, "another, behind the ceiling");
    }
    for promised in [5, 5, 7] {
        (0..Store::STRIPES).for_each(|stripe| store.write_back(stripe, REST, 1).expect("open"));
        bump(&store, "another, behind it");
        assert_eq!(store.read(&key("k")).expect("readable").expect("written").chain.promised, ballot(promised));
    }
    assert_eq!(store.held(&key("k")), Volatile::default());
}

/// A slot that holds what is written anyway would never be written back, and so never be free again.
#[test]
fn what_was_learnt_is_held_once_until_it_is_written_and_not_again() {
    let ballot = |counter| Ballot { epoch: RingEpoch(1), counter, node: NodeId(1), boot: BootId(1) };
    let place = Place::new();
    let store = place.init();
    let author = Authorship { ballot: ballot(5), hlc: Hlc(1), op: None };
    let (state, _) = ChainState::default().apply(&Change::Put("a".into()), author);
    let accept = |record: &mut KeyRecord| record.chain.accepted = Some(Accepted { ballot: ballot(5), state });
    let ((), commit) = store.update(&key("k"), Durability::Synced, accept).expect("open");
    let learn = |counter| store.learn(&key("k"), ballot(counter)).expect("open");
    assert!(!learn(4), "it is not what was accepted last");
    assert!(learn(5) && learn(5), "also while it is on its way");
    commit.wait().expect("the disk has space");
    assert_eq!(store.held(&key("k")), Volatile { promised: Ballot::ZERO, decided: ballot(5) });
    let ((), commit) = store.update(&key("k"), Durability::Synced, |_| ()).expect("open");
    commit.wait().expect("the disk has space");
    assert_eq!((learn(5), store.held(&key("k"))), (true, Volatile::default()));
    store.close().expect("the disk has space");
    assert!(store.learn(&key("k"), ballot(5)).is_err());
}

#[test]
fn a_torn_last_write_is_forgiven() {
    let place = Place::new();
    let store = place.init();
    (0..WRITES).for_each(|index| assert_eq!(bump(&store, &format!("k{index}")), 1));
    let acknowledged = length(&place.log());
    bump(&store, "torn");
    let whole = length(&place.log());
    for end in acknowledged..whole {
        let torn = place.as_killed();
        cut(&torn.log(), end);
        let (store, _) = torn.reopen();
        assert!(all_there(&store), "torn at {end} of {acknowledged}..{whole}");
        assert_eq!(durable_count(&store, "torn"), 0);
        assert_eq!(bump(&store, "torn"), 1, "it goes on");
    }
}

/// Left alone, RocksDB takes a damaged length near the end of the file for a torn write and opens without what follows, and
/// a type of the wrong kind makes it search for ever.
#[test]
fn any_flipped_bit_before_the_last_write_is_refused() {
    let killed = killed();
    refuses_every_flip(&killed, &killed.log());
}

#[test]
fn any_flipped_bit_in_the_manifest_is_refused() {
    let killed = killed();
    let current = fs::read_to_string(killed.path().join("db/CURRENT")).expect("the database has a manifest");
    refuses_every_flip(&killed, &killed.path().join("db").join(current.trim()));
}

/// Flips a bit of every byte up to the last record, in which damage cannot always be told from a torn write.
fn refuses_every_flip(place: &Place, file: &Path) {
    let whole = fs::read(file).expect("the file is readable");
    let end = last_record(&whole);
    assert!(end > 100, "there are records before the last");
    for position in 0..end {
        let mut flipped = whole.clone();
        flipped[position] ^= 1 << (position % 8);
        fs::write(file, flipped).expect("the file is writable");
        let refusal = place.refusal();
        assert!(matches!(refusal, OpenError::LogDamaged { .. }), "byte {position}: {refusal}");
    }
    fs::write(file, &whole).expect("the file is writable");
    assert!(all_there(&place.reopen().0), "the undamaged file opens");
}

/// Where the last record begins in a file of one block: headers of 7 bytes, the payload's length in the fifth and sixth.
fn last_record(bytes: &[u8]) -> usize {
    let mut last = 0;
    let mut next = 0;
    while next < bytes.len() {
        last = next;
        next += 7 + usize::from(u16::from_le_bytes([bytes[last + 4], bytes[last + 5]]));
    }
    last
}

#[test]
fn a_missing_log_is_refused() {
    let place = killed();
    fs::remove_file(place.log()).expect("the log can be removed");
    let refusal = place.refusal();
    assert!(matches!(refusal, OpenError::DatabaseDamaged { .. }), "{refusal}");
}

#[test]
fn a_missing_or_damaged_table_file_is_refused() {
    let place = Place::new();
    let store = place.init();
    bump(&store, "a");
    store.close().expect("the disk has space");
    drop(store);
    let table = place.files("sst").pop().expect("a closed store has written its tables");
    let whole = fs::read(&table).expect("the table is readable");
    fs::remove_file(&table).expect("the table can be removed");
    assert!(matches!(place.refusal(), OpenError::DatabaseDamaged { .. }));
    fs::write(&table, &whole[..whole.len() - 1]).expect("the table can be written");
    assert!(matches!(place.refusal(), OpenError::DatabaseDamaged { .. }));
    fs::write(&table, &whole).expect("the table can be written");
    assert_eq!(durable_count(&place.reopen().0, "a"), 1);
}

#[test]
fn a_damaged_record_is_an_error_of_its_key_and_not_a_panic() {
    let place = Place::new();
    let store = place.init();
    bump(&store, "good");
    let mut changes = rocksdb::WriteBatch::default();
    changes.put(key("bad").as_bytes(), [1, 0xff, 0xff]);
    store.shared.engine.write(changes, true).expect("the disk has space");
    assert!(matches!(store.read(&key("bad")), Err(StoreError::DamagedRecord { .. })));
    assert!(matches!(queue_bump(&store, "bad"), Err(StoreError::DamagedRecord { .. })));
    assert_eq!(bump(&store, "good"), 2);
}

/// Tells a child process where its store is.
const DIRECTORY: &str = "STORE_DIRECTORY";
/// Keys that the child writes again and again.
const CYCLE: u64 = 200;
/// Where the child ends if nobody kills it.
const FAR_MORE_THAN_AWAITED: u64 = 1_000_000;

/// Memtables this small are flushed while writes go on, so kills hit logs that were just closed, tracked or deleted.
fn tiny() -> StoreOptions {
    StoreOptions { memtable_bytes: 64 << 10, ..small() }
}

fn long_name(index: u64) -> String {
    format!("{:0200}", index % CYCLE)
}

/// A real process, really killed while it writes and flushes. Before each kill it said which writes were acknowledged.
#[test]
fn kills_during_flushes_lose_no_acknowledged_write() {
    const KILLS: u32 = 5;
    let place = Place::new();
    let mut acknowledged = 0;
    for kill in 1..=KILLS {
        let mut writer = in_a_process("", "crash::writes_until_it_is_killed");
        let mut writer = writer.env(DIRECTORY, place.path()).stdout(Stdio::piped()).spawn().expect("a shell is there");
        let mut lines = BufReader::new(writer.stdout.take().expect("it was piped")).lines();
        let aim = acknowledged + 900;
        while acknowledged < aim {
            let line = lines.next().expect("it writes until it is killed").expect("it prints text");
            acknowledged = line.strip_prefix("acknowledged ").map_or(acknowledged, |count| count.parse().expect("a number"));
        }
        writer.kill().expect("it still runs");
        writer.wait().expect("it was killed");
        let said: Vec<u64> = lines.map_while(|line| line.ok()?.strip_prefix("acknowledged ")?.parse().ok()).collect();
        acknowledged = said.last().copied().unwrap_or(acknowledged);
        let (store, opened) = Store::open(place.path(), &expected(), Init::Existing, &tiny()).expect("the directory is whole");
        assert_eq!((opened.boot.0, opened.clean), (2 * kill, false));
        let stored = (0..CYCLE).map(|index| durable_count(&store, &long_name(index))).sum::<u64>();
        assert!(stored >= acknowledged, "{stored} of {acknowledged} are there");
        acknowledged = stored;
    }
}

#[test]
#[ignore = "waits to be killed; run by kills_during_flushes_lose_no_acknowledged_write"]
fn writes_until_it_is_killed() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).expect("the parent says where"));
    let init = if directory.join("identity").exists() { Init::Existing } else { Init::Fresh };
    let (store, _) = Store::open(&directory, &expected(), init, &tiny()).expect("the directory is whole");
    let mut written: u64 = (0..CYCLE).map(|index| durable_count(&store, &long_name(index))).sum();
    while written < FAR_MORE_THAN_AWAITED {
        let batch: Vec<Commit> =
            (0..10).map(|next| queue_bump(&store, &long_name(written + next)).expect("the store takes writes").1).collect();
        written += batch.len() as u64;
        batch.into_iter().for_each(|commit| commit.wait().expect("the disk has space"));
        println!("acknowledged {written}");
    }
}
