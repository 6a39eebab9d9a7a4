//! The MCP server as the official SDKs see it: each of them is a process of its own, in its own language, that starts
//! the program and does what it is told; and the MCP inspector's command line.
//!
//! `.ci/run` installs them, where `WAITBUS_TEST_VENVS` says; a test whose client is not there skips by name.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Bus, Process, Said, environment, skip, works};
use crate::mcp::{HANDSHAKES, STATELESS, inside, subscribers};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sdk {
    Python1,
    Python2,
    TypeScript1,
    TypeScript2,
}

use Sdk::{Python1, Python2, TypeScript1, TypeScript2};

impl Sdk {
    /// The revisions that it speaks.
    fn revisions(self) -> Vec<&'static str> {
        let newest = matches!(self, Python2 | TypeScript2).then_some(STATELESS);
        HANDSHAKES.into_iter().chain(newest).collect()
    }

    /// Where it is installed, or `None`, said by the name of the test.
    fn installed(self, test: &str) -> Option<PathBuf> {
        let place = match self {
            Python1 => environment("mcp-1").join("bin/python"),
            Python2 => environment("mcp-2").join("bin/python"),
            TypeScript1 | TypeScript2 => environment("mcp-node").join("node_modules"),
        };
        usable(&place, matches!(self, TypeScript1 | TypeScript2), test).then_some(place)
    }
}

fn usable(place: &Path, needs_node: bool, test: &str) -> bool {
    let reason = if !place.exists() {
        format!("there is no {}, which `.ci/run` makes", place.display())
    } else if needs_node && !works(&["node", "--version"]) {
        "node is not installed".to_owned()
    } else {
        return true;
    };
    skip(test, &reason);
    false
}

/// One SDK's client, in a process of its own, with a server of its own.
struct Driver {
    process: Process,
    next: u64,
    /// What has come and nobody has asked for.
    unread: Said,
}

impl Driver {
    /// Starts it; the two have agreed on this revision.
    #[track_caller]
    fn start(bus: &Bus, sdk: Sdk, installed: &Path, revision: &str) -> Driver {
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp/clients");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let words = match sdk {
            Python1 | Python2 => vec![text(installed), "-B".into(), text(&clients.join("python.py")), revision.into()],
            TypeScript1 | TypeScript2 => {
                // Node looks for packages beside the script, and the tree has none.
                let script = bus.root().join("typescript.mjs");
                fs::copy(clients.join("typescript.mjs"), &script).unwrap();
                let _ = std::os::unix::fs::symlink(installed, bus.root().join("node_modules"));
                let package = if sdk == TypeScript1 { "sdk" } else { "client" };
                vec!["node".into(), text(&script), format!("@modelcontextprotocol/{package}"), revision.into()]
            }
        };
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let mut command = bus.wrapped(&words, &["mcp"]);
        command.stdin(Stdio::piped());
        let mut driver = Driver { process: Process::start(command), next: 0, unread: Said::default() };
        assert_eq!(driver.first(|said| said.get("agreed").is_some())["agreed"], revision);
        driver
    }

    /// Gives it a task, and returns the task's number.
    fn begin(&mut self, what: &str, mut task: Value) -> u64 {
        self.next += 1;
        task["id"] = json!(self.next);
        task["do"] = json!(what);
        let stdin = self.process.child.stdin.as_mut().expect("it has not been closed");
        stdin.write_all(format!("{task}\n").as_bytes()).unwrap();
        self.next
    }

    /// The next thing that it says for which this holds; others are kept.
    #[track_caller]
    fn first(&mut self, holds: impl Fn(&Value) -> bool) -> Value {
        self.unread.first(&mut self.process, holds)
    }

    /// How a task ended.
    #[track_caller]
    fn end(&mut self, id: u64) -> Value {
        self.first(|said| said["id"] == id && said.get("progress").is_none())
    }

    /// Does something that has to go well.
    #[track_caller]
    fn ask(&mut self, what: &str, task: Value) -> Value {
        let id = self.begin(what, task);
        let mut end = self.end(id);
        assert!(end.get("result").is_some(), "{what}: {end}");
        end["result"].take()
    }

    /// Does something that has to be refused, and returns the code.
    #[track_caller]
    fn code(&mut self, what: &str, task: Value) -> Value {
        let id = self.begin(what, task);
        let mut end = self.end(id);
        assert!(!end["error"]["message"].as_str().unwrap_or("").is_empty(), "{what}: {end}");
        end["error"]["code"].take()
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.begin("call", json!({"name": tool, "arguments": arguments}))
    }

    /// What a tool has said, which has to be well.
    #[track_caller]
    fn result(&mut self, id: u64) -> Value {
        let end = self.end(id);
        let result = &end["result"];
        assert_eq!(result["isError"], false, "{end}");
        let text: Value = serde_json::from_str(result["content"][1]["text"].as_str().unwrap()).unwrap();
        let [told, structure] = [text.clone(), result["structuredContent"].clone()].map(rounded);
        assert_eq!(told, structure, "the text and the structure say the same");
        text
    }

    #[track_caller]
    fn tool(&mut self, tool: &str, arguments: &Value) -> Value {
        let id = self.call(tool, arguments);
        self.result(id)
    }

    /// Reads a resource, and returns the first of its texts.
    #[track_caller]
    fn read(&mut self, uri: &str) -> String {
        let read = self.ask("read", json!({"uri": uri}));
        assert_eq!(read["contents"][0]["uri"], uri, "{read}");
        read["contents"][0]["text"].as_str().unwrap().to_owned()
    }
}

