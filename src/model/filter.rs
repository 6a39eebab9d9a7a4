//! What a subscriber wants: repositories, event types and conditions, as one question to an event.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::event::{Found, Record, check_repo};
use super::expression::Expression;
use super::limits::{MAX_FILTERS, MAX_LOOP_CONDITIONS};
use super::predicate::{Condition, Conjunction, Test};
use super::row::{PartialEnvelope, Row};

/// `owner/repo`, `owner/*` or `*`. GitHub's names ignore case, and so does this.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepoFilter {
    /// Every event, also those without a repository.
    Any,
    /// Every repository of an owner.
    Owner(String),
    /// One repository.
    Repo(String, String),
}

impl fmt::Display for RepoFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RepoFilter::Any => f.write_str("*"),
            RepoFilter::Owner(owner) => write!(f, "{owner}/*"),
            RepoFilter::Repo(owner, repo) => write!(f, "{owner}/{repo}"),
        }
    }
}

impl Serialize for RepoFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RepoFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RepoFilter, D::Error> {
        RepoFilter::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The text is not `owner/repo`, `owner/*` or `*`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a repository filter: use `owner/repo`, `owner/*` or `*`")]
pub struct BadRepoFilter(pub String);

impl RepoFilter {
    /// Reads one filter.
    pub fn parse(text: &str) -> Result<RepoFilter, BadRepoFilter> {
        let name = |part: &str| !part.is_empty() && !part.contains(['/', '*']) && !part.contains(char::is_whitespace);
        match text.split_once('/') {
            None if text == "*" => Ok(RepoFilter::Any),
            Some((owner, "*")) if name(owner) => Ok(RepoFilter::Owner(owner.to_owned())),
            Some((owner, repo)) if name(owner) && name(repo) => Ok(RepoFilter::Repo(owner.to_owned(), repo.to_owned())),
            _ => Err(BadRepoFilter(text.chars().take(80).collect())),
        }
    }

    /// The same in small letters, by which those that pass the same are known as equal; `None` if no event can pass,
    /// because it names what no event may have as a name.
    #[must_use]
    pub fn folded(&self) -> Option<RepoFilter> {
        let fold = |name: &str| {
            let name = name.to_ascii_lowercase();
            check_repo("repo", &name).is_ok().then_some(name)
        };
        Some(match self {
            RepoFilter::Any => RepoFilter::Any,
            RepoFilter::Owner(owner) => RepoFilter::Owner(fold(owner)?),
            RepoFilter::Repo(owner, repo) => RepoFilter::Repo(fold(owner)?, fold(repo)?),
        })
    }

    /// Whether an event of this repository passes.
    #[must_use]
    pub fn passes(&self, owner: &str, repo: &str) -> bool {
        match self {
            RepoFilter::Any => true,
            RepoFilter::Owner(wanted) => wanted.eq_ignore_ascii_case(owner),
            RepoFilter::Repo(wanted_owner, wanted) => {
                wanted_owner.eq_ignore_ascii_case(owner) && wanted.eq_ignore_ascii_case(repo)
            }
        }
    }
}

/// Which events a subscriber wants. The default wants all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of these repositories; none given means any.
    pub repos: Vec<RepoFilter>,
    /// One of these event types; none given means any.
    pub event_types: Vec<String>,
    /// One of these conjunctions; none given means no condition.
    pub alternatives: Vec<Conjunction>,
    /// An expression that must be true; none given means no expression.
    pub where_: Option<Arc<Expression>>,
    /// Nothing that says that it happened before this time, in nanoseconds since the epoch.
    pub not_before: Option<i64>,
}

impl Filter {
    /// Whether the subscriber wants this event.
    #[must_use]
    pub fn wants(&self, record: &Record) -> bool {
        self.matches(record) && self.where_.as_ref().is_none_or(|expression| expression.holds(record))
    }

