//! Who reads what: the filter of a server, and the one without tools that write.

use serde_json::{Value, json};

use super::{Client, STATELESS, in_both_lifecycles};
use crate::harness::Bus;

#[test]
fn what_is_outside_of_the_filter_is_not_there() {
    in_both_lifecycles(&["--source", "a", "--repo", "octo/*"], |bus, client| {
        let emit = |source: &str, repo: &str| bus.ok(&["emit", "--source", source, "--type", "x", "--repo", repo]);
        let after = client.mark();
        let wait = client.begin("wait_for_event", json!({"type": "x", "after": after}));
        let (foreign, other) = (emit("b", "octo/hello"), emit("a", "other/hello"));
        let shown = emit("a", "octo/hello");
        assert_eq!(client.result(wait)["event"]["event_id"], *shown);
        let listed = client.call("list_events", json!({"since": "1h"}));
        assert_eq!(listed["events"].as_array().unwrap().len(), 1);
        let current = client.ask("resources/read", json!({"uri": "waitbus://current"})).to_string();
        assert!(current.contains(&shown) && !current.contains(&foreign) && !current.contains(&other), "{current}");
        for hidden in [&foreign, &other] {
            assert!(client.refusal("get_event", json!({"event_id": hidden})).contains("no event"));
            for uri in [format!("waitbus://event/{hidden}"), format!("waitbus://event/{hidden}/raw")] {
                assert!(client.ask("resources/read", json!({"uri": uri})).get("error").is_some());
            }
        }
        assert!(client.ask("resources/read", json!({"uri": "waitbus://repo/other/hello"})).get("error").is_some());
        for asked in [
            json!({"source": "b"}),
            json!({"match": ["source=b"]}),
            json!({"match": ["source=a", "source=b"], "where": "source == \"b\""}),
            json!({"all_of": ["b:x=1"]}),
            // It was taken, and answered as if nothing that is forbidden had happened.
            json!({"source": "a", "none_of": ["b:x=1"]}),
            json!({"source": "a", "repo": "other/hello"}),
            json!({"sha": "1234567"}),
        ] {
            let told = client.refusal("wait_for_event", asked.clone());
            assert!(told.contains("this server shows no events of"), "{asked}: {told}");
        }
        for (asked, argument) in [
            (json!({"match": "source=b"}), "match: "),
            (json!({"where": "source == \"b\""}), "where: "),
            (json!({"source": "a", "none_of": ["b:x=1"]}), "none_of: "),
        ] {
            let told = client.refusal("wait_for_event", asked);
            assert!(told.starts_with(argument), "{told}");
        }
    });
}

/// That a source outside had died or saw nothing was told to whoever asked for no source in particular.
#[test]
fn of_sources_outside_of_the_filter_nothing_is_told() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut client = Client::start(&bus, "2025-11-25", &["--source", "a"]);
    let mut watcher = bus.subscribe(&json!({}));
    let mut sources: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|source| {
            let match_ = [format!("source={source}"), "event_id=null".to_owned()];
            let mut subscriber = bus.subscribe(&json!({"match": match_, "announce": {"source": source}}));
            let silent = json!({"kind": "health", "state": "silent", "reason": format!("{source} sees nothing")});
            subscriber.send(silent.to_string().as_bytes());
            while watcher.frame()["state"] != "silent" {}
            subscriber
        })
        .collect();
    let told = client.call("wait_for_event", json!({"type": "x", "max_wait_seconds": 0, "since": "1h"}));
    let told = client.call("wait_for_event", json!({"type": "x", "max_wait_seconds": 1, "after": told["cursor"]}));
    assert!(told["notes"].to_string().contains("a sees nothing"), "{told}");
    assert!(!told["notes"].to_string().contains("source b"), "{told}");
    drop(sources.pop());
    while watcher.frame()["state"] != "dead" {}
    let asked = json!({"match": ["source=a", "source=b"], "where": "source != \"a\"", "max_wait_seconds": 1});
    assert_eq!(client.call("wait_for_event", asked)["status"], "pending");
}

/// A name that no source can have was taken, and the server showed nothing for ever.
#[test]
fn a_filter_that_nothing_could_pass_is_refused() {
    let bus = Bus::new();
    for name in ["", "git hub"] {
        let ended = bus.run(&["mcp", "--source", name]);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains("--source") && said.contains("is not a name"), "{said}");
    }
}

/// Somebody else's event does not end a wait for a state either: it is judged on what is shown.
#[test]
fn a_question_about_a_state_sees_nothing_but_what_is_shown() {
    let bus = Bus::new();
    let mut client = Client::start(&bus, "2025-11-25", &["--repo", "octo/hello"]);
    let emit = |repo: &str, n: &str| bus.ok(&["emit", "--source", "a", "--type", "x", "--repo", repo, "--field", n]);
    emit("octo/hello", "n=1");
    emit("octo/other", "n=2");
    let told = client.call("wait_for_event", json!({"all_of": ["a:n=1"], "since": "1h", "max_wait_seconds": 0}));
    assert_eq!(told["status"], "matched", "{told}");
}

#[test]
fn a_subscription_rings_for_nothing_that_is_outside() {
    let bus = Bus::new();
    let mut client = Client::start(&bus, "2025-11-25", &["--repo", "octo/hello"]);
    client.ask("resources/subscribe", json!({"uri": "waitbus://current"}));
    bus.ok(&["emit", "--source", "a", "--type", "x", "--repo", "octo/other"]);
    let shown = bus.ok(&["emit", "--source", "a", "--type", "x", "--repo", "octo/hello"]);
    client.notification("notifications/resources/updated");
    let told = client.call("wait_for_event", json!({"type": "x", "since": "1h", "max_wait_seconds": 0}));
    assert_eq!(told["event"]["event_id"], *shown);
    assert_eq!(client.unread(), Vec::<Value>::new());
}

#[test]
fn a_server_that_only_reads_has_no_tool_that_writes() {
    for revision in ["2025-11-25", STATELESS] {
        let bus = Bus::new();
        let mut client = Client::start(&bus, revision, &["--read-only"]);
        let tools = client.ask("tools/list", json!({}))["result"]["tools"].clone();
        for tool in tools.as_array().unwrap() {
            assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        }
        for (name, arguments) in [
            ("emit_event", json!({"source": "a", "type": "b"})),
            ("send_message", json!({"as": "me", "to": "you", "body": "x"})),
            ("read_messages", json!({"as": "me"})),
        ] {
            let answer = client.ask("tools/call", json!({"name": name, "arguments": arguments}));
            assert!(answer["error"]["message"].as_str().unwrap().contains("--read-only"), "{answer}");
        }
        assert_eq!(client.mark(), "0".repeat(26), "nothing was written");
    }
}