/// With numbers as JavaScript has them: times in nanoseconds are beyond its whole numbers.
fn rounded(mut value: Value) -> Value {
    match &mut value {
        Value::Number(number) => return json!(number.as_f64()),
        Value::Array(items) => items.iter_mut().for_each(|item| *item = rounded(item.take())),
        Value::Object(map) => map.values_mut().for_each(|item| *item = rounded(item.take())),
        _ => {}
    }
    value
}

/// Does the same in a session of each revision that the SDK speaks.
fn in_each_revision(sdk: Sdk, test: &str, check: impl Fn(&Bus, &mut Driver, &str)) {
    let Some(installed) = sdk.installed(test) else { return };
    for revision in sdk.revisions() {
        let bus = Bus::new();
        let _hub = bus.hub();
        let mut driver = Driver::start(&bus, sdk, &installed, revision);
        check(&bus, &mut driver, revision);
        drop(driver.process.child.stdin.take());
        let (code, _, errors) = driver.process.ending();
        // The SDK itself warns of what the next revision removes.
        let ours: Vec<_> = errors.lines().filter(|line| line.contains("waitbus:")).collect();
        assert_eq!((code, ours), (Some(0), Vec::new()), "{sdk:?} {revision}: {errors}");
        subscribers(&bus, 0);
    }
}

/// Everything that a server offers, as the SDK's own validation takes it.
fn drive(sdk: Sdk, test: &str) {
    in_each_revision(sdk, test, |bus, driver, revision| {
        what_is_offered_is_listed(driver);
        every_tool_answers(bus, driver);
        every_kind_of_resource_is_read(bus, driver, revision == STATELESS || sdk == TypeScript2);
        what_is_wrong_is_refused(driver);
        a_subscription_rings_until_it_ends(bus, driver);
        a_cancelled_wait_is_gone(bus, driver);
    });
}

#[test]
fn the_python_sdk_1_drives_everything_in_each_revision() {
    drive(Python1, "the_python_sdk_1_drives_everything_in_each_revision");
}

#[test]
fn the_python_sdk_2_drives_everything_in_each_revision() {
    drive(Python2, "the_python_sdk_2_drives_everything_in_each_revision");
}

#[test]
fn the_typescript_sdk_1_drives_everything_in_each_revision() {
    drive(TypeScript1, "the_typescript_sdk_1_drives_everything_in_each_revision");
}

#[test]
fn the_typescript_sdk_2_drives_everything_in_each_revision() {
    drive(TypeScript2, "the_typescript_sdk_2_drives_everything_in_each_revision");
}

const TOOLS: [&str; 8] =
    ["wait_for_event", "mark", "list_events", "get_event", "ci_status", "emit_event", "send_message", "read_messages"];

fn what_is_offered_is_listed(driver: &mut Driver) {
    let names = |listed: &Value, of: &str| -> Vec<String> {
        listed.as_array().unwrap().iter().map(|item| item[of].as_str().unwrap().to_owned()).collect()
    };
    // From here on the SDK holds each result against the schema of its tool.
    assert_eq!(names(&driver.ask("tools", json!({}))["tools"], "name"), TOOLS);
    assert_eq!(names(&driver.ask("resources", json!({}))["resources"], "uri"), ["waitbus://current"]);
    assert_eq!(
        names(&driver.ask("templates", json!({}))["resourceTemplates"], "uriTemplate"),
        ["waitbus://repo/{owner}/{repo}", "waitbus://event/{ulid}", "waitbus://agent/{name}"]
    );
}

