//! The everyday conditions of `--match`: `key=value`, `key!=value`, `key>=N`, `key~REGEX`, `key*=GLOB`, `key?`.
//!
//! Types are strict, because a wait that is satisfied by the wrong thing is worse than one that is not: `true` is
//! not `1`, `12` is not `"12"`, and a missing key makes every operator false, `!=` too. PROTOCOL.md, "Conditions",
//! is the normative text.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use serde_json::{Number, Value};

use super::event::{Found, Record};
use super::{glob, limits};

/// A condition that cannot be understood: where, why, and what may have been meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}, column {column}: {problem}")]
pub struct BadCondition {
    /// The condition as it was given, cut if it is very long.
    pub text: String,
    /// Column of the problem in characters, from 1.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub problem: String,
}

/// One condition on one key.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Dotted path of the value; see [`Record::lookup`].
    pub key: String,
    /// What has to hold for it.
    pub test: Test,
}

/// What a condition asks of the value at its key.
#[derive(Clone, Debug)]
pub enum Test {
    /// Equal, type included.
    Equals(Value),
    /// Present and not equal, type included.
    Differs(Value),
    /// A number in this relation to the given one.
    Compares(Relation, Number),
    /// A text in which the expression is found.
    Contains(Regex),
    /// A text that the glob matches as a whole; `*` also matches `/`.
    Globs(Regex),
    /// Anything, null too.
    Exists,
}

/// How a number has to compare with the condition's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl Relation {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Relation::Greater => ordering.is_gt(),
            Relation::GreaterOrEqual => ordering.is_ge(),
            Relation::Less => ordering.is_lt(),
            Relation::LessOrEqual => ordering.is_le(),
        }
    }
}

impl Condition {
    /// Reads one condition. The operator is the first one that stands after the key.
    pub fn parse(text: &str) -> Result<Condition, BadCondition> {
        if text.len() > limits::MAX_CONDITION_BYTES {
            let problem = format!("{} bytes long, but at most {} are allowed", text.len(), limits::MAX_CONDITION_BYTES);
            return Err(bad(text, 0, problem));
        }
        let (key, operator) = head(text)?;
        let value_at = key.len() + operator.spelling().len();
        let test = operator.test(&text[value_at..]).map_err(|problem| bad(text, value_at, problem))?;
        Ok(Condition { key: key.to_owned(), test })
    }

    /// Whether the condition holds for this event.
    #[must_use]
    pub fn holds(&self, record: &Record) -> bool {
        record.lookup(&self.key).is_some_and(|found| self.test.holds(found))
    }

    /// Whether asking it takes a time that depends on how long the event is: a text is searched, or the payload read.
    #[must_use]
    pub fn is_costly(&self) -> bool {
        self.reads_payload() || matches!(self.test, Test::Contains(_) | Test::Globs(_))
    }

    /// Whether it reads the stored payload.
    #[must_use]
    pub fn reads_payload(&self) -> bool {
        self.key == "payload" || self.key.starts_with("payload.")
    }
}

impl Test {
    /// Whether it holds for a value that is there.
    #[must_use]
    pub fn holds(&self, found: Found<'_>) -> bool {
        match self {
            Test::Equals(value) => equal(found, value),
            Test::Differs(value) => !equal(found, value),
            Test::Compares(relation, limit) => {
                let ordering = match found {
                    Found::Integer(n) => compare(&n.into(), limit),
                    Found::Json(Value::Number(n)) => compare(n, limit),
                    _ => None,
                };
                ordering.is_some_and(|ordering| relation.holds(ordering))
            }
            Test::Contains(regex) => with_text(found, |text| regex.is_match(text)),
            Test::Globs(glob) => with_text(found, |text| glob.is_match(text)),
            Test::Exists => true,
        }
    }
}

/// Conditions that must all hold, except that several `=` on one key are alternatives: their conjunction could
/// never hold. Without conditions it holds for everything.
#[derive(Clone, Debug, Default)]
pub struct Conjunction {
    conditions: Vec<Condition>,
}

