//! Resources, their templates and completions, and who is told that they have changed.

use serde_json::{Value, json};

use super::{Client, STATELESS, fields, in_both_lifecycles, inside, subscribers};
use crate::harness::{Bus, Process, lock_holder, works};

/// The most fenced text that is told at once.
const WHOLE: usize = 65_536;

#[track_caller]
fn read(client: &mut Client, uri: &str) -> Value {
    let answer = client.ask("resources/read", json!({"uri": uri}));
    let contents = &answer["result"]["contents"][0];
    assert_eq!((&contents["uri"], &contents["mimeType"]), (&json!(uri), &json!("application/json")), "{answer}");
    serde_json::from_str(contents["text"].as_str().unwrap()).unwrap()
}

fn emit_payload(bus: &Bus, payload: &str) -> String {
    let path = bus.root().join("payload");
    std::fs::write(&path, payload).unwrap();
    bus.ok(&["emit", "--source", "t", "--type", "x", "--payload", &format!("@{}", path.display())])
}

#[test]
fn what_has_just_happened_is_read_oldest_first_with_the_cursor_of_now() {
    in_both_lifecycles(&[], |bus, client| {
        assert_eq!(read(client, "waitbus://current"), json!({"cursor": "0".repeat(26), "events": []}));
        bus.emit_batch("t", 0..25);
        let now = read(client, "waitbus://current");
        let numbers: Vec<_> =
            now["events"].as_array().unwrap().iter().map(|event| fields(event)["n"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (5..25).collect::<Vec<_>>(), "the newest twenty, and not the oldest");
        assert_eq!(now["cursor"], now["events"][19]["event_id"]);
        bus.ok(&["emit", "--source", "t", "--type", "x", "--repo", "octo/hello"]);
        assert_eq!(read(client, "waitbus://repo/octo/hello")["events"].as_array().unwrap().len(), 1);
        assert_eq!(read(client, "waitbus://repo/octo/other")["events"], json!([]));
    });
}

#[test]
fn listed_are_the_ways_in_and_nothing_names_the_raw_address() {
    in_both_lifecycles(&[], |_, client| {
        let listed = client.ask("resources/list", json!({}))["result"]["resources"].clone();
        assert_eq!(listed[0]["uri"], "waitbus://current");
        let templates = client.ask("resources/templates/list", json!({}))["result"]["resourceTemplates"].clone();
        let uris: Vec<_> = templates.as_array().unwrap().iter().map(|template| &template["uriTemplate"]).collect();
        assert_eq!(uris, ["waitbus://repo/{owner}/{repo}", "waitbus://event/{ulid}", "waitbus://agent/{name}"]);
        assert!(!format!("{listed}{templates}").contains("raw"));
    });
}

/// A payload of exactly the bound was cut.
#[test]
fn a_payload_of_exactly_the_bound_is_whole_and_one_byte_more_is_cut_with_an_address_for_all_of_it() {
    in_both_lifecycles(&[], |bus, client| {
        // The fence, and the quotes of a text that is no JSON.
        let around = "<waitbus-outside>\"\"</waitbus-outside>".len();
        let id = emit_payload(bus, &"x".repeat(WHOLE - around));
        for told in [read(client, &format!("waitbus://event/{id}")), client.call("get_event", json!({"event_id": id}))]
        {
            assert_eq!(told["payload"].as_str().unwrap().len(), WHOLE);
            assert_eq!(told.get("truncated"), None);
        }
        let text = "é".repeat(40_000);
        let id = emit_payload(bus, &text);
        for told in [read(client, &format!("waitbus://event/{id}")), client.call("get_event", json!({"event_id": id}))]
        {
            assert_eq!(told["truncated"], true);
            assert_eq!(told["full_size_bytes"], 80_000 + around);
            let preview = told["fenced_preview"].as_str().unwrap();
            assert!(preview.len() <= WHOLE && preview.len() > WHOLE - 4, "{}", preview.len());
            assert!(preview.ends_with("é</waitbus-outside>"), "no half of a character");
            let raw = told["raw_uri"].as_str().unwrap();
            assert_eq!(raw, format!("waitbus://event/{id}/raw"));
            let all = client.ask("resources/read", json!({"uri": raw}));
            assert_eq!(inside(&all["result"]["contents"][0]["text"]), text);
        }
        let id = emit_payload(bus, &"x".repeat(WHOLE - around + 1));
        let told = client.call("get_event", json!({"event_id": id}));
        assert_eq!((&told["truncated"], &told["full_size_bytes"]), (&json!(true), &json!(WHOLE + 1)));
    });
}

#[test]
fn what_is_not_there_is_said_with_the_code_of_its_revision() {
    for (revision, code) in [("2025-11-25", -32002), (STATELESS, -32602)] {
        let bus = Bus::new();
        let mut client = Client::start(&bus, revision, &[]);
        for uri in ["waitbus://nothing", "waitbus://event/01ARZ3NDEKTSV4RRFFQ69G5FAV", "file:///etc/passwd"] {
            let answer = client.ask("resources/read", json!({"uri": uri}));
            assert_eq!(answer["error"]["code"], code, "{answer}");
            assert!(answer["error"]["message"].as_str().unwrap().contains(uri));
        }
    }
}

#[test]
fn variables_are_completed_from_what_has_happened() {
    in_both_lifecycles(&[], |bus, client| {
        for repo in ["octo/hello", "octo/help", "other/thing"] {
            bus.ok(&["emit", "--source", "t", "--type", "x", "--repo", repo]);
        }
        let id = bus.ok(&["message", "send", "bob", "hi", "--as", "alice", "-q"]);
        let mut complete = |uri: &str, name: &str, value: &str, context: Value| {
            let asked = json!({
                "ref": {"type": "ref/resource", "uri": uri}, "argument": {"name": name, "value": value},
                "context": {"arguments": context},
            });
            client.ask("completion/complete", asked)["result"]["completion"]["values"].clone()
        };
        let repo = "waitbus://repo/{owner}/{repo}";
        assert_eq!(complete(repo, "owner", "o", json!({})), json!(["octo", "other"]));
        assert_eq!(complete(repo, "repo", "hel", json!({"owner": "octo"})), json!(["hello", "help"]));
        assert_eq!(complete(repo, "repo", "", json!({"owner": "other"})), json!(["thing"]));
        assert_eq!(complete("waitbus://agent/{name}", "name", "", json!({})), json!(["alice", "bob"]));
        assert_eq!(complete("waitbus://event/{ulid}", "ulid", &id, json!({})), json!([id]));
        assert_eq!(complete("waitbus://nothing/{x}", "x", "", json!({})), json!([]));
    });
}

#[test]
fn a_subscription_rings_once_for_each_event_also_after_the_death_of_the_hub() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    let (current, repo) = ("waitbus://current", "waitbus://repo/octo/hello");
    for uri in [current, repo, current] {
        let answer = client.ask("resources/subscribe", json!({"uri": uri}));
        assert_eq!(answer["result"], json!({}), "{answer}");
    }
    let event = ["emit", "--source", "t", "--type", "x", "--repo", "octo/hello"];
    bus.ok(&event);
    bus.emit("t", 1);
    let rung = ["a", "b", "c"].map(|_| client.notification("notifications/resources/updated")["uri"].clone());
    assert_eq!(rung.iter().filter(|uri| **uri == current).count(), 2, "{rung:?}");
    assert_eq!(rung.iter().filter(|uri| **uri == repo).count(), 1, "{rung:?}");

    assert_eq!(client.ask("resources/unsubscribe", json!({"uri": current}))["result"], json!({}));
    let hub = lock_holder(&bus.runtime().join("hub.lock")).unwrap();
    assert!(works(&["kill", "-KILL", &hub.to_string()]));
    bus.emit("t", 2);
    bus.ok(&event);
    assert_eq!(client.notification("notifications/resources/updated")["uri"], repo);
    assert_eq!(client.unread(), Vec::<Value>::new());
    let answer = client.ask("resources/subscribe", json!({"uri": "waitbus://nothing"}));
    assert_eq!(answer["error"]["code"], -32002);
}

