//! Sessions: one line of events that never loses sight of what it has seen.
//!
//! **Promise.** Within a session, at any level: a read sees the session's own acknowledged writes of that key, or what replaced
//! them (read-your-writes), and nothing older than what the session has read of it before (monotonic reads). A read that cannot
//! keep the promise fails and says so.
//!
//! **Rules.**
//! - *Upon a read*: send what the session has seen of the key; keep what the answer has seen.
//! - *Upon a write*: send what the session has seen; keep what comes back, which is that and the write.
//! - *Upon a second operation on the same key*: it waits for the first, within its own deadline. What the session has seen is
//!   sealed, so the client could not unite two answers that crossed.
//! - *Upon a new key beyond [`SESSION_KEYS_MAX`]*: refuse, before anything is sent. Forgetting another key silently would break
//!   the promise.
//!
//! A session can be written down and handed on: a first line with the version, then one line per key, in order.
//!
//! ```text
//! quorate-session 1
//! default Y2FydDo3 AX8..
//! bucket  key       context (both base64url)
//! ```
//!
//! Sources: Terry et al., *Session Guarantees for Weakly Consistent Replicated Data* (1994).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_protocol::SealedContext;
use quorate_protocol::limits::KEY_BYTES_MAX;

use crate::context::{from_text, to_text};

/// Most keys that a session remembers: some ten megabytes at usual sizes.
pub const SESSION_KEYS_MAX: usize = 65_536;

const TITLE: &str = "quorate-session";
const VERSION: &str = "1";

/// What has been seen of each key. Clones are the same session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// By bucket name, then key.
    keys: BTreeMap<Arc<str>, BTreeMap<Bytes, Entry>>,
    count: usize,
}

#[derive(Debug, Default)]
struct Entry {
    /// Absent until the first operation on the key has ended well.
    seen: Option<SealedContext>,
    /// Whose turn it is.
    queue: Arc<tokio::sync::Mutex<()>>,
}

/// The session remembers [`SESSION_KEYS_MAX`] other keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Session {
    /// A session that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of keys of which something has been seen.
    pub fn len(&self) -> usize {
        self.memory.lock().keys.values().flat_map(BTreeMap::values).filter(|entry| entry.seen.is_some()).count()
    }

    /// True when nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until no other operation of the session is at work on the key.
    pub(crate) async fn turn(&self, bucket: &Arc<str>, key: &Bytes) -> Result<Turn, Full> {
        let queue = self.memory.lock().queue(bucket, key, SESSION_KEYS_MAX)?;
        let mut turn = Turn { session: self.clone(), bucket: Arc::clone(bucket), key: key.clone(), guard: None };
        turn.guard = Some(queue.lock_owned().await);
        Ok(turn)
    }
}

impl Memory {
    fn queue(&mut self, bucket: &Arc<str>, key: &Bytes, keys_max: usize) -> Result<Arc<tokio::sync::Mutex<()>>, Full> {
        let entry = self.keys.get(bucket).and_then(|keys| keys.get(key));
        if let Some(entry) = entry {
            return Ok(Arc::clone(&entry.queue));
        }
        if self.count >= keys_max {
            return Err(Full);
        }
        self.count += 1;
        let entry = self.keys.entry(Arc::clone(bucket)).or_default().entry(key.clone()).or_default();
        Ok(Arc::clone(&entry.queue))
    }

    fn entry(&mut self, bucket: &str, key: &[u8]) -> Option<&mut Entry> {
        self.keys.get_mut(bucket)?.get_mut(key)
    }

    fn remove(&mut self, bucket: &str, key: &[u8]) {
        if self.keys.get_mut(bucket).and_then(|keys| keys.remove(key)).is_some() {
            self.count -= 1;
        }
    }
}

