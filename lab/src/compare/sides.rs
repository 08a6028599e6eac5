//! The clients' own network, in which a client is on the side of the node it lives beside.
//!
//! **Promise.** While the sides are separate, nothing passes between a client and a node of another side, as if every packet between
//! them were dropped; nobody is told. When they are joined everything goes on where it stood, as TCP does that sends again: nothing
//! is lost, and nothing changes its place.
//!
//! **Who takes part.** Nodes cut the links among themselves ([`stage`](super::stage)); they know nothing of clients. Each client gets
//! the [`Network`] of its home, and all of them follow one [`Sides`].
//!
//! **Rules**
//! - *Upon connecting to a node of another side*: hang until the sides are joined, then connect. A connection that was being made
//!   when they parted is handed over when they are joined.
//! - *Upon reading, writing, flushing or closing a stream to a node of another side*: wait; be woken when the sides change.
//! - *Upon what was written before*: it is on its way and arrives. Its answer is read when the sides are joined.
//!
//! **Invariants.** Looking whether the way is free and asking to be woken is one step under one lock, so no change is missed. Each
//! direction of a stream has one waker at most, which goes with it.
//!
//! **Deliberately missing.** One-way cuts, delays and clocks: they are faults between nodes. An address that is none of the nodes' is
//! with everybody, so clients must use the nodes' addresses as they stand in the topology.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use futures::future::BoxFuture;
use quorate_ring::NodeId;
use quorate_rpc::net::{Listener, Network, Stream, Tcp};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Who is separate from whom, shared by all clients. Clones are the same.
#[derive(Clone)]
pub struct Sides {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<dyn Network>,
    nodes: BTreeMap<String, NodeId>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of each node's side; a node that is not here is with everybody.
    side_of: BTreeMap<NodeId, usize>,
    /// Those who wait, by the number of their gate.
    waiting: BTreeMap<u64, Waker>,
    gates: u64,
}

impl Sides {
    /// All are together, on this machine's TCP. The addresses are those of the nodes, as clients will name them.
    pub fn new(addresses: impl IntoIterator<Item = (NodeId, String)>) -> Self {
        Self::over(Arc::new(Tcp), addresses)
    }

    /// The same on another network.
    pub fn over(inner: Arc<dyn Network>, addresses: impl IntoIterator<Item = (NodeId, String)>) -> Self {
        let nodes = addresses.into_iter().map(|(node, address)| (address, node)).collect();
        Self { shared: Arc::new(Shared { inner, nodes, state: Mutex::default() }) }
    }

    /// The network of the clients that live beside a node.
    #[must_use]
    pub fn network(&self, home: NodeId) -> Arc<dyn Network> {
        Arc::new(Beside { home, sides: self.clone() })
    }

    /// Parts the sides, which have no node in common. Whoever was parted before and is no more, is together again.
    pub fn separate(&self, sides: &[BTreeSet<NodeId>]) {
        let numbered = sides.iter().enumerate();
        self.change(numbered.flat_map(|(number, side)| side.iter().map(move |node| (*node, number))).collect());
    }

    /// Everybody is with everybody again.
    pub fn join(&self) {
        self.change(BTreeMap::new());
    }

    /// Whether nothing passes between two nodes' sides.
    #[must_use]
    pub fn parts(&self, a: NodeId, b: NodeId) -> bool {
        self.state().parts(a, b)
    }

    fn change(&self, side_of: BTreeMap<NodeId, usize>) {
        let mut state = self.state();
        state.side_of = side_of;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // All of them: whoever is still separate waits again.
        waiting.into_values().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment: there is no half of it that a panic could leave.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn parts(&self, a: NodeId, b: NodeId) -> bool {
        matches!((self.side_of.get(&a), self.side_of.get(&b)), (Some(a), Some(b)) if a != b)
    }
}

impl fmt::Debug for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sides").field("side_of", &self.state().side_of).finish_non_exhaustive()
    }
}

/// The network of the clients beside one node.
#[derive(Debug)]
struct Beside {
    home: NodeId,
    sides: Sides,
}

impl Network for Beside {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let shared = &self.sides.shared;
            let Some(node) = shared.nodes.get(address).copied() else { return shared.inner.connect(address).await };
            let gate = || Gate::new(&self.sides, self.home, node);
            let (reading, writing) = (gate(), gate());
            poll_fn(|cx| reading.poll_open(cx)).await;
            let inner = shared.inner.connect(address).await?;
            poll_fn(|cx| reading.poll_open(cx)).await;
            Ok(Box::new(Guarded { inner, reading, writing }) as Stream)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.sides.shared.inner.listen(address)
    }
}