/// An event that came between the acknowledgement of a stream and its beginning rang for nobody.
#[test]
fn a_listen_stream_rings_once_for_each_event_from_its_acknowledgement_on() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut client = Client::start(&bus, STATELESS, &[]);
    let uris = json!(["waitbus://current", "waitbus://nothing", "waitbus://repo/octo/hello", "waitbus://current"]);
    let stream = client.request(
        "subscriptions/listen",
        json!({"notifications": {"resourceSubscriptions": uris, "toolsListChanged": true}}),
    );
    let accepted = client.notification("notifications/subscriptions/acknowledged");
    let got = json!({"resourceSubscriptions": [uris[0], uris[2], uris[3]]});
    assert_eq!(accepted["notifications"], got);
    for n in 0..3 {
        bus.emit("t", n);
    }
    for _ in 0..3 {
        let rung = client.notification("notifications/resources/updated");
        assert_eq!(rung["uri"], "waitbus://current");
        assert_eq!(rung["_meta"]["io.modelcontextprotocol/subscriptionId"], stream);
    }
    subscribers(&bus, 2);
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": stream}}));
    subscribers(&bus, 0);
    bus.emit("t", 3);
    assert_eq!(client.unread(), Vec::<Value>::new());
    assert_eq!(client.ask("resources/subscribe", json!({"uri": "waitbus://current"}))["error"]["code"], -32601);
}

#[test]
fn a_listen_stream_ends_with_an_answer_when_the_client_leaves() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut client = Client::start(&bus, STATELESS, &[]);
    let asked = json!({"notifications": {"resourceSubscriptions": ["waitbus://current"]}});
    let stream = client.request("subscriptions/listen", asked);
    client.notification("notifications/subscriptions/acknowledged");
    subscribers(&bus, 1);
    let (code, out, _) = client.close();
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((code, &last["id"]), (Some(0), &json!(stream)), "{out}");
}

