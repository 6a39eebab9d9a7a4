//! The socket of a subscriber: the kernel wakes the hub for what comes from it, and not for room in it.
//!
//! A socket has room again each time its subscriber has read a frame. A hub that watches for that is woken once more for
//! every delivery, while its neighbours wait for theirs. So room is watched only where there was none, on a descriptor of
//! its own, for as long as it takes.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

/// A subscriber's end of the wire.
#[derive(Debug)]
pub struct Peer(AsyncFd<net::UnixStream>);

impl Peer {
    /// Takes a connection that has said what it wants. Must be called within a runtime.
    pub fn new(stream: UnixStream) -> io::Result<Peer> {
        // SAFETY: a stream owns its descriptor, which stays open and the same until the stream is dropped, and the
        // `AsyncFd` drops it.
        let watched = unsafe { AsyncFd::register_with_interest(stream.into_std()?, Interest::READABLE) };
        Ok(Peer(watched?))
    }

    /// Writes as much as the socket takes; `WouldBlock` if that is nothing.
    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_ref().write_vectored(slices)
    }

    /// Returns when a socket that was full may have room. It cannot be watched where descriptors have run out.
    pub async fn room(&self) -> io::Result<()> {
        self.watch()?.writable().await
    }

    /// Waits for something to read; 0 means that nothing will come any more.
    pub async fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.async_io(Interest::READABLE, |mut stream| stream.read(bytes)).await
    }

    /// Returns when a client that sends nothing any more has gone for good. The end of a half-closed connection shows as
    /// an event on a socket that is otherwise ready all the time, whose readiness has to be put aside.
    pub async fn gone_for_good(&self) {
        let Ok(watch) = self.watch() else { return };
        loop {
            match watch.ready(Interest::WRITABLE).await {
                Ok(ready) if !ready.is_write_closed() => {
                    let _ = watch.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                }
                _ => return,
            }
        }
    }

    /// The same socket under a descriptor of its own, about which the kernel tells everything.
    fn watch(&self) -> io::Result<UnixStream> {
        UnixStream::from_std(self.0.get_ref().as_fd().try_clone_to_owned()?.into())
    }
}
