//! `--sha`: the flags that ask for the verdict on a commit, and where that question begins.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;

use super::exit::Failure;
use super::output;
use super::time;
use super::wait::Patience;
use crate::client::commit::{RecallError, Recalled, meant, recall};
use crate::config::directories::Directories;
use crate::model::filter::RepoFilter;
use crate::model::id::EventId;
use crate::waiting::commit::{Asked, Commit, Past};
use crate::waiting::{Ending, Question};

/// Which commit, and when it is judged.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct CommitFlags {
    /// The verdict on a commit, over all its runs, jobs, checks and statuses: 7 to 40 hexadecimal digits, or a name that
    /// git knows here, such as HEAD. The log is asked first. Without --repo the commit is looked for in the remotes of
    /// this checkout, if it is there, else everywhere
    #[arg(long, value_name = "SHA")]
    sha: Option<String>,

    /// How long nothing may change before a commit is judged [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = time::duration, requires = "sha")]
    settle: Option<Duration>,

    /// Wait until all has ended, also after a failure or a newer push
    #[arg(long, requires = "sha")]
    no_fail_fast: bool,
}

impl CommitFlags {
    /// Whether it is asked for.
    pub(super) fn is_asked(&self) -> bool {
        self.sha.is_some()
    }

    /// What is asked of a commit, if that is what is asked.
    pub(super) fn asked(&self, repos: &[String]) -> Result<Option<Asked>, Failure> {
        let Some(sha) = &self.sha else { return Ok(None) };
        let (sha, here) = meant(Path::new("."), sha).map_err(|error| Failure::usage(format!("--sha: {error}")))?;
        let given = repos.iter().map(|name| RepoFilter::parse(name).map_err(Failure::usage));
        let given: Vec<_> = given.collect::<Result<_, _>>()?;
        let mut asked = Asked { repos: if given.is_empty() { here } else { given }, ..Asked::of(sha) };
        asked.settle = self.settle.unwrap_or(asked.settle);
        asked.fail_fast = !self.no_fail_fast;
        Ok(Some(asked))
    }
}

/// What a commit's question has come to before anything is waited for.
pub(super) enum Begun {
    /// The log has the answer.
    Answered(Ending),
    /// It has not; what comes after this place may.
    Open(Box<dyn Question>, EventId),
}

/// Before anything is known of it.
pub(super) fn unknown(asked: Asked) -> Result<Commit, Failure> {
    let begun = Past::new(asked).end(Instant::now(), SystemTime::now()).map_err(Failure::usage)?;
    Ok(begun.0)
}

/// Asks the log, of which only what came after a place counts if there is one.
pub(super) async fn begin(
    directories: &Directories,
    asked: Asked,
    after: Option<EventId>,
    patience: &Patience,
) -> Result<Begun, Failure> {
    let recalled = recall(directories, asked, after.unwrap_or(EventId::ZERO)).await;
    let recalled = recalled.map_err(|error| match error {
        RecallError::Ambiguous(ambiguous) => Failure::usage(format!("--sha: {ambiguous}")),
        RecallError::Bus(error) => Failure::from(error),
    })?;
    let Recalled { commit, ending, since, gaps } = recalled.for_waiting(directories).await;
    gaps.iter().try_for_each(|gap| patience.gap(gap))?;
    if let Some(ending) = ending {
        return Ok(Begun::Answered(ending));
    }
    let elsewhere = commit.elsewhere();
    if !elsewhere.is_empty() && !patience.is_quiet() {
        let places = elsewhere.join(" and ");
        output::say(&format!("waitbus: this commit was also seen in {places}, which is not asked (--repo does)"));
    }
    Ok(Begun::Open(Box::new(commit), since))
}
