//! The bytes of a record.
//!
//! ```text
//! | 1 | own dots, eventual view                             |   a key without a chain
//! | 2 | own dots, chain, eventual view or that it is missing |   any other
//! ```
//!
//! The fields are in postcard. Format 2 leaves the eventual view out when it is what the accepted state holds: of a key that is at rest
//! every value is stored once.
//!
//! **Promise.** The same record always gives the same bytes, so two records are equal exactly if their bytes are. Bytes that
//! were written once can be read for ever: a new layout gets a new format number beside the old one.

use quorate_protocol::chain::ChainRecord;
use quorate_protocol::record::OwnDots;
use quorate_protocol::{KeyRecord, Siblings};
use serde::{Deserialize, Serialize};

/// Of records without a chain.
const EVENTUAL: u8 = 1;

/// Of records with a chain.
const CHAINED: u8 = 2;

/// Room for a small value with its version, so that encoding it allocates once.
const TYPICAL_BYTES: usize = 320;

/// Stored bytes that are no record. Nothing was changed by finding out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// There are no bytes at all.
    #[error("the record is empty")]
    Empty,
    /// A later version of the software wrote it, or the first byte is damaged.
    #[error("the record has format {found}, this version reads formats {EVENTUAL} and {CHAINED}")]
    UnknownFormat {
        /// The first byte.
        found: u8,
    },
    /// The body does not decode.
    #[error("the record does not decode")]
    Malformed {
        /// What the decoder found.
        #[source]
        source: postcard::Error,
    },
    /// The body decodes and bytes are left.
    #[error("the record has {count} bytes too many")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// What format 1 holds.
#[derive(Serialize)]
struct Eventual<'a> {
    own: &'a Option<OwnDots>,
    eventual: &'a Siblings,
}

#[derive(Deserialize)]
struct StoredEventual {
    own: Option<OwnDots>,
    eventual: Siblings,
}

/// What format 2 holds. The eventual view is missing exactly if it is what the accepted state holds.
#[derive(Serialize)]
struct Chained<'a> {
    own: &'a Option<OwnDots>,
    chain: &'a ChainRecord,
    eventual: Option<&'a Siblings>,
}

#[derive(Deserialize)]
struct StoredChained {
    own: Option<OwnDots>,
    chain: ChainRecord,
    eventual: Option<Siblings>,
}

/// The record's bytes.
pub(super) fn encode(record: &KeyRecord) -> Vec<u8> {
    let KeyRecord { own, eventual, chain } = record;
    let mut bytes = Vec::with_capacity(TYPICAL_BYTES);
    let encoded = if *chain == ChainRecord::default() {
        bytes.push(EVENTUAL);
        postcard::to_extend(&Eventual { own, eventual }, bytes)
    } else {
        bytes.push(CHAINED);
        let is_same = chain.accepted.as_ref().is_some_and(|accepted| accepted.state.siblings == *eventual);
        postcard::to_extend(&Chained { own, chain, eventual: (!is_same).then_some(eventual) }, bytes)
    };
    encoded.expect("a record holds no sequence of unknown length")
}

/// The record that [`encode`] made `bytes` from.
pub(super) fn decode(bytes: &[u8]) -> Result<KeyRecord, RecordError> {
    let (format, body) = bytes.split_first().ok_or(RecordError::Empty)?;
    match *format {
        EVENTUAL => {
            let StoredEventual { own, eventual } = whole(body)?;
            Ok(KeyRecord { own, eventual, chain: ChainRecord::default() })
        }
        CHAINED => {
            let StoredChained { own, chain, eventual } = whole(body)?;
            let accepted = || chain.accepted.as_ref().map(|accepted| accepted.state.siblings.clone());
            let missing = RecordError::Malformed { source: postcard::Error::SerdeDeCustom };
            let eventual = eventual.or_else(accepted).ok_or(missing)?;
            Ok(KeyRecord { own, eventual, chain })
        }
        found => Err(RecordError::UnknownFormat { found }),
    }
}

