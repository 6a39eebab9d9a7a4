//! The tools that do not wait, and what all of them refuse.

use serde_json::{Value, json};

use super::{Client, fields, in_both_lifecycles, inside};
use crate::harness::Bus;

#[test]
fn what_is_emitted_is_stored_once_and_can_be_got_back() {
    in_both_lifecycles(&[], |bus, client| {
        let event = json!({
            "source": "deploy", "type": "finished", "repo": "octo/hello", "fields": {"env": "prod", "n": 1.5},
            "status": "completed", "conclusion": "success", "summary": "out", "id": "d1",
        });
        let told = client.call("emit_event", event.clone());
        assert_eq!(told["duplicate"], false);
        assert_eq!(client.call("emit_event", event)["duplicate"], true);
        let got = client.call("get_event", json!({"event_id": told["event_id"]}));
        assert_eq!(got["event"]["event_id"], told["event_id"]);
        assert_eq!((&got["event"]["status"], &got["event"]["conclusion"]), (&json!("completed"), &json!("success")));
        assert_eq!(got["payload"], Value::Null);
        let data = inside(&got["event"]["data"]);
        assert_eq!(
            (&data["summary"], &data["owner"], &data["delivery_id"]),
            (&json!("out"), &json!("octo"), &json!("d1"))
        );
        assert_eq!((&data["fields"]["env"], &data["fields"]["n"]), (&json!("prod"), &json!(1.5)));
        let by_cli = bus.ok(&["emit", "--source", "x", "--type", "y", "--payload", "{\"a\": [1]}"]);
        assert_eq!(inside(&client.call("get_event", json!({"event_id": by_cli}))["payload"]), json!({"a": [1]}));
        // A row that a list told of as unreadable was said not to be there.
        let columns =
            "(source, event_type, event_id, fields) VALUES ('x', 'y', '01ARZ3NDEKTSV4RRFFQ69G5FAW', 'no JSON')";
        let log = rusqlite::Connection::open(bus.database()).unwrap();
        log.execute_batch(&format!("INSERT INTO events {columns}")).unwrap();
        let told = client.refusal("get_event", json!({"event_id": "01ARZ3NDEKTSV4RRFFQ69G5FAW"}));
        assert!(told.starts_with("event_id: ") && told.contains("cannot be read"), "{told}");
        let nobody = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert!(client.refusal("get_event", json!({"event_id": nobody})).contains("no event"));
    });
}