#[test]
fn a_channel_pushes_what_it_was_asked_for_and_is_announced_only_then() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let plain = Client::bare(&bus, "2025-11-25", &[]);
    let pushed = Client::bare(&bus, "2025-11-25", &["--channel", "conclusion=failure", "source=ci"]);
    let [mut plain, mut pushed] = [plain, pushed].map(|mut client| {
        let asked =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
        let answer = client.ask("initialize", asked);
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        (client, answer["result"]["capabilities"]["experimental"].clone())
    });
    assert_eq!((&plain.1, &pushed.1), (&Value::Null, &json!({"claude/channel": {}})));
    subscribers(&bus, 1);
    for (source, conclusion) in [("ci", "success"), ("other", "failure"), ("ci", "failure")] {
        bus.ok(&["emit", "--source", source, "--type", "x", "--conclusion", conclusion, "--summary", "a <b> c"]);
    }
    let told = pushed.0.notification("notifications/claude/channel");
    assert_eq!((&told["meta"]["source"], &told["meta"]["conclusion"]), (&json!("ci"), &json!("failure")));
    assert!(told["meta"].as_object().unwrap().values().all(Value::is_string), "{told}");
    let content = told["content"].as_str().unwrap();
    assert!(content.ends_with("<waitbus-outside>\"a \\u003cb\\u003e c\"</waitbus-outside>"), "{content}");
    assert_eq!(pushed.0.unread(), Vec::<Value>::new());
    assert_eq!(plain.0.unread(), Vec::<Value>::new());
    assert_eq!(bus.run(&["mcp", "--channel", "nonsense"]).status.code(), Some(2));
}

/// A subscription that had ended was taken for one that goes on: whoever subscribed again was told that all is well, and
/// never heard anything.
#[test]
fn a_subscription_that_has_ended_can_be_renewed() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut client = Client::new(&bus);
    let current = json!({"uri": "waitbus://current"});
    assert_eq!(client.ask("resources/subscribe", current.clone())["result"], json!({}));
    // It finds a hub of another log where its own was, which is for good.
    client.process.signal("STOP");
    hub.stop();
    let mut other = bus.command(&["hub"]);
    other.env("WAITBUS_STATE_DIR", bus.root().join("other"));
    let mut other = Process::start(other);
    other.ready();
    client.process.signal("CONT");
    client.process.said("a subscription has ended");
    assert!(client.ask("resources/subscribe", current.clone()).get("error").is_some(), "it is there still");
    other.stop();
    let _hub = bus.hub();
    assert_eq!(client.ask("resources/subscribe", current)["result"], json!({}));
    bus.emit("t", 1);
    assert_eq!(client.notification("notifications/resources/updated")["uri"], "waitbus://current");
}

/// A subscription was made when it had been revoked already, and stayed.
#[test]
fn a_subscription_that_is_revoked_before_it_is_made_is_none() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut client = Client::new(&bus);
    let uri = json!({"uri": "waitbus://repo/octo/hello"});
    let line = |id: &str, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": uri});
    let (begun, ended) = (line("a", "resources/subscribe"), line("b", "resources/unsubscribe"));
    client.send_line(format!("{begun}\n{ended}").as_bytes());
    for id in ["a", "b"] {
        assert_eq!(client.first(|message| message["id"] == id)["result"], json!({}));
    }
    client.ask("resources/subscribe", json!({"uri": "waitbus://current"}));
    bus.ok(&["emit", "--source", "t", "--type", "x", "--repo", "octo/hello"]);
    bus.emit("t", 1);
    for _ in 0..2 {
        assert_eq!(client.notification("notifications/resources/updated")["uri"], "waitbus://current");
    }
    assert_eq!(client.unread(), Vec::<Value>::new());
    subscribers(&bus, 1);
}

/// Each time that a client said that it was initialized, what happened was pushed once more.
#[test]
fn a_channel_pushes_once_however_often_a_client_begins() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut client = Client::start(&bus, "2025-11-25", &["--channel", "source=ci"]);
    for _ in 0..2 {
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }
    client.mark();
    subscribers(&bus, 1);
    bus.emit("ci", 1);
    client.notification("notifications/claude/channel");
    assert_eq!(client.unread(), Vec::<Value>::new());
}

/// The revision without a handshake has no session into which something could be pushed, and was promised pushes.
#[test]
fn a_channel_is_announced_only_where_it_pushes() {
    let bus = Bus::new();
    let mut client = Client::bare(&bus, STATELESS, &["--channel"]);
    for _ in 0..2 {
        let found = client.ask("server/discover", json!({}));
        assert!(found["result"]["capabilities"]["tools"].is_object(), "{found}");
        assert_eq!(found["result"]["capabilities"].get("experimental"), None, "{found}");
        client.mark();
    }
}
