//! `waitbus source fs`: what to watch, from the command line.

use std::path::{PathBuf, absolute};

use clap::Args;

use super::super::exit::Failure;
use crate::source::Setup;

/// Tell of files and directories that change
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to watch, with everything below it, instead of what `[source.fs]` in waitbus.toml says
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also what .gitignore and .ignore files say is to be ignored, and .git
    #[arg(long)]
    ignored: bool,
}

impl Arguments {
    /// What the source is told: the configuration, where nothing was said here.
    pub(super) fn setup(self, configured: Setup) -> Result<Setup, Failure> {
        let Setup::Files(mut setup) = configured else { return Ok(configured) };
        if self.ignored {
            setup = setup.with_ignored();
        }
        if !self.paths.is_empty() {
            let paths = self.paths.into_iter().map(|path| absolute(&path).map_err(Failure::usage));
            setup = setup.of_paths(&paths.collect::<Result<Vec<_>, _>>()?).map_err(Failure::usage)?;
        }
        setup.check().map_err(Failure::usage)?;
        Ok(Setup::Files(setup))
    }
}
