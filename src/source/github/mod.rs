//! GitHub, asked instead of listened to: for machines that it cannot reach.

use super::{Broken, Outlet};
use crate::config::section::Section;
use crate::config::settings::BadSettings;

/// What it was told.
#[derive(Clone, Debug, Default)]
pub struct Setup {}

impl Setup {
    /// What the configuration says.
    pub fn of(section: &Section) -> Result<Setup, BadSettings> {
        section.only(&[])?;
        Ok(Setup {})
    }
}

/// Works until it is cancelled or cannot go on.
pub async fn run(_setup: Setup, outlet: Outlet) -> Broken {
    outlet.publish(Vec::new(), None).await;
    Broken(format!("the source {} is not there yet", outlet.name()))
}
