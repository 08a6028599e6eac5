//! Messages that become ready at about the same time leave in one write.
//!
//! A write to a socket, and the read on its far side, cost more than what is in a message of ours. So where messages have lately been
//! leaving together, a flush first lets whatever else is ready have its turn, once: those who are about to send on this connection then go
//! along. Where they have been leaving one by one nobody waits, so a client that is alone on its connection has what it always had.
//!
//! **Rules.**
//! - *Upon a flush of two or more messages*: there is company. The next [`PATIENCE`] flushes that get none wait a turn each for it.
//! - *Upon a flush while there may be company*: ask to be polled again, and flush then. That is behind whoever is ready now, unless there
//!   is something to receive meanwhile, which the same task goes on with at once.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, Stream};

/// Flushes that wait for company in vain before flushes wait no more.
const PATIENCE: u32 = 8;

/// A connection whose messages leave together when they come together.
#[derive(Debug)]
pub struct SharedFlush<T> {
    inner: T,
    /// Messages since the last flush.
    unflushed: u32,
    /// Flushes that may still wait in vain.
    patience: u32,
    /// The flush that is under way has waited.
    has_waited: bool,
}

impl<T> SharedFlush<T> {
    /// Wraps a connection that flushes whenever it is told to.
    pub fn new(inner: T) -> Self {
        Self { inner, unflushed: 0, patience: 0, has_waited: false }
    }

    fn flushed(&mut self) {
        match self.unflushed {
            0 => {}
            1 if self.has_waited => self.patience = self.patience.saturating_sub(1),
            1 => {}
            _ => self.patience = PATIENCE,
        }
        (self.unflushed, self.has_waited) = (0, false);
    }
}

impl<T: Stream + Unpin> Stream for SharedFlush<T> {
    type Item = T::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.inner).poll_next(cx)
    }
}

impl<T: Sink<Out> + Unpin, Out> Sink<Out> for SharedFlush<T> {
    type Error = T::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Out) -> Result<(), Self::Error> {
        self.unflushed = self.unflushed.saturating_add(1);
        Pin::new(&mut self.inner).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.unflushed > 0 && self.patience > 0 && !self.has_waited {
            self.has_waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        std::task::ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts what each flush carries.
    #[derive(Default)]
    struct Socket {
        buffered: u32,
        flushes: Vec<u32>,
    }

    impl Sink<u8> for Socket {
        type Error = Infallible;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(mut self: Pin<&mut Self>, _: u8) -> Result<(), Infallible> {
            self.buffered += 1;
            Ok(())
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            let carried = std::mem::take(&mut self.buffered);
            if carried > 0 {
                self.flushes.push(carried);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.poll_flush(cx)
        }
    }

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends so many messages and flushes; says whether the flush waited, and checks that it then asks to be polled again.
    fn send(shared: &mut SharedFlush<Socket>, count: u32) -> bool {
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..count {
            Pin::new(&mut *shared).start_send(0).expect("infallible");
        }
        let waited = Pin::new(&mut *shared).poll_flush(&mut cx).is_pending();
        assert_eq!(woken.0.load(Ordering::Relaxed), u32::from(waited), "who waits is polled again");
        if waited {
            assert!(Pin::new(&mut *shared).poll_flush(&mut cx).is_ready(), "nobody waits twice");
        }
        waited
    }

    #[test]
    fn who_is_alone_never_waits() {
        let mut shared = SharedFlush::new(Socket::default());
        assert!((0..100).all(|_| !send(&mut shared, 1)));
        assert_eq!(shared.inner.flushes, [1; 100]);
    }

    #[test]
    fn who_had_company_waits_for_it_until_it_has_stayed_away_for_long() {
        let mut shared = SharedFlush::new(Socket::default());
        assert!(!send(&mut shared, 2), "there was none before");
        assert!((0..PATIENCE).all(|_| send(&mut shared, 1)));
        assert!(!send(&mut shared, 1));
        assert!(!send(&mut shared, 3) && send(&mut shared, 1));
    }

    #[test]
    fn who_becomes_ready_while_a_flush_waits_goes_along() {
        let mut shared = SharedFlush::new(Socket::default());
        send(&mut shared, 2);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        Pin::new(&mut shared).start_send(0).expect("infallible");
        assert!(Pin::new(&mut shared).poll_flush(&mut cx).is_pending());
        Pin::new(&mut shared).start_send(0).expect("infallible");
        assert!(Pin::new(&mut shared).poll_flush(&mut cx).is_ready());
        assert_eq!(shared.inner.flushes, [2, 2]);
    }

    #[test]
    fn a_flush_of_nothing_does_not_wait() {
        let mut shared = SharedFlush::new(Socket::default());
        send(&mut shared, 2);
        assert!(!send(&mut shared, 0));
    }
}
