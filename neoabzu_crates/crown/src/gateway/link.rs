//! A connection to a servant that knows whether it was used before, and whether anything came over it since.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is known of a connection. Copies are of the same one.
#[derive(Clone, Debug, Default)]
pub struct Marks(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    used: AtomicBool,
    heard: AtomicBool,
}

impl Marks {
    /// Notes that an answer has come: what is asked next is asked on a kept connection.
    pub fn answered(&self) {
        self.0.used.store(true, Ordering::Relaxed);
    }

    /// Whether the other side has said nothing to the last request on a kept connection. If the connection has
    /// broken, it has most likely closed it before the request came.
    pub fn unheard(&self) -> bool {
        self.0.used.load(Ordering::Relaxed) && !self.0.heard.load(Ordering::Relaxed)
    }
}

/// The connection itself.
#[derive(Debug)]
pub struct Link<T> {
    inner: T,
    marks: Marks,
}

impl<T> Link<T> {
    pub fn new(inner: T) -> Link<T> {
        Link { inner, marks: Marks::default() }
    }
}

impl<T: Connection> Connection for Link<T> {
    fn connected(&self) -> Connected {
        self.inner.connected().extra(self.marks.clone())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Link<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.marks.0.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Link<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.marks.0.heard.store(false, Ordering::Relaxed);
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.marks.0.heard.store(false, Ordering::Relaxed);
        Pin::new(&mut self.inner).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
