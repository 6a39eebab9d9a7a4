//! The bell that wakes the hub. Any number of rings before the hub looks are one: an eventfd on Linux, a pipe
//! elsewhere, both of which any thread can ring without waiting.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::unix::pipe;

/// The end that is rung. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bell(Arc<OwnedFd>);

/// The end that is heard.
#[derive(Debug)]
pub struct BellReceiver(pipe::Receiver);

impl Bell {
    /// Rings. Never blocks and never fails: a bell that cannot take another ring has been rung.
    pub fn ring(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl BellReceiver {
    /// Waits for a ring, and takes all that have come together.
    pub async fn rung(&self) -> io::Result<()> {
        let mut rings = [0; 512];
        loop {
            self.0.readable().await?;
            match self.0.try_read(&mut rings) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A new bell. Must be called within a runtime, which then listens.
pub fn bell() -> io::Result<(Bell, BellReceiver)> {
    let (ring, hear) = descriptors()?;
    Ok((Bell(Arc::new(ring)), BellReceiver(pipe::Receiver::from_owned_fd_unchecked(hear)?)))
}

#[cfg(target_os = "linux")]
fn descriptors() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::event::{EventfdFlags, eventfd};
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    Ok((bell.try_clone()?, bell))
}

#[cfg(not(target_os = "linux"))]
fn descriptors() -> io::Result<(OwnedFd, OwnedFd)> {
    let (hear, ring) = rustix::pipe::pipe()?;
    for end in [&hear, &ring] {
        rustix::io::ioctl_fionbio(end, true)?;
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok((ring, hear))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_rings_before_it_is_heard_are_one() {
        let (bell, heard) = bell().unwrap();
        for _ in 0..10_000 {
            bell.ring();
        }
        heard.rung().await.unwrap();
        let again = tokio::time::timeout(std::time::Duration::from_millis(1), heard.rung()).await;
        assert!(again.is_err(), "nothing is left to hear");
        bell.clone().ring();
        heard.rung().await.unwrap();
    }
}
