//! The network as nodes and clients use it: streams of bytes between addresses.
//!
//! **Promise.** Whoever speaks this crate's protocol reaches others through a [`Network`] only, so the same drivers run over TCP and over
//! a simulated network.
//!
//! Streams are boxed. Against a message's encoding, and the system call that sends it, an indirect call is nothing.
//!
//! **Deliberately missing.** Datagrams, half-closed streams, a choice of socket options: nobody above asks for them. Metrics over HTTP are not
//! part of the protocol and have a socket of their own.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::transport::prepare;

/// Bytes in order, both ways; what one side writes the other reads, unless the connection breaks.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// One side of a connection.
pub type Stream = Box<dyn Duplex>;

/// Where addresses lead.
pub trait Network: fmt::Debug + Send + Sync {
    /// Connects to an address, `host:port`. How long that may take is the caller's to limit.
    ///
    /// # Errors
    /// When nobody accepts connections there.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>>;

    /// Begins to accept connections at an address.
    ///
    /// # Errors
    /// When the address is not this machine's, or in use.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

/// An address at which connections are accepted, until it is dropped.
pub trait Listener: Send + Sync {
    /// Waits for the next connection, and says where it comes from.
    ///
    /// # Errors
    /// When this machine can take none for the moment.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>>;

    /// Where it really listens, when the address left the port to the system.
    ///
    /// # Errors
    /// When the system does not say.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// This machine's TCP. Small messages leave at once, and a far side that vanished without a word breaks its connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Network for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move { Ok(Box::new(dial(address).await?) as Stream) })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { Ok(Box::new(TcpListener::bind(address).await?) as Box<dyn Listener>) })
    }
}

impl Listener for TcpListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, caller) = take_call(self).await?;
            Ok((Box::new(stream) as Stream, caller))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

async fn dial(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    prepare(&stream)?;
    Ok(stream)
}

async fn take_call(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, caller) = listener.accept().await?;
    // One that is closed already is no trouble of this listener: its first read says so.
    let _ = prepare(&stream);
    Ok((stream, caller))
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;
    use crate::transport::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES};

    /// A far side that lost its power says nothing when it goes, and must not keep its place.
    #[tokio::test]
    async fn both_sides_of_a_connection_ask_whether_the_other_is_still_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (dialled, taken) = tokio::join!(dial(&address), take_call(&listener));
        for stream in [dialled.expect("it listens"), taken.expect("it was called").0] {
            assert!(stream.nodelay().expect("open"));
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().expect("open"));
            assert_eq!(socket.tcp_keepalive_time().expect("open"), KEEPALIVE_IDLE);
            assert_eq!(socket.tcp_keepalive_interval().expect("open"), KEEPALIVE_INTERVAL);
            assert_eq!(socket.tcp_keepalive_retries().expect("open"), KEEPALIVE_PROBES);
        }
    }
}