impl Conjunction {
    /// All of `conditions`.
    #[must_use]
    pub fn new(mut conditions: Vec<Condition>) -> Conjunction {
        // Alternatives stand side by side, so that `groups` finds them with one walk and no allocation.
        conditions.sort_by(|a, b| alternative_key(a).cmp(&alternative_key(b)));
        Conjunction { conditions }
    }

    /// Whether it holds for this event.
    #[must_use]
    pub fn holds(&self, record: &Record) -> bool {
        self.groups().all(|group| group.iter().any(|condition| condition.holds(record)))
    }

    /// Whether it could hold, where costly conditions are assumed to, and all of them once `left` have been asked.
    pub fn may_hold(&self, record: &Record, left: &mut usize) -> bool {
        self.groups().all(|group| {
            group.iter().any(|condition| {
                if *left == 0 || condition.is_costly() {
                    return true;
                }
                *left -= 1;
                condition.holds(record)
            })
        })
    }

    /// Whether it could hold for an event of which only `known` can be read: conditions on other keys are
    /// assumed to hold.
    pub fn could_hold<'a>(&self, known: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.groups().all(|group| {
            group
                .iter()
                .any(|condition| known(&condition.key).is_none_or(|text| condition.test.holds(Found::Text(text))))
        })
    }

    /// Every condition.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.conditions.iter()
    }

    /// Each set of conditions of which one must hold.
    pub fn groups(&self) -> impl Iterator<Item = &[Condition]> {
        self.conditions
            .chunk_by(|a, b| matches!((alternative_key(a), alternative_key(b)), (Some(a), Some(b)) if a == b))
    }
}

fn alternative_key(condition: &Condition) -> Option<&str> {
    matches!(condition.test, Test::Equals(_)).then_some(&*condition.key)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equals,
    Differs,
    Compares(Relation),
    Contains,
    Globs,
    Exists,
}

impl Operator {
    /// Longer spellings first, so that `>=` is not read as `>`.
    const ALL: [Operator; 9] = [
        Operator::Differs,
        Operator::Compares(Relation::GreaterOrEqual),
        Operator::Compares(Relation::LessOrEqual),
        Operator::Globs,
        Operator::Equals,
        Operator::Compares(Relation::Greater),
        Operator::Compares(Relation::Less),
        Operator::Contains,
        Operator::Exists,
    ];

    pub(super) fn spelling(self) -> &'static str {
        match self {
            Operator::Equals => "=",
            Operator::Differs => "!=",
            Operator::Compares(Relation::Greater) => ">",
            Operator::Compares(Relation::GreaterOrEqual) => ">=",
            Operator::Compares(Relation::Less) => "<",
            Operator::Compares(Relation::LessOrEqual) => "<=",
            Operator::Contains => "~",
            Operator::Globs => "*=",
            Operator::Exists => "?",
        }
    }

    fn test(self, value: &str) -> Result<Test, String> {
        Ok(match self {
            Operator::Equals => Test::Equals(typed(value)),
            Operator::Differs => Test::Differs(typed(value)),
            Operator::Compares(relation) => match typed(value) {
                Value::Number(number) => Test::Compares(relation, number),
                _ => return Err(format!("`{}` compares numbers, and {value:?} is not one", self.spelling())),
            },
            Operator::Contains => Test::Contains(
                RegexBuilder::new(value)
                    .size_limit(limits::MAX_REGEX_BYTES)
                    .dfa_size_limit(limits::MAX_REGEX_BYTES)
                    .build()
                    .map_err(|error| format!("not a regular expression: {}", last_line(&error.to_string())))?,
            ),
            Operator::Globs => Test::Globs(glob::compile(value).map_err(|problem| format!("not a glob: {problem}"))?),
            Operator::Exists if value.is_empty() => Test::Exists,
            Operator::Exists => return Err("`key?` asks whether the key is there, and takes no value".to_owned()),
        })
    }
}

/// A value as typed by a person: JSON if it is JSON, else the bare text.
#[must_use]
pub fn typed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn is_key_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@')
}

