//! The clauses of compositions: `source:key=value,…`, or `source[scope]:key=value,…` to narrow what they look at.
//!
//! A clause asks two things of an event: whether it is in the clause's scope, and whether it satisfies the clause. Where
//! the newest event in the scope decides, a later failure takes back an earlier success. Without brackets the scope is
//! the source and the presence of the condition's keys, so that an event that says nothing of them decides nothing.

use serde_json::Value;

use super::event::Record;
use super::limits;
use super::predicate::{BadCondition, Condition, Conjunction, Operator, bad, head};

/// One clause.
#[derive(Clone, Debug)]
pub struct Clause {
    text: String,
    source: String,
    scope: Vec<String>,
    condition: Vec<String>,
    in_scope: Conjunction,
    satisfied: Conjunction,
}

impl Clause {
    /// Reads a clause. A refusal points at the column in the whole of it.
    pub fn parse(text: &str) -> Result<Clause, BadCondition> {
        let mut parser = Parser { text, at: 0 };
        let source = parser.source()?.to_owned();
        let mut scope = if parser.takes('[') { Some(parser.conditions(true)?) } else { None };
        parser.colon(&source)?;
        let (condition, compiled) = parser.conditions(false)?.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        let (scope, in_scope) = scope.take().unwrap_or_else(|| presence(&compiled)).into_iter().unzip();
        Ok(Clause {
            text: text.to_owned(),
            source,
            scope,
            condition,
            in_scope: Conjunction::new(in_scope),
            satisfied: Conjunction::new(compiled),
        })
    }

    /// As it was typed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The source whose events it looks at.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the event is one that decides about this clause.
    #[must_use]
    pub fn concerns(&self, record: &Record) -> bool {
        record.event.source == self.source && self.in_scope.holds(record)
    }

    /// Whether the event satisfies this clause.
    #[must_use]
    pub fn is_satisfied_by(&self, record: &Record) -> bool {
        self.concerns(record) && self.satisfied.holds(record)
    }

    /// Conditions that every event in its scope meets.
    #[must_use]
    pub fn scope(&self) -> Vec<String> {
        // Quoted, because a source may be called `true` or `12`.
        let source = format!("source={}", Value::String(self.source.clone()));
        [source].into_iter().chain(self.scope.iter().cloned()).collect()
    }

    /// Conditions that every event that satisfies it meets.
    #[must_use]
    pub fn satisfaction(&self) -> Vec<String> {
        // A condition on a key asks for its presence as well.
        let implied =
            |text: &String| text.strip_suffix('?').is_some_and(|key| self.condition.iter().any(|c| asks(c, key)));
        let (source_and_scope, condition) = (self.scope(), self.condition.iter().cloned());
        source_and_scope.into_iter().filter(|text| !implied(text)).chain(condition).collect()
    }

    /// Whether deciding needs the stored payload.
    #[must_use]
    pub fn reads_payload(&self) -> bool {
        self.in_scope.conditions().chain(self.satisfied.conditions()).any(Condition::reads_payload)
    }
}

/// Whether a condition is on this key.
fn asks(condition: &str, key: &str) -> bool {
    head(condition).is_ok_and(|(asked, _)| asked == key)
}