    /// Whether everything but the expression agrees with this event.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        self.names_agree(record)
            && (self.alternatives.is_empty() || self.alternatives.iter().any(|all| all.holds(record)))
    }

    fn names_agree(&self, record: &Record) -> bool {
        let event = &record.event;
        (self.repos.is_empty() || self.repos.iter().any(|filter| filter.passes(&event.owner, &event.repo)))
            && (self.event_types.is_empty() || self.event_types.contains(&event.event_type))
            && self.not_before.is_none_or(|time| event.happened_at().is_none_or(|happened| happened >= time))
    }

    /// Whether deciding may take longer than the hub's loop may wait: it depends on how long a text of the event is, on
    /// its payload or on an expression, or there are very many conditions.
    #[must_use]
    pub fn is_costly(&self) -> bool {
        let conditions = || self.alternatives.iter().flat_map(Conjunction::conditions);
        self.where_.is_some() || conditions().any(Condition::is_costly) || conditions().count() > MAX_LOOP_CONDITIONS
    }

    /// Whether the subscriber could want this event, as far as that can be told in a short time that does not depend on
    /// the event: what is costly is assumed to hold.
    #[must_use]
    pub fn may_want(&self, record: &Record) -> bool {
        let mut left = MAX_LOOP_CONDITIONS;
        self.names_agree(record)
            && self.required().take(MAX_LOOP_CONDITIONS).all(|condition| condition.holds(record))
            && (self.alternatives.is_empty() || self.alternatives.iter().any(|all| all.may_hold(record, &mut left)))
    }

    /// Equalities without which the expression cannot be true.
    pub fn required(&self) -> impl Iterator<Item = &Condition> {
        self.where_.iter().flat_map(|expression| expression.required())
    }

    /// The sources of which an event must have one; none if any will do, as far as that can be told from the filter.
    #[must_use]
    pub fn sources(&self) -> Vec<&str> {
        if let Some(name) = self.required().find_map(source) {
            return vec![name];
        }
        let each: Option<Vec<_>> = self.alternatives.iter().map(sources).collect();
        each.unwrap_or_default().concat()
    }

    /// The sources that are asked for by name, each with the repositories of which it is asked. What asks for everything
    /// asks no source in particular.
    #[must_use]
    pub fn demands(&self) -> Vec<(&str, Vec<RepoFilter>)> {
        let everywhere = |repos: &[RepoFilter]| if repos.is_empty() { vec![RepoFilter::Any] } else { repos.to_vec() };
        if let Some(name) = self.required().find_map(source) {
            return vec![(name, everywhere(&self.repos))];
        }
        let mut demands = Vec::new();
        for all in &self.alternatives {
            let Some(names) = sources(all) else { continue };
            let repos = everywhere(&repos(all).unwrap_or_else(|| self.repos.clone()));
            demands.extend(names.into_iter().map(|name| (name, repos.clone())));
        }
        demands
    }

    /// Whether the subscriber may have to hear of this row, told in a short time.
    #[must_use]
    pub fn may_concern(&self, row: &Row) -> bool {
        match row {
            Row::Event(record) => self.may_want(record),
            Row::Unreadable(row) => self.could_want(&row.envelope),
            Row::Lost(_) => true,
        }
    }

    /// Whether the subscriber has to hear of this row: an event that it wants, or a gap that may hide one.
    #[must_use]
    pub fn concerns(&self, row: &Row) -> bool {
        match row {
            Row::Event(record) => self.wants(record),
            Row::Unreadable(row) => self.could_want(&row.envelope),
            Row::Lost(_) => true,
        }
    }

    /// Whether the subscriber could have wanted a row of which only this is known. A row that provably does not
    /// concern it does not end its wait.
    #[must_use]
    pub fn could_want(&self, row: &PartialEnvelope) -> bool {
        let known = |key: &str| match key {
            "source" | "fields.source" => row.source.as_deref(),
            "event_type" | "fields.event_type" => row.event_type.as_deref(),
            "owner" | "fields.owner" => row.owner.as_deref(),
            "repo" | "fields.repo" => row.repo.as_deref(),
            _ => None,
        };
        let types =
            row.event_type.as_ref().is_none_or(|kind| self.event_types.is_empty() || self.event_types.contains(kind));
        let repos = match (&row.owner, &row.repo) {
            (Some(owner), Some(repo)) => {
                self.repos.is_empty() || self.repos.iter().any(|filter| filter.passes(owner, repo))
            }
            _ => true,
        };
        let required = self
            .required()
            .all(|condition| known(&condition.key).is_none_or(|text| condition.test.holds(Found::Text(text))));
        types
            && repos
            && required
            && (self.alternatives.is_empty() || self.alternatives.iter().any(|all| all.could_hold(known)))
    }

    /// Whether deciding needs the stored payload.
    #[must_use]
    pub fn reads_payload(&self) -> bool {
        self.where_.as_ref().is_some_and(|expression| expression.reads_payload())
            || self.alternatives.iter().flat_map(Conjunction::conditions).any(Condition::reads_payload)
    }
}

