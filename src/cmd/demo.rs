//! later
use super::exit::{Exit, Failure};
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}
pub(super) async fn run(_arguments: Arguments) -> Result<Exit, Failure> {
    Ok(Exit::Success)
}