fn every_tool_answers(bus: &Bus, driver: &mut Driver) {
    let after = driver.tool("mark", &json!({}))["cursor"].clone();
    // Two waits at once, and the later one is answered first.
    let [slow, quick] =
        ["slow", "quick"].map(|source| driver.call("wait_for_event", &json!({"source": source, "after": after})));
    subscribers(bus, 2);
    let event = json!({"source": "quick", "type": "x", "repo": "octo/hello", "conclusion": "success"});
    let id = driver.tool("emit_event", &event)["event_id"].clone();
    let told = driver.result(quick);
    assert_eq!((&told["status"], &told["event"]["event_id"]), (&json!("matched"), &id));
    let slower = bus.emit("slow", 1);
    assert_eq!(driver.result(slow)["event"]["event_id"], *slower);
    let pending = driver.tool("wait_for_event", &json!({"source": "nobody", "max_wait_seconds": 0}));
    assert_eq!(pending["status"], "pending");

    let listed = driver.tool("list_events", &json!({"after": after}));
    assert_eq!((&listed["events"][0]["event_id"], &listed["events"][1]["event_id"]), (&id, &json!(slower)));
    assert_eq!(driver.tool("get_event", &json!({"event_id": id}))["event"]["event_type"], "x");
    assert_eq!(driver.tool("ci_status", &json!({"sha": "1234567"}))["verdict"], Value::Null);

    let sent = driver.tool("send_message", &json!({"as": "alice", "to": "bob", "body": "which port?"}));
    let read = driver.tool("read_messages", &json!({"as": "bob"}));
    assert_eq!(read["messages"][0]["event_id"], sent["event_id"]);
    assert_eq!(inside(&read["messages"][0]["data"])["body"], "which port?");
}

fn every_kind_of_resource_is_read(bus: &Bus, driver: &mut Driver, newest_code: bool) {
    let emit = ["emit", "--source", "ci", "--type", "run", "--repo", "octo/world", "--payload", "{\"n\": 7}"];
    let id = bus.ok(&emit);
    for uri in ["waitbus://current".to_owned(), "waitbus://repo/octo/world".into(), format!("waitbus://event/{id}")] {
        assert!(driver.read(&uri).contains(&id), "{uri}");
    }
    assert_eq!(inside(&json!(driver.read(&format!("waitbus://event/{id}/raw")))), json!({"n": 7}));
    let messages: Value = serde_json::from_str(&driver.read("waitbus://agent/bob")).unwrap();
    assert_eq!(messages["events"].as_array().unwrap().len(), 1, "{messages}");
    let completed =
        driver.ask("complete", json!({"uri": "waitbus://repo/{owner}/{repo}", "name": "owner", "value": "oc"}));
    assert_eq!(completed["completion"]["values"], json!(["octo"]));
    // The TypeScript SDK 2.x tells its users the code of the newest revision, whatever the server said.
    let code = if newest_code { -32602 } else { -32002 };
    assert_eq!(driver.code("read", json!({"uri": "waitbus://nothing"})), code);
}

fn what_is_wrong_is_refused(driver: &mut Driver) {
    let bad = driver.ask("call", json!({"name": "wait_for_event", "arguments": {"source": 1}}));
    assert_eq!(bad["isError"], true, "{bad}");
    assert_eq!(bad["content"][0]["text"], "source: must be a list of strings, not a number");
    assert_eq!(driver.code("call", json!({"name": "no_such_tool", "arguments": {}})), -32602);
    assert_eq!(driver.code("request", json!({"method": "no/such/method"})), -32601);
}

fn a_subscription_rings_until_it_ends(bus: &Bus, driver: &mut Driver) {
    let uri = "waitbus://repo/octo/hello";
    let event = ["emit", "--source", "t", "--type", "x", "--repo", "octo/hello"];
    driver.ask("subscribe", json!({"uri": uri}));
    subscribers(bus, 1);
    for _ in 0..2 {
        bus.ok(&event);
        driver.first(|said| said["updated"] == uri);
    }
    bus.emit("elsewhere", 1);
    driver.ask("unsubscribe", json!({"uri": uri}));
    subscribers(bus, 0);
    bus.ok(&event);
    driver.tool("mark", &json!({}));
    assert_eq!(driver.unread.rest(), Vec::<Value>::new());
}

fn a_cancelled_wait_is_gone(bus: &Bus, driver: &mut Driver) {
    let wait = driver.call("wait_for_event", &json!({"source": "nobody"}));
    subscribers(bus, 1);
    driver.ask("cancel", json!({"of": wait}));
    assert_eq!(driver.end(wait)["cancelled"], true);
    subscribers(bus, 0);
    driver.tool("mark", &json!({}));
}