/// The right to run an operation on one key of a session. Dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Turn {
    session: Session,
    bucket: Arc<str>,
    key: Bytes,
    guard: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Turn {
    pub(crate) fn seen(&self) -> Option<SealedContext> {
        self.session.memory.lock().entry(&self.bucket, &self.key).and_then(|entry| entry.seen.clone())
    }

    pub(crate) fn remember(&self, seen: SealedContext) {
        let mut memory = self.session.memory.lock();
        let entry = memory.entry(&self.bucket, &self.key).expect("a key stays while it is somebody's turn");
        entry.seen = Some(seen);
    }
}

impl Drop for Turn {
    /// A key of which nothing was seen takes no room, once nobody else waits for it.
    fn drop(&mut self) {
        self.guard = None;
        let mut memory = self.session.memory.lock();
        let unused =
            memory.entry(&self.bucket, &self.key).is_some_and(|entry| entry.seen.is_none() && Arc::strong_count(&entry.queue) == 1);
        if unused {
            memory.remove(&self.bucket, &self.key);
        }
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE} {VERSION}")?;
        for (bucket, keys) in &self.memory.lock().keys {
            for (key, entry) in keys {
                if let Some(seen) = &entry.seen {
                    writeln!(f, "{bucket} {} {}", to_text(key), to_text(seen.as_bytes()))?;
                }
            }
        }
        Ok(())
    }
}

/// The text is not a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionTextError {
    /// The first line is not that of a session.
    #[error("this is no session; its first line would be {TITLE:?} and a version")]
    NotASession,
    /// A later version wrote it.
    #[error("the session is of version {found:?}, this client reads version {VERSION}")]
    OtherVersion {
        /// The version it names.
        found: String,
    },
    /// A line does not name a bucket, a key and a context.
    #[error("line {line} of the session is damaged: {problem}")]
    Damaged {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: LineProblem,
    },
    /// It has more keys than a session may have.
    #[error("the session has more than {SESSION_KEYS_MAX} keys")]
    TooManyKeys,
}

/// What is wrong with a line of a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// It has not three parts.
    #[error("a line is a bucket, a key and a context")]
    Parts,
    /// The key does not decode, is empty or too long.
    #[error("its key is none")]
    Key,
    /// The context does not decode.
    #[error("its context is none")]
    Context,
    /// The key was there before.
    #[error("its key is there twice")]
    Twice,
}

impl FromStr for Session {
    type Err = SessionTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lines = text.lines();
        match lines.next().and_then(|first| first.split_once(' ')) {
            Some((TITLE, VERSION)) => {}
            Some((TITLE, found)) => return Err(SessionTextError::OtherVersion { found: found.to_owned() }),
            _ => return Err(SessionTextError::NotASession),
        }
        let mut memory = Memory::default();
        for (index, line) in lines.enumerate() {
            let damaged = |problem| SessionTextError::Damaged { line: index + 2, problem };
            let (bucket, key, seen) = parse_line(line).map_err(damaged)?;
            if memory.entry(bucket, &key).is_some() {
                return Err(damaged(LineProblem::Twice));
            }
            memory.queue(&Arc::from(bucket), &key, SESSION_KEYS_MAX).map_err(|Full| SessionTextError::TooManyKeys)?;
            memory.entry(bucket, &key).expect("just made").seen = Some(seen);
        }
        Ok(Self { memory: Arc::new(Mutex::new(memory)) })
    }
}