/// The way between a client's home and a node, for one who waits there at a time.
struct Gate {
    sides: Sides,
    home: NodeId,
    node: NodeId,
    number: u64,
}

impl Gate {
    fn new(sides: &Sides, home: NodeId, node: NodeId) -> Self {
        let mut state = sides.state();
        state.gates += 1;
        Self { sides: sides.clone(), home, node, number: state.gates }
    }

    /// Ready while the way is free. Otherwise its last caller is woken when that may have changed.
    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.sides.state();
        if !state.parts(self.home, self.node) {
            return Poll::Ready(());
        }
        let earlier = state.waiting.insert(self.number, cx.waker().clone());
        // What the end of a waker sets off is not ours to know, and may come back here.
        drop(state);
        drop(earlier);
        Poll::Pending
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut state = self.sides.state();
        let waker = state.waiting.remove(&self.number);
        drop(state);
        drop(waker); // when the lock is free again
    }
}

/// A stream to a node, of a client that may be on another side.
struct Guarded {
    inner: Stream,
    reading: Gate,
    writing: Gate,
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.reading.poll_open(cx));
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.writing.poll_open(cx));
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.writing.poll_open(cx));
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.writing.poll_open(cx));
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.writing.poll_open(cx));
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const N1: NodeId = NodeId(1);
    const N2: NodeId = NodeId(2);
    const N3: NodeId = NodeId(3);

    /// A network in which every call is answered at once; the far ends of its connections, in order.
    #[derive(Debug, Default)]
    struct Ends(Mutex<Vec<DuplexStream>>);

    impl Network for Ends {
        fn connect<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
            let (near, far) = duplex(1024);
            self.0.lock().expect("no panic").push(far);
            Box::pin(async move { Ok(Box::new(near) as Stream) })
        }

        fn listen<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
            Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
        }
    }

    impl Ends {
        fn take(&self) -> DuplexStream {
            self.0.lock().expect("no panic").remove(0)
        }

        fn count(&self) -> usize {
            self.0.lock().expect("no panic").len()
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn apart() -> [BTreeSet<NodeId>; 2] {
        [BTreeSet::from([N1]), BTreeSet::from([N2])]
    }

    fn sides() -> (Sides, Arc<Ends>) {
        let ends = Arc::new(Ends::default());
        let addresses = [N1, N2, N3].map(|node| (node, node.to_string()));
        (Sides::over(Arc::clone(&ends) as Arc<dyn Network>, addresses), ends)
    }

    async fn connected(sides: &Sides, home: NodeId, address: &str, ends: &Ends) -> (Stream, DuplexStream) {
        (sides.network(home).connect(address).await.expect("connected"), ends.take())
    }

    #[test]
    fn only_nodes_on_different_sides_are_parted() {
        let (sides, _ends) = sides();
        sides.separate(&apart());
        assert!(sides.parts(N1, N2) && sides.parts(N2, N1));
        assert!(!sides.parts(N1, N1) && !sides.parts(N1, N3) && !sides.parts(N3, N2), "n3 is with everybody");
        sides.separate(&[BTreeSet::from([N1, N2]), BTreeSet::from([N3])]);
        assert!(!sides.parts(N1, N2) && sides.parts(N1, N3));
        sides.join();
        assert!(!sides.parts(N1, N3));
    }

    #[tokio::test]
    async fn connecting_across_hangs_until_the_sides_are_joined() {
        let (sides, ends) = sides();
        sides.separate(&apart());
        let network = sides.network(N1);
        let mut across = network.connect("n2");
        assert!((&mut across).now_or_never().is_none() && ends.count() == 0, "nothing was even tried");
        assert!(network.connect("n1").now_or_never().is_some() && network.connect("n3").now_or_never().is_some());
        assert!(network.connect("elsewhere").now_or_never().is_some(), "no node lives there");
        let another = sides.network(N1);
        let task = tokio::spawn(async move { another.connect("n2").await.map(drop) });
        tokio::task::yield_now().await;
        sides.join();
        task.await.expect("no panic").expect("connected");
        across.await.expect("connected");
    }

    #[tokio::test]
    async fn bytes_wait_in_both_directions_and_arrive_in_order() {
        let (sides, ends) = sides();
        let (mut near, mut far) = connected(&sides, N1, "n2", &ends).await;
        near.write_all(b"before ").await.expect("written");
        far.write_all(b"answer").await.expect("written");
        sides.separate(&apart());
        assert!(near.write(b"meanwhile").now_or_never().is_none() && near.flush().now_or_never().is_none());
        assert!(near.shutdown().now_or_never().is_none());
        let mut buffer = [0; 64];
        assert!(near.read(&mut buffer).now_or_never().is_none(), "the answer is there and does not pass");
        let count = far.read(&mut buffer).await.expect("read");
        assert_eq!(&buffer[..count], b"before ", "what was on its way arrives");

        let (mut reading, mut writing) = tokio::io::split(near);
        let (reader, writer) = (
            tokio::spawn(async move {
                let mut answer = [0; 6];
                reading.read_exact(&mut answer).await.expect("read");
                answer
            }),
            tokio::spawn(async move { writing.write_all(b"after").await.expect("written") }),
        );
        tokio::task::yield_now().await;
        assert!(!reader.is_finished() && !writer.is_finished());
        sides.join();
        assert_eq!(&reader.await.expect("no panic"), b"answer");
        writer.await.expect("no panic");
        let count = far.read(&mut buffer).await.expect("read");
        assert_eq!(&buffer[..count], b"after");
    }

    /// A reader that waits at its socket must not read what arrives later, and must not miss the end of the cut either.
    #[tokio::test]
    async fn who_waited_for_bytes_before_the_cut_gets_them_after_it() {
        let (sides, ends) = sides();
        let (mut near, mut far) = connected(&sides, N1, "n2", &ends).await;
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut poll = |buffer: &mut ReadBuf<'_>| Pin::new(&mut near).poll_read(&mut Context::from_waker(&waker), buffer);
        assert!(poll(&mut buffer).is_pending());
        sides.separate(&apart());
        far.write_all(b"late").await.expect("written");
        assert_eq!(woken.count(), 1, "the socket woke it");
        assert!(poll(&mut buffer).is_pending() && buffer.filled().is_empty());
        sides.join();
        assert_eq!(woken.count(), 2, "the end of the cut woke it");
        assert!(poll(&mut buffer).is_ready());
        assert_eq!(buffer.filled(), b"late");
    }

    #[tokio::test]
    async fn reader_and_writer_are_both_woken_once_and_leave_nothing_behind() {
        let (sides, ends) = sides();
        let (mut near, _far) = connected(&sides, N1, "n2", &ends).await;
        sides.separate(&apart());
        let (reader, writer) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let (read_waker, write_waker) = (Waker::from(Arc::clone(&reader)), Waker::from(Arc::clone(&writer)));
        let mut bytes = [0; 8];
        for _ in 0..3 {
            let mut buffer = ReadBuf::new(&mut bytes);
            assert!(Pin::new(&mut near).poll_read(&mut Context::from_waker(&read_waker), &mut buffer).is_pending());
            assert!(Pin::new(&mut near).poll_write(&mut Context::from_waker(&write_waker), b"x").is_pending());
        }
        assert_eq!(sides.state().waiting.len(), 2, "one waker for each direction, however often it was polled");
        sides.separate(&apart());
        assert_eq!((reader.count(), writer.count(), sides.state().waiting.len()), (1, 1, 0));
        let mut buffer = ReadBuf::new(&mut bytes);
        assert!(Pin::new(&mut near).poll_read(&mut Context::from_waker(&read_waker), &mut buffer).is_pending(), "still apart");
        drop(near);
        assert!(sides.state().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_connection_made_while_the_sides_part_is_handed_over_when_they_are_joined() {
        let ends = Arc::new(Parting::default());
        let sides = Sides::over(Arc::clone(&ends) as Arc<dyn Network>, [(N2, "n2".to_owned())]);
        *ends.sides.lock().expect("no panic") = Some(sides.clone());
        let network = sides.network(N1);
        let mut connecting = network.connect("n2");
        assert!((&mut connecting).now_or_never().is_none());
        assert_eq!(ends.inner.count(), 1, "it was made");
        sides.join();
        connecting.await.expect("connected");
    }

    /// A network that parts the sides as soon as it is called.
    #[derive(Debug, Default)]
    struct Parting {
        inner: Ends,
        sides: Mutex<Option<Sides>>,
    }

    impl Network for Parting {
        fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
            if let Some(sides) = &*self.sides.lock().expect("no panic") {
                sides.separate(&apart());
            }
            self.inner.connect(address)
        }

        fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
            self.inner.listen(address)
        }
    }
}
