//! What expressions say, what they may not say, and that none of them is dangerous.

use serde_json::json;

use super::*;
use crate::model::event::tests::record;

fn event() -> Record {
    let fields = json!({
        "conclusion": "success", "run_id": 12, "text": "12", "ok": true, "none": null, "ratio": 0.5,
        "big": u64::MAX, "tags": ["x", "y", 3], "labels": {"a.b/c": "d", "team": {"name": "core"}}, "name": "grüße",
        "empty": [], "long": "x".repeat(100_000),
    });
    record(7, "github", &fields)
}

fn holds(text: &str) -> bool {
    Expression::compile(text).unwrap_or_else(|error| panic!("{error}")).holds(&event())
}

#[test]
fn an_expression_says_what_cel_says_about_the_event_as_it_is_on_the_wire() {
    for (text, expected) in [
        ("true", true),
        ("source == \"github\" && fields.conclusion != \"failure\"", true),
        ("source == 'github' || fields.nothing == 1", true),
        ("fields.nothing == 1 || source == 'github'", true),
        ("fields.nothing == 1 && source == 'github'", false),
        // What is missing is an error, and an error is no match, negated or not.
        ("fields.nothing != 1", false),
        ("!(fields.nothing == 1)", false),
        ("has(fields.run_id) && !has(fields.nothing)", true),
        ("has(fields.labels.team) && !has(fields.labels.nobody)", true),
        ("!has(fields.nothing) || fields.nothing == 1", true),
        ("fields.none == null && has(fields.none)", true),
        ("fields.run_id == 12", true),
        ("fields.run_id == 12.0", true),
        ("fields.run_id == \"12\"", false),
        ("fields.text == 12", false),
        ("fields.text == \"12\"", true),
        ("int(fields.text) == fields.run_id", true),
        ("string(fields.run_id) == fields.text", true),
        ("fields.ok == true", true),
        ("fields.ok", true),
        ("fields.ok == 1", false),
        ("fields.run_id", false),
        ("\"true\"", false),
        ("fields.run_id > 11 && fields.run_id <= 12", true),
        ("fields.run_id > 11.5", true),
        ("fields.ratio * 2.0 == 1.0", true),
        ("fields.run_id % 5 == 2", true),
        ("fields.run_id / 0 == 1", false),
        ("9223372036854775807 + fields.run_id > 0", false),
        ("fields.big == 18446744073709551615u", true),
        ("fields.big > 0", true),
        ("fields.conclusion in [\"success\", \"neutral\"]", true),
        ("fields.conclusion in [\"failure\"]", false),
        ("\"y\" in fields.tags && 3 in fields.tags && !(\"z\" in fields.tags)", true),
        ("\"run_id\" in fields && !(\"nothing\" in fields)", true),
        ("fields.tags[1] == \"y\"", true),
        ("fields.tags[9] == \"y\"", false),
        ("fields.tags[-1] == \"y\"", false),
        ("fields[\"run_id\"] == 12", true),
        ("fields.labels[\"a.b/c\"] == \"d\" && fields.labels.team.name == \"core\"", true),
        ("size(fields.tags) == 3 && fields.tags.size() == 3 && size(fields.empty) == 0", true),
        ("size(fields.name) == 5", true),
        ("fields.conclusion.startsWith(\"suc\") && fields.conclusion.endsWith(\"ess\")", true),
        ("summary.contains(\"event 7\")", true),
        ("owner + \"/\" + repo == \"octo/hello\"", true),
        ("event_type == \"finished\" && delivery_id == \"d7\"", true),
        ("received_at == 7000000", true),
        ("event_id == \"00000000070000000000000000\"", true),
        ("fields.source == \"github\" && fields.ingest_method == \"emit\"", true),
        ("payload.a.b[0] == 10 && payload.a.b[1].c == \"deep\"", true),
        ("payload.a.nothing == 1", false),
        ("fields.ok ? source == \"github\" : false", true),
        ("1 in {1: 2}", true),
        // Lists and objects are not compared, whichever way round.
        ("fields.tags == fields.tags", false),
        ("fields.tags != fields.labels", false),
        ("!(fields.tags == fields.tags)", false),
        ("fields.labels in [1]", false),
    ] {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn an_expression_that_may_not_run_is_refused_where_it_is_wrong_and_with_what_to_do() {
    for (text, column, told) in [
        ("", 1, "expected"),
        ("  ", 1, "expected"),
        ("sorce == \"github\"", 1, "did you mean `source`?"),
        ("source == \"x\" && conclusion == \"success\"", 18, "fields.conclusion"),
        ("source = \"x\"", 8, "equality is `==`"),
        ("source == \"x\" and true", 15, "write `&&`"),
        ("source == \"x\" or true", 15, "write `||`"),
        ("fields.tags.all(x, x == 1)", 16, "`all` is refused"),
        ("fields.tags.exists(x, true)", 19, "`exists` is refused"),
        ("[1].map(x, x)", 8, "`map` is refused"),
        ("[1].filter(x, true)", 11, "`filter` is refused"),
        ("fields.tags.exists_one(x, true)", 23, "`exists_one` is refused"),
        ("summary.matches(\"a+\")", 16, "KEY~REGEX"),
        ("summary.startwith(\"a\")", 18, "did you mean `startsWith`?"),
        ("duration(\"1s\") == 1", 9, "no function `duration`"),
        ("fields.tags == [1]", 13, "compare their elements"),
        ("grüße == 1", 3, "not an expression"),
        ("true &&\n  sorce == 1", 11, "did you mean `source`?"),
        ("b\"x\" == b\"x\"", 1, "no bytes"),
        ("Foo{a: 1} == 1", 4, "no messages"),
        ("fields.?a == 1", 1, ""),
        ("has(source)", 5, "`has` asks for a field"),
        ("(", 2, "not an expression"),
        ("\"", 1, "not an expression"),
    ] {
        let error = Expression::compile(text).expect_err(text);
        assert!(error.problem.contains(told), "{text}: {error}");
        if !told.is_empty() {
            assert_eq!(error.column, column, "{text}: {error}");
        }
        assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
    }
}

/// Forms that grow with their length: each is refused with a bound's own words, or evaluated, and no stack is too small
/// for it.
#[test]
fn an_expression_that_is_large_or_deep_is_refused_or_harmless() {
    let record = event();
    for (before, middle, after) in [
        ("(", "true", ")"),
        ("[", "1", "]"),
        ("!(", "true", ")"),
        ("-(", "1", ")"),
        ("!", "true", ""),
        ("-", "1", ""),
        ("{1:", "1", "}"),
        ("size(", "\"x\"", ")"),
        ("true ? true : ", "true", ""),
        ("true ? ", "true", " : true"),
        ("fields.", "run_id", ""),
        ("fields[", "1", "]"),
        ("1 + ", "1", ""),
        ("summary + ", "summary", ""),
        ("1 < ", "1", ""),
        ("true && ", "true", ""),
        ("false || ", "true", ""),
        ("1 in ", "[1]", ""),
        ("source.contains(", "source", ")"),
        ("[1].all(x, ", "true", ")"),
        ("?:[({", "", ""),
        ("\"", "", ""),
        ("a.b.c().d[", "", ""),
    ] {
        for copies in [1, 10, 31, 60, 200, 500, 1_000, 40_000] {
            let text = format!("{}{middle}{}", before.repeat(copies), after.repeat(copies));
            if let Ok(expression) = Expression::compile(&text) {
                assert!(text.len() <= limits::MAX_EXPRESSION_BYTES);
                expression.evaluate(&record).unwrap();
            }
        }
    }
}

#[test]
fn an_evaluation_looks_at_a_bounded_amount_of_text() {
    let large = json!({"text": "x".repeat(limits::MAX_PAYLOAD_BYTES - 100)}).to_string();
    let record = Record::new(event().seq, event().event, Some(large));
    let once = "payload.text.contains(\"y\")";
    assert!(Expression::compile(&format!("!{once}")).unwrap().holds(&record), "one large payload can be searched");
    let often = vec![format!("!{once}"); 40].join(" && ");
    assert!(!Expression::compile(&often).unwrap().holds(&record), "but not again and again");
    let usual = vec!["!fields.long.contains(\"y\")"; 40].join(" && ");
    assert!(Expression::compile(&usual).unwrap().holds(&record));
}

#[test]
fn what_an_expression_is_about_is_known() {
    let expression = Expression::compile(
        "source == \"docker\" && (fields.exit_code != 0 || \"die\" == event_type) && repo != \"x\"",
    );
    let expression = expression.unwrap();
    assert_eq!(expression.fields().collect::<Vec<_>>(), ["exit_code"]);
    assert_eq!(expression.values_of("source").collect::<Vec<_>>(), ["docker"]);
    assert_eq!(expression.values_of("event_type").collect::<Vec<_>>(), ["die"]);
    assert!(!expression.reads_payload() && Expression::compile("payload.x == 1").unwrap().reads_payload());
}
