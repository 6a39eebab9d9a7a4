//! Who reads what: the filter of one server, which nothing passes that its client is not to see.
//!
//! Events outside of it are not there: they are neither told, nor listed, nor found by their name, and whoever asks for
//! what it excludes is refused instead of waiting for ever.

use super::arguments::ToolError;
use crate::model::clause::Clause;
use crate::model::event::{Event, Record};
use crate::model::filter::RepoFilter;
use crate::model::frame::Subscribe;
use crate::model::message::{AgentName, EVERYBODY, SOURCE as MESSAGES};
use crate::waiting::asked::{Asked, Conditions};
use crate::waiting::guarded::{Guard, Guarded};
use crate::waiting::{Question, Step};

/// What may be read.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Events of these sources; none given means any.
    pub sources: Vec<String>,
    /// Events of these repositories; none given means any, and those without one.
    pub repos: Vec<RepoFilter>,
    /// Of the messages between agents only those from this one, to it, and to everybody; without a name all.
    pub agent: Option<AgentName>,
}

impl Scope {
    /// Whether this may be read.
    pub(super) fn shows(&self, event: &Event) -> bool {
        let is = |name: &str, agent: &str| event.fields.get(name).and_then(|value| value.as_str()) == Some(agent);
        let own = |agent: &AgentName| {
            is("msg_to", agent.as_str()) || is("msg_to", EVERYBODY) || is("msg_from", agent.as_str())
        };
        let within = if event.source == MESSAGES {
            // They are of no repository.
            self.agent.as_ref().is_none_or(own)
        } else {
            self.repos.is_empty() || self.repos.iter().any(|filter| filter.passes(&event.owner, &event.repo))
        };
        within && self.has_source(&event.source)
    }

    /// Whether events of this source may be read.
    pub(super) fn has_source(&self, source: &str) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|allowed| allowed == source)
    }

    /// Whether anything may be read.
    pub(super) fn is_everything(&self) -> bool {
        self.sources.is_empty() && self.repos.is_empty() && self.agent.is_none()
    }

    /// Refuses a source that is outside.
    pub(super) fn check_source(&self, argument: &str, source: &str) -> Result<(), ToolError> {
        if self.has_source(source) {
            return Ok(());
        }
        let allowed = self.sources.join(", ");
        Err(ToolError::argument(argument, format!("this server shows no events of {source:?}, but only of {allowed}")))
    }

    /// Refuses a repository that is outside.
    pub(super) fn check_repo(&self, argument: &str, repo: &str) -> Result<(), ToolError> {
        let within = |allowed: &RepoFilter| match RepoFilter::parse(repo) {
            Ok(RepoFilter::Repo(owner, repo)) => allowed.passes(&owner, &repo),
            Ok(other) => *allowed == other,
            // What makes no sense is refused with its own words.
            Err(_) => true,
        };
        if self.repos.is_empty() || self.repos.iter().any(within) {
            return Ok(());
        }
        let allowed: Vec<_> = self.repos.iter().map(RepoFilter::to_string).collect();
        let problem = format!("this server shows no events of {repo:?}, but only of {}", allowed.join(", "));
        Err(ToolError::argument(argument, problem))
    }

    /// Refuses a question about what is outside.
    pub(super) fn check(&self, asked: &Asked) -> Result<(), ToolError> {
        for source in &asked.conditions.source {
            self.check_source("source", source)?;
        }
        for repo in &asked.conditions.repo {
            self.check_repo("repo", repo)?;
        }
        // A source can be named in other ways; where one of several is shown, there is something to wait for.
        let all = &asked.conditions;
        let fields = Conditions { matching: all.matching.clone(), ..Conditions::default() };
        let expression = Conditions { where_: all.where_.clone(), ..Conditions::default() };
        for (argument, conditions) in [("match", fields), ("where", expression)] {
            let filter = conditions.subscribe()?.filter().map_err(|bad| ToolError(bad.remediation))?;
            let sources = filter.sources();
            if let Some(source) = sources.first()
                && !sources.iter().any(|source| self.has_source(source))
            {
                self.check_source(argument, source)?;
            }
        }
        let clauses = [
            ("all_of", &asked.all_of),
            ("first_of", &asked.first_of),
            ("then", &asked.then),
            ("none_of", &asked.none_of),
        ];
        for (argument, clause) in
            clauses.into_iter().flat_map(|(name, texts)| texts.iter().map(move |text| (name, text)))
        {
            if let Ok(clause) = Clause::parse(clause) {
                self.check_source(argument, clause.source())?;
            }
        }
        Ok(())
    }

    /// The same question about what is inside.
    pub(super) fn narrow(&self, question: Box<dyn Question>) -> Box<dyn Question> {
        if self.is_everything() { question } else { Box::new(Guarded { guard: self.clone(), question }) }
    }

    /// What brings everything that is inside, and perhaps more.
    pub(super) fn subscription(&self) -> Subscribe {
        let source = |name: &String| vec![format!("source={}", serde_json::Value::String(name.clone()))];
        let alternatives = self.sources.iter().map(source).collect();
        Subscribe { alternatives, heartbeat: false, ..Subscribe::default() }
    }
}

/// A question sees nothing but what is inside.
impl Guard for Scope {
    fn keep_back(&self, record: &Record) -> Option<Step> {
        (!self.shows(&record.event)).then_some(Step::Aside)
    }
}
