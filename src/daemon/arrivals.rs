//! Whom the hub hears coming: those who ring, and those who wait to be let in when it wants to leave.

use tokio::net::UnixListener;

use crate::sys::bell::BellReceiver;
use crate::sys::knock;

/// Where the service hears that somebody has come.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals<'s> {
    /// Those who have committed something.
    pub bell: &'s BellReceiver,
    /// The sockets through which they come, and subscribers.
    pub sockets: [&'s UnixListener; 2],
}

impl Arrivals<'_> {
    /// Whether somebody waits to be let in. The kernel is asked, because the loop may not have looked yet: a hub that
    /// took longer to start than it may be idle, for one.
    pub(super) fn at_the_door(self) -> bool {
        self.sockets.iter().any(knock::is_waiting)
    }
}
