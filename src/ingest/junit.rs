//! A JUnit report, as nearly every test runner can write one: how many tests there were, and which of them failed.
//!
//! The `testcase` elements are counted, whatever the totals of their suites say, because those disagree between test
//! runners. No entity is looked up and no document type is read: a reference that XML itself does not define stays as
//! it is written.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};

use crate::model::limits::{MAX_FAILING_TESTS, MAX_JUNIT_DEPTH, MAX_TEST_NAME_CHARS};
use crate::model::text::one_line;

/// What a report says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tests that did what they should.
    pub passed: u64,
    /// Tests that found something wrong.
    pub failed: u64,
    /// Tests that broke themselves.
    pub errors: u64,
    /// Tests that did not run.
    pub skipped: u64,
    /// The names of the failed and the broken, in the order of the report, as many as an event takes.
    pub failing: Vec<String>,
}

impl Report {
    /// How many tests there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.passed + self.failed + self.errors + self.skipped
    }

    fn count(&mut self, case: Case) {
        *match case.outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Failed => &mut self.failed,
            Outcome::Error => &mut self.errors,
        } += 1;
        if case.outcome >= Outcome::Failed && self.failing.len() < MAX_FAILING_TESTS {
            self.failing.push(case.name);
        }
    }
}

/// The text is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReport {
    /// It is no text.
    #[error("it is not UTF-8")]
    NotText,
    /// It is no XML, or only the beginning of it.
    #[error("it is not XML: {0}")]
    NotXml(String),
    /// It is XML of another kind.
    #[error("it is not a JUnit report: its root is `{0}`, not `testsuites` or `testsuite`")]
    AnotherKind(String),
    /// It is nested too deeply.
    #[error("its elements are nested more than {MAX_JUNIT_DEPTH} deep")]
    TooDeep,
}

/// A test that has been opened and not closed yet.
struct Case {
    name: String,
    /// How deep its children are.
    children: usize,
    outcome: Outcome,
}

/// From good to bad: a test that says two of them is the worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Passed,
    Skipped,
    Failed,
    Error,
}

/// Reads a report.
pub fn read(bytes: &[u8]) -> Result<Report, BadReport> {
    let text = std::str::from_utf8(bytes).map_err(|_| BadReport::NotText)?;
    let mut xml = Reader::from_str(text);
    // An element without content is one that ends at once.
    xml.config_mut().expand_empty_elements = true;
    let mut report = Report::default();
    let mut case: Option<Case> = None;
    let (mut depth, mut has_root) = (0, false);
    loop {
        match xml.read_event().map_err(|error| BadReport::NotXml(one_line(&error.to_string())))? {
            Event::Start(element) => {
                let name = element.local_name();
                if depth == 0 {
                    is_root(name.as_ref())?;
                    has_root = true;
                }
                depth += 1;
                if depth > MAX_JUNIT_DEPTH {
                    return Err(BadReport::TooDeep);
                }
                match &mut case {
                    None if name.as_ref() == "testcase" => {
                        case = Some(Case { name: test_name(&element), children: depth + 1, outcome: Outcome::Passed });
                    }
                    Some(case) if case.children == depth => case.outcome = case.outcome.max(outcome(name.as_ref())),
                    _ => {}
                }
            }
            Event::End(_) => {
                if let Some(ended) = case.take_if(|case| case.children == depth + 1) {
                    report.count(ended);
                }
                depth = depth.saturating_sub(1);
            }
            Event::Eof if depth > 0 || !has_root => return Err(BadReport::NotXml("it ends too early".into())),
            Event::Eof => return Ok(report),
            _ => {}
        }
    }
}

fn is_root(name: &str) -> Result<(), BadReport> {
    match name {
        "testsuites" | "testsuite" => Ok(()),
        other => Err(BadReport::AnotherKind(one_line(other))),
    }
}

fn outcome(child: &str) -> Outcome {
    match child {
        "failure" => Outcome::Failed,
        "error" => Outcome::Error,
        "skipped" => Outcome::Skipped,
        _ => Outcome::Passed,
    }
}

/// `classname::name`, of what there is.
fn test_name(element: &BytesStart<'_>) -> String {
    let (mut class, mut name) = (String::new(), String::new());
    // Without a look for duplicates, which takes ever longer the more attributes there are.
    for attribute in element.attributes().with_checks(false).flatten() {
        let value = || {
            let normal = attribute.normalized_value(XmlVersion::Implicit1_0);
            normal.map_or_else(|_| attribute.value.clone().into_owned(), std::borrow::Cow::into_owned)
        };
        match attribute.key.as_ref() {
            "classname" => class = value(),
            "name" => name = value(),
            _ => {}
        }
    }
    let whole = if class.is_empty() { name } else { format!("{class}::{name}") };
    cut(&one_line(&whole))
}

