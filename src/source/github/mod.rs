//! GitHub, asked instead of listened to: for machines that it cannot reach.
//!
//! The worker asks the REST API for the workflow runs of some repositories, for their jobs, and for what else is said of
//! their commits, and makes of all that the events that a webhook would have brought ([`crate::ingest::github::api`]). It is one loop over three parts that do no I/O and
//! know no clock: `poller` says whom to ask next, `watch` what an answer means, `quota` when the next question may be asked.
//! `http` asks.

mod http;
mod place;
mod poller;
mod quota;
mod repositories;
mod round;
#[cfg(test)]
mod tests;
mod token;
mod watch;

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use self::http::{Base, Client, Reply};
use self::poller::{Next, Poller};
use self::quota::Quota;
use self::repositories::Wanted;
use self::round::{Moment, Told};
use self::token::Token;
use super::{Broken, Outlet};
use crate::config::section::Section;
use crate::config::settings::BadSettings;
use crate::model::limits::{GITHUB_BUDGET_PERCENT, GITHUB_INTERVAL, GITHUB_INTERVAL_MIN};
use crate::sys::manager;

/// What it was told.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which repositories.
    wanted: Wanted,
    /// Where the API is.
    base: Base,
    /// Its share of the quota, in percent.
    budget: u64,
    /// Between two looks at a repository where something goes on.
    interval: Duration,
}

impl Setup {
    /// What the configuration says.
    pub fn of(section: &Section) -> Result<Setup, BadSettings> {
        section.only(&["repositories", "checkouts", "api", "budget", "interval"])?;
        let base = Base::parse(section.text("api")?.unwrap_or(Base::PUBLIC));
        let budget = section.integer("budget")?.unwrap_or(GITHUB_BUDGET_PERCENT);
        if !(1..=100).contains(&budget) {
            return Err(section.bad("budget", "it must be a percentage, 1 to 100"));
        }
        let interval = section.duration("interval")?.unwrap_or(GITHUB_INTERVAL);
        if interval < GITHUB_INTERVAL_MIN {
            return Err(section.bad("interval", format!("it must be at least {} s", GITHUB_INTERVAL_MIN.as_secs())));
        }
        Ok(Setup {
            wanted: Wanted::of(section)?,
            base: base.map_err(|problem| section.bad("api", problem))?,
            budget,
            interval,
        })
    }

    /// The same for these repositories, named as `OWNER/REPO` or by an address, and no others. The error is a sentence.
    pub fn for_repositories(self, names: &[String]) -> Result<Setup, String> {
        Ok(Setup { wanted: Wanted::named(names)?, ..self })
    }
}

/// Works until it is cancelled or cannot go on.
pub async fn run(setup: Setup, outlet: Outlet) -> Broken {
    let Setup { wanted, base, budget, interval } = setup;
    let forge = base.forge().to_owned();
    let repositories = match tokio::task::spawn_blocking(move || wanted.find(&forge)).await {
        Ok(Ok(repositories)) => repositories,
        Ok(Err(problem)) => return Broken(problem),
        Err(ended) => return Broken(ended.to_string()),
    };
    for (owner, repo) in &repositories {
        info!(repository = %format!("{owner}/{repo}"), "is watched");
    }
    let now = Instant::now();
    let poller = Poller::new(base.clone(), interval, &repositories, outlet.position(), Quota::new(budget, now), now);
    let forge = base.forge().to_owned();
    let mut work = Work { client: Client::new(base), forge, token: None, poller, outlet, told: String::new() };
    work.find_token().await;
    if work.token.is_none() {
        warn!(
            "there is no token: GitHub answers 60 requests an hour, and shows public repositories only; store one with \
               `waitbus secret set github-token`, or run `gh auth login`"
        );
    }
    work.go_on().await
}

/// The loop and what it holds.
struct Work {
    client: Client,
    /// The host whose token is used.
    forge: String,
    token: Option<Token>,
    poller: Poller,
    outlet: Outlet,
    /// What the service manager was told last.
    told: String,
}

impl Work {
    async fn go_on(&mut self) -> Broken {
        let mut demand = self.outlet.demand();
        loop {
            self.poller.demand(&demand.borrow_and_update(), Instant::now());
            self.tell();
            let changed = async {
                // Without a sender nobody will wait any more.
                if demand.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            match self.poller.next(Instant::now()) {
                Next::Ask(request) => {
                    let heard = self.client.ask(request).await;
                    let (moment, refused) =
                        (moment(heard.as_ref().ok()), matches!(&heard, Ok(reply) if reply.status == 401));
                    let told = self.poller.hear(heard, moment);
                    self.publish(told).await;
                    if refused {
                        self.refused().await;
                    }
                }
                Next::At(due) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(due) => {}
                },
                Next::Asleep => changed.await,
            }
        }
    }

    async fn publish(&mut self, told: Told) {
        if told.moved || !told.drafts.is_empty() {
            let position = self.poller.position();
            self.outlet.publish(told.drafts, Some(position)).await;
        }
    }

    /// Says how it is to whoever may want to know, where that has changed.
    fn tell(&mut self) {
        for said in self.poller.said() {
            warn!("{said}");
        }
        match self.poller.trouble() {
            Some(trouble) => self.outlet.silent(trouble),
            None => self.outlet.seeing(),
        }
        let wanted = self.poller.wanted();
        let whom =
            if wanted == 0 { "Asleep: nobody waits".to_owned() } else { format!("Watching {wanted} repositories") };
        let quota = self.poller.quota.told().map(|quota| format!("; {quota}")).unwrap_or_default();
        let told = format!("{whom}{quota}");
        if told != self.told {
            if wanted == 0 || self.told.is_empty() {
                info!("{told}");
            }
            manager::status(&told);
            self.told = told;
        }
    }

    /// The token was refused. Another one may have taken its place; else GitHub is asked again later.
    async fn refused(&mut self) {
        let before = self.token.take();
        self.find_token().await;
        let is_other = match (&before, &self.token) {
            (Some(before), after) => !before.is(after.as_ref()),
            (None, after) => after.is_some(),
        };
        if !is_other {
            let remedy = before.map_or_else(
                || "GitHub wants a token: `waitbus secret set github-token`".to_owned(),
                |token| token.origin().remedy(),
            );
            self.poller.quota.refused(remedy, Instant::now());
        }
    }

    async fn find_token(&mut self) {
        let (directories, forge) = (self.outlet.directories().clone(), self.forge.clone());
        self.token = match tokio::task::spawn_blocking(move || token::find(&directories, &forge)).await {
            Ok(Ok(token)) => token,
            Ok(Err(bad)) => {
                warn!(%bad, "the token cannot be used");
                None
            }
            Err(_) => None,
        };
        self.client.set_token(self.token.clone());
        self.poller.quota.set_anonymous(self.token.is_none());
    }
}

/// Now, on every clock.
fn moment(reply: Option<&Reply>) -> Moment {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let wall = i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX);
    let date = reply.and_then(|reply| reply.date).map(|seconds| seconds.saturating_mul(1_000_000_000));
    Moment { now: Instant::now(), wall, skew: date.map_or(0, |date| wall.saturating_sub(date)) }
}