/// The sources of which a conjunction requires one.
fn sources(all: &Conjunction) -> Option<Vec<&str>> {
    all.groups().find_map(|group| group.iter().map(source).collect())
}

/// The repositories of which a conjunction requires one: the owner is named by an equality, and the repository may be.
fn repos(all: &Conjunction) -> Option<Vec<RepoFilter>> {
    let named = |key: &str| {
        all.groups()
            .find_map(|group| group.iter().map(|condition| equality(condition, key)).collect::<Option<Vec<_>>>())
    };
    let owners = named("owner")?;
    let named_repos = named("repo").filter(|repos| repos.len() * owners.len() <= MAX_FILTERS);
    let each = |owner: &str| match &named_repos {
        Some(repos) => repos.iter().map(|repo| RepoFilter::Repo(owner.to_owned(), (*repo).to_owned())).collect(),
        None => vec![RepoFilter::Owner(owner.to_owned())],
    };
    Some(owners.into_iter().flat_map(each).collect())
}

/// The text that a condition requires of one of the event's own names.
fn equality<'a>(condition: &'a Condition, key: &str) -> Option<&'a str> {
    match &condition.test {
        Test::Equals(Value::String(text)) if condition.key.strip_prefix("fields.").unwrap_or(&condition.key) == key => {
            Some(text)
        }
        _ => None,
    }
}