fn whole<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, RecordError> {
    let (fields, rest) = postcard::take_from_bytes(body).map_err(|source| RecordError::Malformed { source })?;
    match rest.len() {
        0 => Ok(fields),
        count => Err(RecordError::Trailing { count }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use quorate_protocol::chain::state::Authorship;
    use quorate_protocol::chain::{Accepted, Ballot, ChainState, Change, Expect};
    use quorate_protocol::hlc::Hlc;
    use quorate_protocol::{Actor, Body, BootId, ClientId, Context, Dot, KeyEpoch, OpId, Options, Version};
    use quorate_ring::{NodeId, RingEpoch};

    use super::*;

    fn sample() -> KeyRecord {
        let dot = |node, n| Dot { actor: Actor::Node { node: NodeId(node), epoch: KeyEpoch(300) }, n };
        let op = OpId { client: ClientId(0x0102_0304), lane: 2, seq: 9, issued_ms: 1_700_000_000_000 };
        let value = Version { body: Body::Value(Bytes::from_static(b"kingfisher")), hlc: Hlc(77), op: Some(op) };
        let tombstone = Version { body: Body::Tombstone, hlc: Hlc(78), op: None };
        let mut eventual = Siblings::delta(Context::empty().with(dot(1, 1)), dot(1, 2), value);
        eventual.merge(&Siblings::delta(Context::empty(), dot(2, 5), tombstone));
        KeyRecord { own: Some(OwnDots { epoch: KeyEpoch(300), n: 2 }), eventual, chain: ChainRecord::default() }
    }

    /// The bytes are on disks. Whoever changes them adds a format and keeps reading this one.
    #[test]
    fn the_bytes_of_format_1_are_frozen() {
        let hex: String = encode(&sample()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
    }

    /// Format; own dots; context: vector, cloud; live: the value with its operation, the tombstone.
    const GOLDEN: &str = concat!(
        "01",
        "01ac0202",
        "010001ac0202",
        "010002ac0205",
        "02",
        "0001ac0202000a6b696e676669736865724d0184868808020980d095ffbc31",
        "0002ac0205014e00"
    );

    fn ballot(counter: u64) -> Ballot {
        Ballot { epoch: RingEpoch(1), counter, node: NodeId(2), boot: BootId(3) }
    }

    /// Changes a state as a proposer would, at ballot `counter`.
    fn changed(state: &ChainState, counter: u64, change: &Change) -> Accepted {
        let op = OpId { client: ClientId(0x0102), lane: 1, seq: counter, issued_ms: 1_000 + counter };
        let author = Authorship { ballot: ballot(counter), hlc: Hlc::at_ms(counter), op: Some(op) };
        let (next, _) = state.begun(author.ballot).apply(change, author);
        let recorded = quorate_protocol::chain::once::Recorded::Applied { token: next.token(), result: Some(Bytes::from_static(b"7")) };
        Accepted { ballot: author.ballot, state: next.record(&op, recorded, author).expect("room for one lane") }
    }

    fn put(value: &'static [u8]) -> Change {
        Change::Put(Bytes::from_static(value))
    }

    /// Promised above what was accepted, which is chosen: the value is there once.
    fn at_rest() -> KeyRecord {
        let mut record = KeyRecord { own: Some(OwnDots { epoch: KeyEpoch(300), n: 2 }), ..KeyRecord::default() };
        let proposal = changed(&ChainState::default(), 5, &put(b"kingfisher"));
        record.chain.learn(&proposal, &mut record.eventual).expect("one state");
        record.chain.prepare(ballot(8), Ballot::ZERO).expect("higher");
        record
    }

    /// The bytes are on disks, as those of format 1 are.
    #[test]
    fn the_bytes_of_format_2_are_frozen() {
        let hex: String = encode(&at_rest()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN_CHAINED);
        assert_eq!(decode(&encode(&at_rest())), Ok(at_rest()));
    }

    /// Format; own dots; promised; accepted: ballot, state (incarnation, sequence number, siblings, once table); decided; the eventual
    /// view is what was accepted.
    const GOLDEN_CHAINED: &str = concat!(
        "02",
        "01ac0202",
        "01080203",
        "0101050203",
        "0105020301",
        "0101010502030100",
        "01010105020301000a6b696e676669736865728080140182020105ed07",
        "0182020105ed070001050203010101370500",
        "01050203",
        "00"
    );

    #[test]
    fn a_chained_value_at_rest_is_stored_once() {
        let bytes = encode(&at_rest());
        let count = bytes.windows(10).filter(|window| *window == b"kingfisher").count();
        assert_eq!(count, 1);
        let mut undecided = at_rest();
        let state = undecided.chain.accepted.as_ref().expect("accepted").state.clone();
        let proposal = changed(&state, 9, &put(b"heron"));
        undecided.chain.accept(&proposal, None, Ballot::ZERO, Options::default()).expect("one state").expect("high enough");
        assert_eq!(decode(&encode(&undecided)), Ok(undecided), "two states then, both kept");
    }

    #[test]
    fn an_eventual_view_that_is_missing_without_an_accepted_state_is_damage() {
        let mut record = KeyRecord::default();
        record.chain.prepare(ballot(8), Ballot::ZERO).expect("higher");
        let mut bytes = encode(&record);
        assert_eq!(decode(&bytes), Ok(record));
        // An empty view is a marker, no dots, no exceptions and no versions.
        bytes.truncate(bytes.len() - 4);
        bytes.push(0);
        assert!(matches!(decode(&bytes), Err(RecordError::Malformed { .. })));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Prepare,
        Accept(u8),
        Learn,
        Eventual(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step =
            prop_oneof![Just(Step::Prepare), any::<u8>().prop_map(Step::Accept), Just(Step::Learn), any::<u8>().prop_map(Step::Eventual),];
        proptest::collection::vec(step, 0..12)
    }

    fn walk(steps: &[Step]) -> Vec<KeyRecord> {
        let mut record = KeyRecord::default();
        let mut records = vec![record.clone()];
        for (counter, step) in (1..).zip(steps) {
            let state = record.chain.accepted.as_ref().map(|accepted| accepted.state.clone()).unwrap_or_default();
            match step {
                Step::Prepare => record.chain.prepare(ballot(counter), Ballot::ZERO).expect("higher"),
                Step::Accept(byte) => {
                    let body = if byte % 4 == 0 { Body::Tombstone } else { Body::Value(Bytes::from(vec![*byte; 3])) };
                    let change = Change::Cas { expect: Expect::Token(state.token()), body };
                    let proposal = changed(&state.absorb(&record.eventual, ballot(counter)), counter, &change);
                    record.chain.accept(&proposal, None, Ballot::ZERO, Options::default()).expect("one state").expect("high enough");
                }
                Step::Learn => {
                    if let Some(accepted) = record.chain.accepted.clone() {
                        record.chain.learn(&accepted, &mut record.eventual).expect("one state");
                    }
                }
                Step::Eventual(byte) => {
                    let dot = Dot { actor: Actor::Node { node: NodeId(u64::from(byte % 3)), epoch: KeyEpoch(1) }, n: counter };
                    let version = Version { body: Body::Value(Bytes::from(vec![*byte])), hlc: Hlc(counter), op: None };
                    record.eventual.merge(&Siblings::delta(Context::empty(), dot, version));
                }
            }
            records.push(record.clone());
        }
        records
    }

    proptest! {
        /// Whatever the chain of a key goes through.
        #[test]
        fn every_record_is_read_back_as_it_was_and_its_bytes_name_it(steps in steps()) {
            let records = walk(&steps);
            for record in &records {
                prop_assert_eq!(decode(&encode(record)), Ok(record.clone()));
                for other in &records {
                    prop_assert_eq!(encode(record) == encode(other), record == other);
                }
            }
        }
    }

    #[test]
    fn whatever_is_cut_off_or_added_is_a_typed_error() {
        let bytes = encode(&sample());
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "the first {end} bytes are no record");
        }
        assert_eq!(decode(&[]), Err(RecordError::Empty));
        assert_eq!(decode(&[9, 0]), Err(RecordError::UnknownFormat { found: 9 }));
        let longer = [bytes.as_slice(), &[0, 0]].concat();
        assert_eq!(decode(&longer), Err(RecordError::Trailing { count: 2 }));
    }
}
