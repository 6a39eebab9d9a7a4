//! The containers of Docker and Podman engines, by their own event streams.
//!
//! Each socket is watched by itself, and all of them at once: [`watch`] follows one for as long as the source runs,
//! through the end of its engine and of this process. [`engine`] asks it, [`bus`] is what all of them share.

mod bus;
mod engine;
mod watch;

use std::convert::Infallible;
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;

use self::bus::Bus;
use super::{Broken, Outlet};
use crate::config::engines;
use crate::config::section::Section;
use crate::config::settings::BadSettings;
use crate::model::limits::MAX_ENGINES;

/// What it was told.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The sockets of the engines; where none is named, those that are usual on this machine.
    pub hosts: Vec<PathBuf>,
}

impl Setup {
    /// What the configuration says.
    pub fn of(section: &Section) -> Result<Setup, BadSettings> {
        section.only(&["hosts"])?;
        let hosts = section.texts("hosts")?.into_iter().map(engines::socket).collect::<Result<Vec<_>, _>>();
        let hosts = hosts.map_err(|bad| section.bad("hosts", bad))?;
        if hosts.len() > MAX_ENGINES {
            return Err(section.bad("hosts", format!("at most {MAX_ENGINES} engines are watched")));
        }
        Ok(Setup { hosts })
    }
}

/// Works until it is cancelled or cannot go on.
pub async fn run(setup: Setup, outlet: Outlet) -> Broken {
    let named = !setup.hosts.is_empty();
    let usual = if named { Ok(setup.hosts) } else { engines::usual() };
    let mut hosts = match usual {
        Ok(hosts) => hosts,
        Err(bad) => return Broken(bad.to_string()),
    };
    distinct(&mut hosts);
    let bus = Bus::new(outlet, &hosts, named);
    let mut watches: Vec<_> = hosts.iter().map(|host| Box::pin(watch::watch(host, &bus))).collect();
    let mut all = pin!(poll_fn(|context| {
        for watch in &mut watches {
            if let Poll::Ready(never) = watch.as_mut().poll(context) {
                return Poll::Ready(never);
            }
        }
        Poll::<Infallible>::Pending
    }));
    match all.as_mut().await {}
}

/// Leaves out what is another's link: `podman-docker` puts one where Docker's socket would be.
fn distinct(hosts: &mut Vec<PathBuf>) {
    let mut real = Vec::new();
    hosts.retain(|host| {
        let path = host.canonicalize().unwrap_or_else(|_| host.clone());
        let is_new = !real.contains(&path);
        real.push(path);
        is_new
    });
}