fn parse_line(line: &str) -> Result<(&str, Bytes, SealedContext), LineProblem> {
    let mut parts = line.split(' ');
    let (Some(bucket), Some(key), Some(seen), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(LineProblem::Parts);
    };
    if bucket.is_empty() {
        return Err(LineProblem::Parts);
    }
    let key = from_text(key).ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len())).ok_or(LineProblem::Key)?;
    let seen = from_text(seen).ok().filter(|seen| !seen.is_empty()).ok_or(LineProblem::Context)?;
    Ok((bucket, key, SealedContext::from_bytes(seen)))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn sealed(text: &'static str) -> SealedContext {
        SealedContext::from_bytes(Bytes::from_static(text.as_bytes()))
    }

    async fn remember(session: &Session, bucket: &str, key: &'static str, seen: &'static str) {
        let turn = session.turn(&Arc::from(bucket), &Bytes::from_static(key.as_bytes())).await.expect("room");
        turn.remember(sealed(seen));
    }

    async fn session() -> Session {
        let session = Session::new();
        remember(&session, "default", "cart:7", "seen so far").await;
        remember(&session, "carts", "7", "x").await;
        remember(&session, "default", "a b\n", "y").await;
        session
    }

    #[tokio::test]
    async fn text_gives_the_same_session_back() {
        let text = session().await.to_string();
        assert_eq!(text, "quorate-session 1\ncarts Nw eA\ndefault YSBiCg eQ\ndefault Y2FydDo3 c2VlbiBzbyBmYXI\n");
        let again: Session = text.parse().expect("a session");
        assert_eq!((again.to_string(), again.len()), (text, 3));
        let turn = again.turn(&Arc::from("carts"), &Bytes::from_static(b"7")).await.expect("room");
        assert_eq!(turn.seen(), Some(sealed("x")));
    }

    #[test]
    fn damaged_text_is_refused_with_its_line() {
        let refused = |text: &str| text.parse::<Session>().expect_err("refused");
        assert_eq!(refused(""), SessionTextError::NotASession);
        assert_eq!(refused("c1.AAAA"), SessionTextError::NotASession);
        assert_eq!(refused("quorate-session 2\n"), SessionTextError::OtherVersion { found: "2".to_owned() });
        for (line, problem) in [
            ("default Nw", LineProblem::Parts),
            ("default Nw eA eA", LineProblem::Parts),
            (" Nw eA", LineProblem::Parts),
            ("", LineProblem::Parts),
            ("default N eA", LineProblem::Key),
            ("default  eA", LineProblem::Key),
            ("default Nw =", LineProblem::Context),
            ("default Nw ", LineProblem::Context),
            ("carts Nw eA", LineProblem::Twice),
        ] {
            let text = format!("quorate-session 1\ncarts Nw eA\n{line}\ndefault Nw eA\n");
            assert_eq!(refused(&text), SessionTextError::Damaged { line: 3, problem }, "{line:?}");
        }
    }

    #[tokio::test]
    async fn operations_on_one_key_take_turns_and_on_others_do_not() {
        let session = session().await;
        let first = session.turn(&Arc::from("carts"), &Bytes::from_static(b"7")).await.expect("room");
        let (carts, seven, eight) = (Arc::from("carts"), Bytes::from_static(b"7"), Bytes::from_static(b"8"));
        assert!(session.turn(&carts, &eight).now_or_never().is_some());
        let mut second = Box::pin(session.turn(&carts, &seven));
        assert!(second.as_mut().now_or_never().is_none());
        first.remember(sealed("z"));
        drop(first);
        assert_eq!(second.await.expect("room").seen(), Some(sealed("z")));
    }

    #[tokio::test]
    async fn a_key_of_which_nothing_was_seen_takes_no_room() {
        let session = Session::new();
        let (bucket, key) = (Arc::from("default"), Bytes::from_static(b"k"));
        let first = session.turn(&bucket, &key).await.expect("room");
        assert!(session.turn(&bucket, &key).now_or_never().is_none(), "cancelled while it waits");
        assert_eq!(session.memory.lock().count, 1);
        drop(first);
        assert_eq!(session.memory.lock().count, 0);
    }

    #[test]
    fn a_full_session_refuses_new_keys_and_keeps_the_old() {
        let mut memory = Memory::default();
        let bucket = Arc::from("default");
        for key in [&b"a"[..], b"b"] {
            memory.queue(&bucket, &Bytes::from_static(key), 2).expect("room");
        }
        assert_eq!(memory.queue(&bucket, &Bytes::from_static(b"c"), 2).map(drop), Err(Full));
        assert!(memory.queue(&bucket, &Bytes::from_static(b"a"), 2).is_ok());
        memory.remove("default", b"b");
        assert!(memory.queue(&bucket, &Bytes::from_static(b"c"), 2).is_ok());
    }
}
