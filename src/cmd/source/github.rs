//! `waitbus source github`: polls GitHub for the repositories that are named.

use clap::Args;

use super::super::exit::Failure;
use crate::source::Setup;

/// Ask GitHub for the workflow runs of these repositories while somebody waits for them, instead of being told by a webhook
///
/// Without arguments it is the repositories that [source.github] in waitbus.toml names, else those that the checkout in
/// this directory comes from.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The repositories, instead of the configured ones
    #[arg(value_name = "OWNER/REPO")]
    repositories: Vec<String>,
}

impl Arguments {
    /// What it is told: what is configured, and these repositories instead of those.
    pub(super) fn setup(self, configured: Setup) -> Result<Setup, Failure> {
        match configured {
            Setup::Github(setup) if !self.repositories.is_empty() => {
                setup.for_repositories(&self.repositories).map(Setup::Github).map_err(Failure::usage)
            }
            configured => Ok(configured),
        }
    }
}