/// The presence of the keys of some conditions, each once.
fn presence(conditions: &[Condition]) -> Vec<(String, Condition)> {
    let mut keys: Vec<_> = conditions.iter().map(|condition| &condition.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let exists =
        |key: &String| (format!("{key}?"), Condition { key: key.clone(), test: super::predicate::Test::Exists });
    keys.into_iter().map(exists).collect()
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn takes(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn refuse<T>(&self, problem: impl Into<String>) -> Result<T, BadCondition> {
        Err(bad(self.text, self.at, problem))
    }

    fn source(&mut self) -> Result<&'a str, BadCondition> {
        let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let length = self.rest().find(|c| !in_name(c)).unwrap_or(self.text.len());
        if length == 0 {
            return self.refuse("a clause begins with its source, as in `github:conclusion=success`");
        }
        if length > limits::MAX_NAME_BYTES {
            return self.refuse(format!("a source has at most {} characters", limits::MAX_NAME_BYTES));
        }
        self.at = length;
        Ok(&self.text[..length])
    }

    fn colon(&mut self, source: &str) -> Result<(), BadCondition> {
        if self.takes(':') {
            return Ok(());
        }
        match self.rest().chars().next() {
            None => self.refuse(format!("expected `:` and a condition, as in `{source}:conclusion=success`")),
            Some('=' | '!' | '<' | '>' | '~' | '*' | '?') => {
                self.refuse("expected `:` after the source: a clause is `source:key=value`")
            }
            Some(_) => self.refuse("expected `:` or `[` after the source"),
        }
    }

    /// Conditions with commas between them, to the bracket or to the end.
    fn conditions(&mut self, in_scope: bool) -> Result<Vec<(String, Condition)>, BadCondition> {
        let mut conditions = Vec::new();
        loop {
            let another = !conditions.is_empty();
            conditions.push(self.condition(in_scope).map_err(|mut error| {
                if another && error.problem.starts_with("expected an operator") {
                    error.problem += "; a value that has a comma is written in quotes";
                }
                error
            })?);
            if in_scope && self.takes(']') || !in_scope && self.rest().is_empty() {
                return Ok(conditions);
            }
            if self.takes(',') {
                continue;
            }
            return match (self.rest().is_empty(), in_scope) {
                (true, _) => self.refuse("the scope is not closed: expected `]`"),
                (false, true) => self.refuse("expected `,` or `]` after the value; quote a value that goes on"),
                (false, false) => self.refuse("expected `,` after the value; quote a value that goes on"),
            };
        }
    }

    fn condition(&mut self, in_scope: bool) -> Result<(String, Condition), BadCondition> {
        if self.rest().starts_with(char::is_whitespace) {
            return self.refuse("no spaces between conditions: write `key=value,key=value`");
        }
        if self.rest().is_empty() || self.rest().starts_with([',', ']']) {
            return self
                .refuse("expected a condition, as in `conclusion=success`; quote a value that has a `,` or `]`");
        }
        let (key, operator) = head(self.rest()).map_err(|error| self.moved(error))?;
        let value_at = key.len() + operator.spelling().len();
        let (value, length) = self.value(operator, &self.rest()[value_at..], value_at, in_scope)?;
        let text = format!("{key}{}{value}", operator.spelling());
        let condition = Condition::parse(&text).map_err(|error| self.moved(error))?;
        self.at += value_at + length;
        Ok((text, condition))
    }

    /// A value as a condition has it, and its length here. In double quotes, and in a JSON list or object, a comma and a
    /// bracket are part of it; elsewhere they end it.
    fn value(
        &self,
        operator: Operator,
        rest: &str,
        at: usize,
        in_scope: bool,
    ) -> Result<(String, usize), BadCondition> {
        let is_text = matches!(operator, Operator::Contains | Operator::Globs);
        if operator == Operator::Exists {
            return Ok((String::new(), 0));
        }
        if rest.starts_with('"') || (rest.starts_with(['[', '{']) && !is_text) {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            match (values.next(), is_text) {
                // An expression is what the quotes hold; a value keeps them, because they make it a text.
                (Some(Ok(Value::String(text))), true) => return Ok((text, values.byte_offset())),
                (Some(Ok(_)), _) => return Ok((rest[..values.byte_offset()].to_owned(), values.byte_offset())),
                _ if rest.starts_with('"') => {
                    let problem =
                        "not a text in quotes: it ends with `\"`, and in it `\\` is written `\\\\` and `\"` is `\\\"`";
                    return Err(bad(self.text, self.at + at, problem));
                }
                _ => {}
            }
        }
        let length = rest.find(|c| c == ',' || (in_scope && c == ']')).unwrap_or(rest.len());
        Ok((rest[..length].to_owned(), length))
    }

    /// A refusal of a condition, told of the whole clause.
    fn moved(&self, error: BadCondition) -> BadCondition {
        let refusal = bad(self.text, self.at, error.problem);
        let longest = self.text.chars().count() + 1;
        BadCondition { column: (refusal.column + error.column - 1).min(longest), ..refusal }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::event::tests::record;
    use super::*;

    fn parts(text: &str) -> (Vec<String>, Vec<String>) {
        let clause = Clause::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(clause.text(), text);
        (clause.scope(), clause.satisfaction())
    }

    #[test]
    fn a_clause_has_a_source_a_scope_and_a_condition() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        for (clause, scope, satisfaction) in [
            (
                "github:conclusion=success",
                &["source=\"github\"", "conclusion?"][..],
                &["source=\"github\"", "conclusion=success"][..],
            ),
            (
                "github[repo=hello,workflow_name=ci]:conclusion=success",
                &["source=\"github\"", "repo=hello", "workflow_name=ci"],
                &["source=\"github\"", "repo=hello", "workflow_name=ci", "conclusion=success"],
            ),
            ("x:b=1,a!=2,b=3", &["source=\"x\"", "a?", "b?"], &["source=\"x\"", "b=1", "a!=2", "b=3"]),
            ("x[a?]:a?", &["source=\"x\"", "a?"], &["source=\"x\"", "a?"]),
            ("12:a=\"b,c]\"", &["source=\"12\"", "a?"], &["source=\"12\"", "a=\"b,c]\""]),
            ("x[a=\"]\"]:b=]", &["source=\"x\"", "a=\"]\""], &["source=\"x\"", "a=\"]\"", "b=]"]),
            (
                "x:a=[1,2],b={\"c\":[3,4]}",
                &["source=\"x\"", "a?", "b?"],
                &["source=\"x\"", "a=[1,2]", "b={\"c\":[3,4]}"],
            ),
            ("x:a~\"^b{1,2}[,]\"", &["source=\"x\"", "a?"], &["source=\"x\"", "a~^b{1,2}[,]"]),
            ("x:a*=\"{b,c}\\\\*\"", &["source=\"x\"", "a?"], &["source=\"x\"", "a*={b,c}\\*"]),
            ("x:a~[b]+", &["source=\"x\"", "a?"], &["source=\"x\"", "a~[b]+"]),
            ("x:a=", &["source=\"x\"", "a?"], &["source=\"x\"", "a="]),
        ] {
            assert_eq!(parts(clause), (texts(scope), texts(satisfaction)), "{clause}");
        }
    }

    #[test]
    fn a_clause_that_cannot_be_read_points_at_the_column_and_suggests() {
        for (clause, column, hint) in [
            ("", 1, "begins with its source"),
            ("[a=1]:b=1", 1, "begins with its source"),
            ("conclusion=success", 11, "`source:key=value`"),
            ("github", 7, "as in `github:conclusion=success`"),
            ("git hub:a=1", 4, "expected `:` or `[`"),
            ("github:", 8, "expected a condition"),
            ("github:a=1,", 12, "expected a condition"),
            ("github:a=1,2", 13, "written in quotes"),
            ("github:a=1, b=2", 12, "no spaces"),
            ("github[]:a=1", 8, "expected a condition"),
            ("github[a=1:b=2", 15, "not closed"),
            ("github[a=1]b=2", 12, "expected `:`"),
            ("github[a=\"b\"c]:d=1", 13, "expected `,` or `]`"),
            ("github:a=\"b\"c", 13, "quote a value"),
            ("github:a=\"b", 10, "not a text in quotes"),
            ("github:conclusion==success", 19, "single `=`"),
            ("github:a=1,b>=many", 15, "compares numbers"),
            ("grüße:a=1", 3, "expected `:`"),
            ("x[é=1]:a=1", 3, "begins with a key"),
            ("x:a~b{1,3}", 5, "regular expression"),
            ("x:a?1", 5, "expected `,`"),
            ("x:payload..a=1", 11, "empty segment"),
        ] {
            let error = Clause::parse(clause).unwrap_err();
            assert_eq!(error.column, column, "{error}");
            assert!(error.problem.contains(hint), "{error}");
        }
    }

    #[test]
    fn the_scope_says_which_events_decide_and_the_condition_how() {
        let judge = |clause: &str, source: &str, fields: Value| {
            let (clause, record) = (Clause::parse(clause).unwrap(), record(1, source, &fields));
            (clause.concerns(&record), clause.is_satisfied_by(&record))
        };
        let bare = "ci:conclusion=success";
        assert_eq!(judge(bare, "ci", json!({"conclusion": "success"})), (true, true));
        assert_eq!(judge(bare, "ci", json!({"conclusion": "failure"})), (true, false));
        assert_eq!(judge(bare, "ci", json!({"conclusion": null})), (true, false));
        assert_eq!(judge(bare, "ci", json!({"status": "queued"})), (false, false));
        assert_eq!(judge(bare, "cd", json!({"conclusion": "success"})), (false, false));
        let narrowed = "ci[job=test,job=lint]:conclusion=success,conclusion=neutral";
        assert_eq!(judge(narrowed, "ci", json!({"job": "lint", "conclusion": "neutral"})), (true, true));
        assert_eq!(judge(narrowed, "ci", json!({"job": "lint"})), (true, false), "it decides, and not so");
        assert_eq!(judge(narrowed, "ci", json!({"job": "docs", "conclusion": "success"})), (false, false));
        assert!(Clause::parse("x[payload.a=1]:b=1").unwrap().reads_payload());
        assert!(!Clause::parse("x[a=1]:payloads=1").unwrap().reads_payload());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_a_column_is_in_the_text(text in "([a-b\\[\\]:,=~?\"{}é ]|\\PC){0,24}") {
            match Clause::parse(&text) {
                Ok(clause) => {
                    let satisfied = clause.is_satisfied_by(&record(1, "x", &json!({})));
                    prop_assert!(!satisfied || text.starts_with('x'));
                }
                Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{}", error),
            }
        }

        #[test]
        fn whatever_satisfies_a_clause_passes_what_the_hub_is_asked_for(
            clause in prop::sample::select(vec!["x:a=1", "x:a=1,a=2,b?", "x[a=1]:a=2", "x[a=1,b!=2]:b>1", "x[b?]:a?", "y:a~1", "x:a=\"1\",b=[1,2]"]),
            fields in prop::collection::btree_map("[ab]", prop_oneof![(0..4).prop_map(|n| json!(n)), Just(json!("1")), Just(json!([1, 2]))], 0..3),
        ) {
            let clause = Clause::parse(clause).unwrap();
            let record = record(1, "x", &json!(fields));
            let passes = |texts: Vec<String>| Conjunction::new(texts.iter().map(|text| Condition::parse(text).unwrap()).collect()).holds(&record);
            prop_assert_eq!(clause.concerns(&record), passes(clause.scope()));
            prop_assert!(!clause.is_satisfied_by(&record) || passes(clause.satisfaction()));
        }
    }
}
