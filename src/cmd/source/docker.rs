//! `waitbus source docker`: the arguments of its own.

use clap::Args;

use crate::cmd::exit::Failure;
use crate::config::engines;
use crate::model::limits::MAX_ENGINES;
use crate::source::docker::Setup;

/// Run the source `docker`: the containers of Docker and Podman engines
///
/// Without --host, and without `hosts` in `[source.docker]` of waitbus.toml, these are the engine that `docker` talks to
/// (`DOCKER_HOST`, the context in use, /var/run/docker.sock, a rootless one) and Podman's sockets.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Watch the engine at this socket only, such as /var/run/docker.sock (repeatable)
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
}

impl Arguments {
    /// What it is told, if anything.
    pub(super) fn setup(&self) -> Result<Option<Setup>, Failure> {
        let hosts = self.hosts.iter().map(|host| engines::socket(host)).collect::<Result<Vec<_>, _>>();
        let hosts = hosts.map_err(|bad| Failure::usage(format!("--host {bad}")))?;
        if hosts.len() > MAX_ENGINES {
            return Err(Failure::usage(format!("--host: at most {MAX_ENGINES} engines are watched")));
        }
        Ok((!hosts.is_empty()).then_some(Setup { hosts }))
    }
}