/// Progress is told every fifteen seconds, so all clients wait for it side by side.
#[test]
fn progress_reaches_the_callback_of_each_sdk() {
    let test = "progress_reaches_the_callback_of_each_sdk";
    let bus = Bus::new();
    let mut waiting = Vec::new();
    for sdk in [Python1, Python2, TypeScript1, TypeScript2] {
        let Some(installed) = sdk.installed(test) else { continue };
        for revision in sdk.revisions().into_iter().filter(|revision| *revision >= "2025-11-25") {
            let mut driver = Driver::start(&bus, sdk, &installed, revision);
            let arguments = json!({"source": "nobody", "max_wait_seconds": 16});
            let wait =
                driver.begin("call", json!({"name": "wait_for_event", "arguments": arguments, "progress": true}));
            waiting.push((driver, wait));
        }
    }
    for (mut driver, wait) in waiting {
        let told = driver.first(|said| said.get("progress").is_some());
        assert_eq!((&told["id"], told["total"].as_f64()), (&json!(wait), Some(16.0)), "{told}");
        assert_eq!(driver.result(wait)["status"], "pending");
    }
}

#[test]
fn two_sdks_in_two_processes_wake_from_one_failure_that_a_third_emits() {
    let test = "two_sdks_in_two_processes_wake_from_one_failure_that_a_third_emits";
    for pair in
        [[(Python2, STATELESS), (TypeScript1, "2025-11-25")], [(Python1, "2025-06-18"), (TypeScript2, STATELESS)]]
    {
        let bus = Bus::new();
        let _hub = bus.hub();
        let mut waiting = Vec::new();
        for (sdk, revision) in pair {
            let Some(installed) = sdk.installed(test) else { return };
            let mut driver = Driver::start(&bus, sdk, &installed, revision);
            let wait = driver.call("wait_for_event", &json!({"source": "ci", "match": ["conclusion=failure"]}));
            waiting.push((driver, wait));
        }
        subscribers(&bus, 2);
        let emit = |conclusion| bus.ok(&["emit", "--source", "ci", "--type", "run", "--conclusion", conclusion]);
        emit("success");
        let failure = emit("failure");
        for (driver, wait) in &mut waiting {
            let told = driver.result(*wait);
            assert_eq!((&told["status"], &told["event"]["event_id"]), (&json!("matched"), &json!(failure)), "{told}");
            assert_eq!(told["event"]["conclusion"], "failure");
        }
    }
}

/// Runs the inspector on a server, and returns what it prints. It ends badly in some versions when a tool refuses.
#[track_caller]
fn inspect(bus: &Bus, inspector: &Path, arguments: &[&str]) -> Value {
    let bare = bus.command(&[]);
    let mut command = Command::new("node");
    command.arg(inspector).arg("--cli").env_clear().current_dir(bus.root()).stdin(Stdio::null());
    for (name, value) in bare.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?))) {
        // Newer versions pass on nothing of their own environment.
        command.env(name, value).args(["-e", &format!("{name}={value}")]);
    }
    let output = command.arg(bare.get_program()).arg("mcp").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
}

#[test]
fn the_command_line_of_the_inspector_lists_and_calls() {
    let inspector = environment("mcp-inspector").join("node_modules/.bin/mcp-inspector");
    if !usable(&inspector, true, "the_command_line_of_the_inspector_lists_and_calls") {
        return;
    }
    let bus = Bus::new();
    let inspect = |arguments: &[&str]| inspect(&bus, &inspector, arguments);
    let tools = inspect(&["--method", "tools/list"]);
    let names: Vec<_> = tools["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, TOOLS);
    let call =
        |tool: &str, argument: &str| inspect(&["--method", "tools/call", "--tool-name", tool, "--tool-arg", argument]);
    let event = ["source=t", "type=x", "repo=octo/hello"];
    let emitted =
        inspect(&[&["--method", "tools/call", "--tool-name", "emit_event", "--tool-arg"], &event[..]].concat());
    let id = emitted["structuredContent"]["event_id"].as_str().unwrap();
    let got = call("get_event", &format!("event_id={id}"));
    assert_eq!(got["structuredContent"]["event"]["event_id"], id, "{got}");
    assert_eq!(call("mark", "x=1")["isError"], true);
    assert_eq!(inspect(&["--method", "resources/list"])["resources"][0]["uri"], "waitbus://current");
    let templates = inspect(&["--method", "resources/templates/list"]);
    assert_eq!(templates["resourceTemplates"].as_array().unwrap().len(), 3);
    let read = inspect(&["--method", "resources/read", "--uri", "waitbus://repo/octo/hello"]);
    assert!(read["contents"][0]["text"].as_str().unwrap().contains(id), "{read}");
}
