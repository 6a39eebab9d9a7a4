//! What a simulated client asks for, and the plainest possible answer to whether a row concerns it.

use serde_json::{Value, json};

use super::log::ModelRow;
use crate::random::Random;

pub const SOURCES: [&str; 3] = ["ci", "deploy", "fs"];
pub const TYPES: [&str; 3] = ["finished", "started", "failed"];
pub const REPOS: [(&str, &str); 4] = [("", ""), ("octo", "hello"), ("octo", "other"), ("acme", "hello")];

/// A filter as it is sent, and as the model understands it.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    repos: Vec<&'static str>,
    types: Vec<&'static str>,
    alternatives: Vec<Vec<Condition>>,
    /// As an expression.
    where_: Option<Condition>,
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    SourceIs(&'static str),
    SourceIsNot(&'static str),
    TypeBegins(&'static str),
    NumberIs(i64),
    NumberIsNot(i64),
    NumberIsAtLeast(i64),
    PayloadIs(i64),
    /// On a key that no row has.
    NobodyHas,
}

/// What a client has to hear of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    Nothing,
    Event,
    /// It cannot be read and could have been wanted.
    Gap,
}

impl Wanted {
    pub fn random(random: &mut Random) -> Wanted {
        if random.chance(25) {
            return Wanted::default();
        }
        let repos = match random.within(0..=5) {
            0 => random.some(&["octo/*", "acme/hello", "OCTO/Hello"]),
            1 => vec!["octo/hello"],
            2 => vec!["acme/*", "*"],
            _ => Vec::new(),
        };
        let types = if random.chance(30) { random.some(&TYPES) } else { Vec::new() };
        let alternatives = if random.chance(65) { random.within(1..=2) } else { 0 };
        let alternatives = (0..alternatives).map(|_| {
            let conditions = random.within(1..=3);
            (0..conditions).map(|_| Condition::random(random)).collect()
        });
        let alternatives = alternatives.collect();
        let where_ = Condition::random(random);
        let where_ = (random.chance(25) && where_.expression().is_some()).then_some(where_);
        Wanted { repos, types, alternatives, where_ }
    }

    /// The keys of the subscribe frame.
    pub fn frame(&self) -> Value {
        let texts = |all: &Vec<Condition>| all.iter().map(|condition| condition.text()).collect::<Vec<_>>();
        let mut frame = json!({"proto": 1, "event_types": self.types});
        if !self.repos.is_empty() {
            frame["filters"] = json!(self.repos);
        }
        match &*self.alternatives {
            [] => {}
            [all] if all.len() == 1 => frame["match"] = json!(all[0].text()),
            [all] => frame["match"] = json!(texts(all)),
            alternatives => frame["match"] = alternatives.iter().map(texts).collect(),
        }
        if let Some(expression) = self.where_.and_then(Condition::expression) {
            frame["where"] = json!(expression);
        }
        frame
    }

    pub fn concern(&self, row: &ModelRow) -> Concern {
        let kind = self.types.is_empty() || row.kind.is_none_or(|kind| self.types.contains(&kind));
        let conditions = self.alternatives.is_empty() || self.alternatives.iter().any(|all| hold(all, row));
        let expression = self.where_.is_none_or(|condition| condition.holds(row));
        match row.readable {
            _ if !(kind && conditions && expression && self.passes(row.repo)) => Concern::Nothing,
            true => Concern::Event,
            false => Concern::Gap,
        }
    }

    /// Whether some event of this source could be wanted, for all that is known of it.
    pub fn could_concern(&self, source: &str) -> bool {
        let source = SOURCES.into_iter().find(|known| *known == source);
        let (id, kind, number, payload, received_at, key) = (None, None, None, None, None, None);
        let (repo, readable, huge) = (REPOS[0], false, false);
        let row = ModelRow { id, source, kind, repo, number, payload, received_at, key, readable, huge };
        self.where_.is_none_or(|condition| condition.holds(&row))
            && (self.alternatives.is_empty() || self.alternatives.iter().any(|all| hold(all, &row)))
    }

    /// What this asks of a source, if it names it.
    pub fn demands(&self, source: &str) -> Vec<String> {
        let names = |condition: &Condition| matches!(condition, Condition::SourceIs(_));
        let is_it = |condition: &Condition| matches!(condition, Condition::SourceIs(name) if *name == source);
        let asked = match &self.where_ {
            Some(condition) if names(condition) => is_it(condition),
            _ => self.alternatives.iter().any(|all| all.iter().any(is_it)),
        };
        if !asked {
            return Vec::new();
        }
        if self.repos.is_empty() || self.repos.contains(&"*") {
            return vec!["*".to_owned()];
        }
        self.repos.iter().map(|repo| repo.to_lowercase()).collect()
    }

    fn passes(&self, (owner, repo): (&str, &str)) -> bool {
        let passes = |filter: &&str| match filter.to_lowercase().split_once('/') {
            Some((wanted, "*")) => wanted == owner,
            Some((wanted, name)) => wanted == owner && name == repo,
            None => true,
        };
        self.repos.is_empty() || self.repos.iter().any(passes)
    }
}

/// All of them, where several equalities on one key are alternatives.
fn hold(all: &[Condition], row: &ModelRow) -> bool {
    all.iter().all(|condition| match condition.equality() {
        Some(key) => all.iter().any(|other| other.equality() == Some(key) && other.holds(row)),
        None => condition.holds(row),
    })
}

impl Condition {
    fn random(random: &mut Random) -> Condition {
        let number = i64::try_from(random.within(0..=3)).unwrap();
        match random.within(0..=9) {
            0 | 1 => Condition::SourceIs(random.pick(&SOURCES)),
            2 => Condition::SourceIsNot(random.pick(&SOURCES)),
            3 => Condition::TypeBegins(random.pick(&["f", "s", "fin"])),
            4 | 5 => Condition::NumberIs(number),
            6 => Condition::NumberIsNot(number),
            7 => Condition::NumberIsAtLeast(number),
            8 => Condition::PayloadIs(number),
            _ if random.chance(30) => Condition::NobodyHas,
            _ => Condition::PayloadIs(number),
        }
    }

    fn text(self) -> String {
        match self {
            Condition::SourceIs(source) => format!("source={source}"),
            Condition::SourceIsNot(source) => format!("source!={source}"),
            Condition::TypeBegins(beginning) => format!("event_type*={beginning}*"),
            Condition::NumberIs(n) => format!("n={n}"),
            Condition::NumberIsNot(n) => format!("n!={n}"),
            Condition::NumberIsAtLeast(n) => format!("n>={n}"),
            Condition::PayloadIs(n) => format!("payload.deep.0={n}"),
            Condition::NobodyHas => "nobody!=1".to_owned(),
        }
    }

    /// The same in CEL, where that says the same of rows that cannot be read.
    fn expression(self) -> Option<String> {
        Some(match self {
            Condition::SourceIs(source) => format!("true && source == '{source}'"),
            Condition::NumberIs(n) => format!("fields.n == {n}"),
            Condition::NumberIsNot(n) => format!("fields.n != {n}"),
            Condition::NumberIsAtLeast(n) => format!("fields.n >= {n}"),
            Condition::PayloadIs(n) => format!("payload.deep[0] == {n}"),
            Condition::NobodyHas => "fields.nobody != 1".to_owned(),
            Condition::SourceIsNot(_) | Condition::TypeBegins(_) => return None,
        })
    }

    /// The key on which it requires a value.
    fn equality(self) -> Option<&'static str> {
        match self {
            Condition::SourceIs(_) => Some("source"),
            Condition::NumberIs(_) => Some("n"),
            Condition::PayloadIs(_) => Some("payload"),
            _ => None,
        }
    }

    /// Whether it holds. What cannot be read of a row is assumed to be as wanted.
    fn holds(self, row: &ModelRow) -> bool {
        let unread = !row.readable;
        match self {
            Condition::SourceIs(source) => row.source.map_or(unread, |is| is == source),
            Condition::SourceIsNot(source) => row.source.map_or(unread, |is| is != source),
            Condition::TypeBegins(beginning) => row.kind.map_or(unread, |is| is.starts_with(beginning)),
            Condition::NumberIs(n) => unread || row.number == Some(n),
            Condition::NumberIsNot(n) => unread || row.number.is_some_and(|is| is != n),
            Condition::NumberIsAtLeast(n) => unread || row.number.is_some_and(|is| is >= n),
            Condition::PayloadIs(n) => unread || row.payload == Some(n),
            Condition::NobodyHas => unread,
        }
    }
}