/// The source that a condition requires.
fn source(condition: &Condition) -> Option<&str> {
    equality(condition, "source")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event::tests::record;
    use super::*;

    #[test]
    fn a_repository_filter_is_one_of_three_forms() {
        assert_eq!(RepoFilter::parse("*"), Ok(RepoFilter::Any));
        assert_eq!(RepoFilter::parse("octo/*"), Ok(RepoFilter::Owner("octo".into())));
        assert_eq!(RepoFilter::parse("octo/hello"), Ok(RepoFilter::Repo("octo".into(), "hello".into())));
        for bad in ["", "octo", "/", "octo/", "/hello", "*/hello", "a/b/c", "o o/x", "octo/he*"] {
            assert_eq!(RepoFilter::parse(bad), Err(BadRepoFilter(bad.into())));
        }
        for text in ["*", "octo/*", "octo/hello"] {
            assert_eq!(RepoFilter::parse(text).unwrap().to_string(), text);
        }
        assert!(RepoFilter::parse("Octo/Hello").unwrap().passes("octo", "hello"));
        assert!(!RepoFilter::parse("octo/*").unwrap().passes("", ""));
    }

    #[test]
    fn repositories_types_and_conditions_must_all_agree() {
        let record = record(1, "github", &json!({"conclusion": "success"}));
        let filter = |repo: &str, kind: &str, condition: &str| Filter {
            repos: vec![RepoFilter::parse(repo).unwrap()],
            event_types: vec![kind.into()],
            alternatives: vec![Conjunction::new(vec![Condition::parse(condition).unwrap()])],
            ..Filter::default()
        };
        assert!(Filter::default().wants(&record));
        assert!(filter("octo/hello", "finished", "conclusion=success").wants(&record));
        assert!(!filter("octo/other", "finished", "conclusion=success").wants(&record));
        assert!(!filter("*", "started", "conclusion=success").wants(&record));
        assert!(!filter("*", "finished", "conclusion=failure").wants(&record));
    }

    /// A poller that slept told last week's success to whoever woke it, as if it had just happened.
    #[test]
    fn what_says_that_it_happened_before_is_left_out_for_whoever_asks_what_happens() {
        let told = |happened: Option<i64>| record(1, "github", &json!({"happened_at": happened}));
        let asks = |not_before| Filter { not_before, ..Filter::default() };
        for (not_before, happened, wanted) in
            [(Some(10), Some(9), false), (Some(10), Some(10), true), (Some(10), None, true), (None, Some(9), true)]
        {
            let record = told(happened);
            assert_eq!(asks(not_before).wants(&record), wanted, "{not_before:?} {happened:?}");
            assert_eq!(asks(not_before).may_want(&record), wanted, "{not_before:?} {happened:?}");
        }
    }

    #[test]
    fn a_demand_names_a_source_and_as_narrowly_as_it_is_simple_its_repositories() {
        let demands = |repos: &[&str], alternatives: &[&[&str]], expression: Option<&str>| {
            let strings = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
            let filter = super::super::frame::Subscribe {
                filters: if repos.is_empty() { strings(&["*"]) } else { strings(repos) },
                alternatives: alternatives.iter().map(|all| strings(all)).collect(),
                where_: expression.map(str::to_owned),
                ..Default::default()
            };
            let filter = filter.filter().unwrap();
            let demands = filter.demands().into_iter();
            demands
                .map(|(source, repos)| {
                    let repos: Vec<_> = repos.iter().map(RepoFilter::to_string).collect();
                    format!("{source}: {}", repos.join(" "))
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(demands(&[], &[], None), [""; 0], "a bare tail is no demand");
        assert_eq!(demands(&["o/r"], &[], None), [""; 0]);
        assert_eq!(demands(&[], &[&["conclusion=success"]], None), [""; 0]);
        assert_eq!(demands(&[], &[&["source!=github"]], None), [""; 0]);
        assert_eq!(demands(&[], &[&["source=github"]], None), ["github: *"]);
        assert_eq!(demands(&["o/r", "p/*"], &[&["source=github", "x=1"]], None), ["github: o/r p/*"]);
        assert_eq!(demands(&[], &[&["x=1"], &["source=github", "fields.owner=o", "repo=r"]], None), ["github: o/r"]);
        assert_eq!(demands(&["q/q"], &[&["source=github", "owner=o", "owner=p"]], None), ["github: o/* p/*"]);
        assert_eq!(demands(&[], &[&["source=github", "repo=r"]], None), ["github: *"], "of any owner");
        assert_eq!(demands(&[], &[&["source=a", "source=b", "owner=o", "repo=r"]], None), ["a: o/r", "b: o/r"]);
        assert_eq!(demands(&["o/r"], &[], Some("source == \"github\" && fields.x == 1")), ["github: o/r"]);
    }

    #[test]
    fn an_unreadable_row_concerns_only_those_who_could_have_wanted_it() {
        let filter = Filter {
            alternatives: vec![Conjunction::new(vec![
                Condition::parse("source=github").unwrap(),
                Condition::parse("conclusion=success").unwrap(),
            ])],
            ..Filter::default()
        };
        let row =
            |source: Option<&str>| PartialEnvelope { source: source.map(str::to_owned), ..PartialEnvelope::default() };
        assert!(filter.could_want(&row(None)));
        assert!(filter.could_want(&row(Some("github"))));
        assert!(!filter.could_want(&row(Some("deploy"))));

        let row = |owner: Option<&str>, repo: Option<&str>| PartialEnvelope {
            owner: owner.map(str::to_owned),
            repo: repo.map(str::to_owned),
            ..PartialEnvelope::default()
        };
        let in_repo = Filter { repos: vec![RepoFilter::parse("octo/hello").unwrap()], ..Filter::default() };
        let by_condition = Filter {
            alternatives: vec![Conjunction::new(vec![Condition::parse("repo=hello").unwrap()])],
            ..Filter::default()
        };
        for filter in [in_repo, by_condition] {
            assert!(filter.could_want(&row(Some("octo"), Some("hello"))));
            assert!(filter.could_want(&row(Some("octo"), None)));
            assert!(!filter.could_want(&row(Some("octo"), Some("other"))));
            assert!(!filter.could_want(&row(Some(""), Some(""))), "a row without a repository");
        }
    }
}