fn cut(name: &str) -> String {
    if name.chars().count() <= MAX_TEST_NAME_CHARS {
        return name.to_owned();
    }
    name.chars().take(MAX_TEST_NAME_CHARS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_tests_of_all_suites_are_counted_and_the_failing_ones_named() {
        // As pytest, surefire and gotestsum write them: nested suites, totals that leave something out, an escaped
        // name, output with markup in it, a test that both failed and broke.
        let report = read(
            br#"<?xml version="1.0" encoding="utf-8"?>
            <!DOCTYPE testsuites [<!ENTITY x SYSTEM "file:///etc/passwd">]>
            <testsuites tests="1"><properties/><testsuite name="s" failures="0">
              <testcase classname="a.b" name="good" time="0.1"/>
              <testcase classname="a.b" name="bad[1&lt;2]"><failure message="m">at &x; line</failure></testcase>
              <testsuite><testcase name="&x;"><error/><system-out><![CDATA[<failure/>]]></system-out></testcase></testsuite>
              <testcase classname="c" name="both"><failure/><error/></testcase>
              <testcase name="later"><skipped/></testcase>
              <testcase name="output"><system-out><failure/><error/></system-out></testcase>
            </testsuite></testsuites>"#,
        )
        .unwrap();
        assert_eq!((report.passed, report.failed, report.errors, report.skipped, report.total()), (2, 1, 2, 1, 6));
        assert_eq!(report.failing, ["a.b::bad[1<2]", "&x;", "c::both"]);
    }

    #[test]
    fn what_is_no_report_is_refused_with_its_reason() {
        let refused = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(refused("").contains("too early"));
        assert!(refused("no XML at all").contains("too early"));
        assert!(refused("<testsuites><testsuite>").contains("too early"));
        assert!(refused("<testsuite><testcase></testsuite>").contains("not XML"));
        assert!(refused("<html/>").contains("`html`"));
        assert!(refused("<testsuite/><b\u{1b}[31m/>").contains("`b`"));
        assert!(refused(&"<testsuite>".repeat(MAX_JUNIT_DEPTH + 1)).contains("deep"));
        assert_eq!(read(b"<testsuite>\xff</testsuite>"), Err(BadReport::NotText));
    }

    #[test]
    fn names_are_clean_and_bounded_in_length_and_number() {
        let case = format!("<testcase name=\"&#27;[31m{}\"><failure/></testcase>", "x".repeat(1_000));
        let report = read(format!("<testsuite>{}</testsuite>", case.repeat(MAX_FAILING_TESTS + 1)).as_bytes()).unwrap();
        assert_eq!((report.failed, report.failing.len()), (MAX_FAILING_TESTS as u64 + 1, MAX_FAILING_TESTS));
        assert!(report.failing[0].starts_with("xx") && report.failing[0].ends_with('…'));
        assert_eq!(report.failing[0].chars().count(), MAX_TEST_NAME_CHARS);
    }

    #[test]
    fn a_tag_with_very_many_attributes_is_read_in_no_time() {
        // Looking for duplicates takes ever longer: this would take hours.
        let many = (0..300_000).map(|n| format!("a{n}=''")).collect::<Vec<_>>().join(" ");
        let report = read(format!("<testsuite><testcase {many} name=\"t\"/></testsuite>").as_bytes()).unwrap();
        assert_eq!(report.passed, 1);
    }

    proptest! {
        #[test]
        fn whatever_is_read_adds_up_or_is_refused(parts in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "<testsuite>", "</testsuite>", "<testcase name='a'>", "<testcase/>", "</testcase>", "<failure/>", "<error>",
                "</error>", "<skipped/>", "<![CDATA[", "]]>", "<!--", "-->", "&#27;", "&x;", "<!DOCTYPE a [<!ENTITY x 'y'>]>",
            ]).prop_map(str::to_owned),
            ".{0,6}",
        ], 0..40)) {
            match read(format!("<testsuite>{}", parts.concat()).as_bytes()) {
                Ok(report) => {
                    prop_assert_eq!(report.failing.len() as u64, (report.failed + report.errors).min(MAX_FAILING_TESTS as u64));
                    prop_assert!(report.failing.iter().all(|name| one_line(name) == *name));
                }
                Err(problem) => prop_assert!(!problem.to_string().contains(char::is_control)),
            }
        }
    }
}