#[test]
fn a_list_is_read_page_by_page_and_from_now_on_if_nobody_says_otherwise() {
    in_both_lifecycles(&[], |bus, client| {
        let nothing = client.call("list_events", json!({}));
        assert_eq!((&nothing["events"], &nothing["more"]), (&json!([]), &json!(false)));
        bus.emit_batch("t", 0..7);
        bus.emit("other", 1);
        let (mut cursor, mut seen, mut pages) = (nothing["cursor"].clone(), Vec::new(), 0);
        loop {
            let page = client.call("list_events", json!({"after": cursor, "limit": 3, "source": ["t"]}));
            seen.extend(page["events"].as_array().unwrap().iter().map(|event| fields(event)["n"].as_u64().unwrap()));
            (cursor, pages) = (page["cursor"].clone(), pages + 1);
            if page["more"] == false {
                break;
            }
        }
        assert_eq!((seen, pages), ((0..7).collect(), 3));
        assert_eq!(client.call("list_events", json!({"since": "1h"}))["events"].as_array().unwrap().len(), 8);
        assert_eq!(client.call("list_events", json!({}))["events"], json!([]));
        let some = client.call("list_events", json!({"since": "1h", "match": ["n>=5"], "type": ["finished"]}));
        assert_eq!(some["events"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn a_bad_argument_is_named_with_what_is_allowed_and_is_no_error_of_the_protocol() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    for (tool, arguments, sentence) in [
        ("wait_for_event", json!({}), "wait for what?"),
        ("wait_for_event", json!({"none_of": ["a:b=1"]}), "none_of alone could only fail"),
        ("wait_for_event", json!({"source": 1}), "source: must be a list of strings, not a number"),
        (
            "wait_for_event",
            json!({"source": [1]}),
            "source: must be a list of strings, and one of its items is a number",
        ),
        ("wait_for_event", json!({"match": ["nonsense"]}), "match: \"nonsense\""),
        ("wait_for_event", json!({"where": "a ="}), "where: "),
        ("wait_for_event", json!({"repo": ["x"]}), "repo: "),
        ("wait_for_event", json!({"all_of": ["x"]}), "all_of \"x\""),
        (
            "wait_for_event",
            json!({"source": "a", "all_of": ["a:b=1"]}),
            "source, type, match or where and all_of are different",
        ),
        ("wait_for_event", json!({"source": "a", "sha": "1234567"}), "sha are different questions"),
        ("wait_for_event", json!({"sha": "xyz"}), "sha: "),
        ("wait_for_event", json!({"source": "a", "after": "x"}), "after: not an event id"),
        ("wait_for_event", json!({"source": "a", "since": "soon"}), "since: \"soon\" is no point in time"),
        (
            "wait_for_event",
            json!({"source": "a", "max_wait_seconds": -1}),
            "max_wait_seconds: must be a whole number from 0 to 3600",
        ),
        (
            "wait_for_event",
            json!({"source": "a", "timeout": 1}),
            "timeout: there is no such argument; there are after, ",
        ),
        ("mark", json!({"x": 1}), "x: this tool takes no arguments"),
        ("list_events", json!({"limit": 0}), "limit: must be a whole number from 1 to 500"),
        ("list_events", json!({"limit": 501}), "limit: "),
        ("get_event", json!({}), "event_id: is missing"),
        ("get_event", json!({"event_id": "x"}), "event_id: not an event id"),
        ("emit_event", json!({"source": "a"}), "type: is missing"),
        ("emit_event", json!({"source": "a b", "type": "c"}), "source: \"a b\" is not a name"),
        ("emit_event", json!({"source": "a", "type": "c", "repo": "x"}), "repo: \"x\": write owner/repo"),
        ("emit_event", json!({"source": "a", "type": "c", "fields": []}), "fields: must be an object, not a list"),
        (
            "emit_event",
            json!({"source": "a", "type": "c", "status": "x", "fields": {"status": 1}}),
            "status: is given twice",
        ),
        ("emit_event", json!({"source": "a", "type": "c", "fields": {"source": 1}}), "fields: `source` belongs"),
        ("send_message", json!({"to": "bob", "body": "x"}), "as: is missing"),
        ("send_message", json!({"as": "me", "body": "x"}), "to: is missing"),
        ("send_message", json!({"as": "me", "to": "a b", "body": "x"}), "to: "),
        ("read_messages", json!({"as": "me", "thread_id": "t"}), "thread_id: "),
    ] {
        let told = client.refusal(tool, arguments.clone());
        assert!(told.contains(sentence), "{tool} {arguments}: {told}");
    }
    let lenient = json!({"source": "a", "max_wait_seconds": 0.0, "where": null});
    assert_eq!(
        client.call("wait_for_event", lenient)["status"],
        "pending",
        "models write numbers and nothing like this"
    );
}

/// What a tool gives is what its schema says: no key is missing, and none has another name.
#[test]
fn what_a_tool_gives_is_what_its_schema_says() {
    let bus = Bus::new();
    let mut client = Client::start(&bus, "2025-11-25", &["--as", "me"]);
    let tools = client.ask("tools/list", json!({}))["result"]["tools"].clone();
    let event = client.call("emit_event", json!({"source": "a", "type": "b"}));
    for (tool, arguments) in [
        ("wait_for_event", json!({"source": "a", "since": "1h"})),
        ("wait_for_event", json!({"source": "z", "max_wait_seconds": 0})),
        ("mark", json!({})),
        ("list_events", json!({"since": "1h"})),
        ("get_event", json!({"event_id": event["event_id"]})),
        ("ci_status", json!({"sha": "1234567"})),
        ("emit_event", json!({"source": "a", "type": "b"})),
        ("send_message", json!({"to": "me", "body": "x"})),
        ("read_messages", json!({})),
    ] {
        let told = client.call(tool, arguments);
        let schema = tools.as_array().unwrap().iter().find(|known| known["name"] == tool).unwrap();
        fits(&told, &schema["outputSchema"], tool);
    }
}

#[track_caller]
fn fits(value: &Value, schema: &Value, place: &str) {
    if let (Value::Object(map), Some(known)) = (value, schema["properties"].as_object()) {
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(map.contains_key(name.as_str().unwrap()), "{place} has no {name}: {value}");
        }
        for (name, item) in map {
            fits(item, known.get(name).unwrap_or_else(|| panic!("{place} has {name}")), &format!("{place}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        fits(item, &schema["items"], place);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = &schema["type"];
    assert!(
        types == kind || types.as_array().is_some_and(|types| types.contains(&json!(kind))),
        "{place}: {value}, {types}"
    );
}
