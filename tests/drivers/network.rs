//! turmoil's network as nodes and clients use one.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use quorate_rpc::net::{Listener, Network, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// Longest segment, in bytes. turmoil bounds the segments under way on a connection, not their bytes.
const SEGMENT_BYTES_MAX: usize = 64 << 10;

/// The network of the simulation that the calling task belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Simulated;

impl Network for Simulated {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move { Ok(Box::new(Segmented(TcpStream::connect(address).await?)) as Stream) })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { Ok(Box::new(Accepting(TcpListener::bind(address).await?)) as Box<dyn Listener>) })
    }
}

struct Accepting(TcpListener);

impl Listener for Accepting {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Stream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, caller) = self.0.accept().await?;
            Ok((Box::new(Segmented(stream)) as Stream, caller))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection that sends no segment longer than [`SEGMENT_BYTES_MAX`].
struct Segmented(TcpStream);

impl AsyncRead for Segmented {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Segmented {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &bytes[..bytes.len().min(SEGMENT_BYTES_MAX)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