fn check_key(text: &str, key: &str) -> Result<(), BadCondition> {
    if key.is_empty() {
        return Err(bad(text, 0, "a condition begins with a key, as in `conclusion=success`"));
    }
    if key.split('.').count() > limits::MAX_PATH_SEGMENTS {
        return Err(bad(text, 0, format!("a path may have at most {} segments", limits::MAX_PATH_SEGMENTS)));
    }
    if key.starts_with('.') || key.ends_with('.') || key.contains("..") {
        let column = if key.starts_with('.') { 0 } else { key.find("..").map_or(key.len() - 1, |at| at + 1) };
        return Err(bad(text, column, "an empty segment in the path"));
    }
    Ok(())
}

/// The key and the operator with which a condition begins; its value is what comes after them.
pub(super) fn head(text: &str) -> Result<(&str, Operator), BadCondition> {
    let key_end = text.find(|c| !is_key_character(c)).unwrap_or(text.len());
    let (key, rest) = text.split_at(key_end);
    check_key(text, key)?;
    operator(text, key_end, rest).map(|operator| (key, operator))
}

fn operator(text: &str, at: usize, rest: &str) -> Result<Operator, BadCondition> {
    let known = "one of = != >= <= > < ~ *= ?";
    if rest.is_empty() {
        return Err(bad(text, at, format!("expected an operator ({known}) and a value after the key")));
    }
    if rest.starts_with(char::is_whitespace) {
        return Err(bad(text, at, "no spaces around the operator: write `key=value`"));
    }
    if rest.starts_with("==") {
        return Err(bad(
            text,
            at + 1,
            "equality is a single `=`; for a value that begins with `=`, quote it: `key=\"=…\"`",
        ));
    }
    if rest.starts_with("=~") || rest.starts_with("!~") {
        return Err(bad(text, at, "a regular expression is asked for with `key~REGEX`"));
    }
    Operator::ALL
        .into_iter()
        .find(|operator| rest.starts_with(operator.spelling()))
        .ok_or_else(|| bad(text, at, format!("expected an operator ({known}) after the key")))
}

/// A refusal that points at a byte of the text.
pub(super) fn bad(text: &str, byte: usize, problem: impl Into<String>) -> BadCondition {
    const SHOWN: usize = 80;
    let column = text.get(..byte).map_or(1, |before| before.chars().count() + 1);
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    BadCondition { text: shown, column, problem: problem.into() }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

fn equal(found: Found<'_>, value: &Value) -> bool {
    match (found, value) {
        (Found::Text(text), Value::String(expected)) => text == expected,
        (Found::Id(id), Value::String(expected)) => expected.parse() == Ok(id),
        (Found::Integer(n), Value::Number(expected)) => compare(&n.into(), expected) == Some(Ordering::Equal),
        (Found::Json(Value::Number(n)), Value::Number(expected)) => compare(n, expected) == Some(Ordering::Equal),
        (Found::Json(found), expected) => found == expected,
        (Found::Fields(fields), Value::Object(expected)) => fields == expected,
        _ => false,
    }
}

/// Numbers compare by value, exactly: an integer is never rounded to a double.
fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        (Some(a), None) => compare_with_double(a, b.as_f64()?),
        (None, Some(b)) => compare_with_double(b, a.as_f64()?).map(Ordering::reverse),
        (None, None) => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn compare_with_double(a: i128, b: f64) -> Option<Ordering> {
    // Every JSON integer lies far within the range in which `as` is exact for an integral double.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and saturated is still greater or less")]
    let whole = b.trunc() as i128;
    Some(a.cmp(&whole).then(0.0.partial_cmp(&b.fract())?))
}

/// A text that two scalars share exactly when `=` holds between them; `None` for arrays and objects. This is what
/// lets the hub find the subscribers of an event by its values instead of asking each of them.
#[must_use]
pub fn equality_key(found: Found<'_>) -> Option<String> {
    Some(match found {
        Found::Text(text) => format!("\"{text}"),
        Found::Id(id) => format!("\"{id}"),
        Found::Integer(n) => n.to_string(),
        Found::Json(Value::String(text)) => format!("\"{text}"),
        Found::Json(Value::Number(n)) => number_key(n)?,
        Found::Json(Value::Bool(flag)) => flag.to_string(),
        Found::Json(Value::Null) => "null".to_owned(),
        Found::Json(_) | Found::Fields(_) => return None,
    })
}

fn number_key(number: &Number) -> Option<String> {
    /// Below this, an integral double is also an integer of JSON; above, only another double can equal it.
    const WHOLE: f64 = 18_446_744_073_709_551_616.0;
    if let Some(n) = integer(number) {
        return Some(n.to_string());
    }
    let n = number.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "integral and within the range of u64 and i64")]
    Some(if n.fract() == 0.0 && n.abs() < WHOLE { (n as i128).to_string() } else { format!("{n:e}") })
}

