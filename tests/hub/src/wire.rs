//! A connection that can be cut: counts down the bytes of an answer and then stops, with or without a
//! silence.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How the current answer of a connection ends early; nothing there for one that is sent whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scissors {
    plan: Arc<Mutex<Option<Plan>>>,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    bytes_left: u64,
    silence: Duration,
}

impl Scissors {
    /// Lets so many bytes through from now on, waits, and closes the connection.
    pub(crate) fn cut_after(&self, bytes: u64, silence: Duration) {
        *self.lock() = Some(Plan {
            bytes_left: bytes,
            silence,
        });
    }

    /// For the next request on the same connection.
    pub(crate) fn open(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Plan>> {
        self.plan
            .lock()
            .expect("no code panics while it holds the plan")
    }

    /// How many of these bytes may go out: all where nothing is planned.
    fn allowed(&self, bytes: usize) -> Result<usize, Duration> {
        let plan = *self.lock();
        match plan {
            None => Ok(bytes),
            Some(Plan {
                bytes_left: 0,
                silence,
            }) => Err(silence),
            Some(Plan { bytes_left, .. }) => {
                Ok(bytes.min(usize::try_from(bytes_left).unwrap_or(usize::MAX)))
            }
        }
    }

    fn sent(&self, bytes: usize) {
        if let Some(plan) = self.lock().as_mut() {
            plan.bytes_left = plan
                .bytes_left
                .saturating_sub(bytes.try_into().unwrap_or(u64::MAX));
        }
    }
}

/// A connection under a pair of scissors.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    scissors: Scissors,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, scissors: Scissors) -> Self {
        Self {
            stream,
            scissors,
            silence: None,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.scissors.allowed(bytes.len()) {
            Ok(allowed) => {
                let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..allowed]))?;
                self.scissors.sent(sent);
                Poll::Ready(Ok(sent))
            }
            Err(silence) => {
                let sleep = self
                    .silence
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
                ready!(sleep.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "cut by a planted fault",
                )))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