fn with_text(found: Found<'_>, test: impl Fn(&str) -> bool) -> bool {
    match found {
        Found::Text(text) => test(text),
        Found::Json(Value::String(text)) => test(text),
        Found::Id(id) => test(&id.to_string()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::event::tests::record;
    use super::*;

    fn holds(condition: &str) -> bool {
        let fields = json!({
            "conclusion": "success", "run_id": 12, "text": "12", "ok": true, "one": 1, "none": null, "ratio": 0.5,
            "big": 9_007_199_254_740_993_u64, "path": "/tmp/a/b.rs", "tags": ["x", "y"], "labels": {"a.b/c": "d"},
        });
        Condition::parse(condition).unwrap().holds(&record(1, "github", &fields))
    }

    #[test]
    fn types_are_strict_and_a_missing_key_makes_everything_false() {
        for (condition, expected) in [
            ("conclusion=success", true),
            ("conclusion=\"success\"", true),
            ("conclusion=failure", false),
            ("conclusion!=failure", true),
            ("conclusion!=success", false),
            ("run_id=12", true),
            ("run_id=12.0", true),
            ("run_id=\"12\"", false),
            ("text=12", false),
            ("text=\"12\"", true),
            ("ok=true", true),
            ("ok=1", false),
            ("one=true", false),
            ("one=1", true),
            ("none=null", true),
            ("none!=null", false),
            ("none!=x", true),
            ("missing=null", false),
            ("missing!=x", false),
            ("missing>=0", false),
            ("missing~.", false),
            ("run_id>=12", true),
            ("run_id>12", false),
            ("run_id<=12", true),
            ("run_id<12.5", true),
            ("text>=1", false),
            ("big=9007199254740993", true),
            ("big=9007199254740992", false),
            ("big>9007199254740992", true),
            ("ratio<1", true),
            ("received_at>=1000000", true),
            ("conclusion~^succ", true),
            ("conclusion~^ucc", false),
            ("run_id~1", false),
            ("path*=/tmp/*.rs", true),
            ("path*=*.py", false),
            ("tags=[\"x\",\"y\"]", true),
            ("tags.1=y", true),
            ("labels.a.b/c=d", true),
            ("source=github", true),
            ("fields.source=github", true),
            ("event_id=00000000010000000000000000", true),
            ("payload.a.b.0>=10", true),
            ("repo=hello", true),
            ("conclusion?", true),
            ("none?", true),
            ("payload.a.b.1.c?", true),
            ("missing?", false),
            ("tags.2?", false),
        ] {
            assert_eq!(holds(condition), expected, "{condition}");
        }
    }

    #[test]
    fn a_condition_that_cannot_be_read_points_at_the_column() {
        for (condition, column, hint) in [
            ("", 1, "begins with a key"),
            ("=x", 1, "begins with a key"),
            ("conclusion", 11, "expected an operator"),
            ("conclusion = success", 11, "no spaces"),
            ("conclusion==success", 12, "single `=`"),
            ("conclusion!~x", 11, "key~REGEX"),
            ("run_id>=many", 9, "compares numbers"),
            ("a~[", 3, "regular expression"),
            ("a*=[", 4, "glob"),
            ("a..b=1", 3, "empty segment"),
            (".a=1", 1, "empty segment"),
            ("é=1", 1, "begins with a key"),
            ("a:b=1", 2, "expected an operator"),
            ("a?=1", 3, "takes no value"),
        ] {
            let error = Condition::parse(condition).unwrap_err();
            assert_eq!(error.column, column, "{error}");
            assert!(error.problem.contains(hint), "{error}");
        }
        let long = format!("a={}", "x".repeat(limits::MAX_CONDITION_BYTES));
        assert!(Condition::parse(&long).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn conditions_on_one_key_are_alternatives_and_different_keys_must_all_hold() {
        let conjunction =
            |texts: &[&str]| Conjunction::new(texts.iter().map(|text| Condition::parse(text).unwrap()).collect());
        let record = record(1, "github", &json!({"conclusion": "failure", "branch": "main"}));
        for (conditions, expected) in [
            (&[][..], true),
            (&["conclusion=success", "conclusion=failure"], true),
            (&["conclusion=success", "branch=main", "conclusion=failure"], true),
            (&["conclusion=success", "branch=main"], false),
            (&["conclusion!=success", "conclusion!=failure"], false),
            (&["conclusion=failure", "conclusion!=failure"], false),
            (&["conclusion~s", "conclusion~f"], false),
        ] {
            assert_eq!(conjunction(conditions).holds(&record), expected, "{conditions:?}");
        }
        let known = |key: &str| (key == "source").then_some("deploy");
        assert!(conjunction(&["conclusion=success"]).could_hold(known));
        assert!(!conjunction(&["conclusion=success", "source=github"]).could_hold(known));
    }

    #[test]
    fn a_regular_expression_that_would_need_much_memory_is_refused() {
        let error = Condition::parse("a~(?:(?:\\w{100}){100}){100}").unwrap_err();
        assert!(error.problem.contains("size limit"), "{error}");
    }

    #[test]
    fn a_double_equals_an_integer_only_if_it_is_that_integer() {
        let equal = |a: &str, b: &str| {
            let (a, b): (Number, Number) = (serde_json::from_str(a).unwrap(), serde_json::from_str(b).unwrap());
            assert_eq!(compare(&a, &b) == Some(Ordering::Equal), number_key(&a) == number_key(&b), "{a} {b}");
            compare(&a, &b)
        };
        assert_eq!(equal("9007199254740993", "9007199254740992.0"), Some(Ordering::Greater));
        assert_eq!(equal("9007199254740992", "9007199254740992.0"), Some(Ordering::Equal));
        assert_eq!(equal("-3", "-3.5"), Some(Ordering::Greater));
        assert_eq!(equal("3.5", "3"), Some(Ordering::Greater));
        assert_eq!(equal("1e300", "18446744073709551615"), Some(Ordering::Greater));
        assert_eq!(equal("-0.0", "0"), Some(Ordering::Equal));
        assert_eq!(equal("1e300", "1e300"), Some(Ordering::Equal));
    }

    proptest! {
        #[test]
        fn equal_scalars_and_only_those_share_a_key(
            a in prop_oneof!["[ab]?".prop_map(|t| json!(t)), (0..3i64).prop_map(|n| json!(n)), (0..3i32).prop_map(|n| json!(f64::from(n) / 2.0)), any::<bool>().prop_map(|f| json!(f)), Just(json!(null))],
            b in prop_oneof!["[ab]?".prop_map(|t| json!(t)), (0..3i64).prop_map(|n| json!(n)), (0..3i32).prop_map(|n| json!(f64::from(n) / 2.0)), any::<bool>().prop_map(|f| json!(f)), Just(json!(null))],
        ) {
            prop_assert_eq!(equal(Found::Json(&a), &b), equality_key(Found::Json(&a)) == equality_key(Found::Json(&b)));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            if let Ok(condition) = Condition::parse(&text) {
                let _either = condition.holds(&record(1, "x", &json!({"a": 1})));
            }
        }

        #[test]
        fn every_json_value_is_equal_to_itself(n in any::<i64>(), text in ".{0,20}", flag in any::<bool>()) {
            for value in [json!(n), json!(text), json!(flag), json!([n, text]), json!({"k": text})] {
                let condition = Condition::parse(&format!("v={value}")).unwrap();
                let record = record(1, "x", &json!({"v": value}));
                prop_assert!(condition.holds(&record));
            }
        }
    }
}
