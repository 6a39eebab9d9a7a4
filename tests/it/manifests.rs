//! What other programs are given to find the MCP server: each file is read in its own format, and what it names is run.
//! A manifest is never executed by our own tests otherwise, and nobody would notice that it names a verb of yesterday.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use crate::harness::{Bus, program};
use crate::mcp::Client;

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(path)
}

#[track_caller]
fn text(path: &str) -> String {
    std::fs::read_to_string(packaging(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn manifest(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The command line that a JSON manifest has at a place.
#[track_caller]
fn of_json(path: &str, pointer: &str) -> Vec<String> {
    let document = manifest(path);
    let server = document.pointer(pointer).unwrap_or_else(|| panic!("{path} has nothing at {pointer}"));
    assert!(server.get("type").is_none_or(|kind| kind == "stdio"), "{path}");
    let arguments = server["args"].as_array().unwrap().iter();
    [&server["command"]].into_iter().chain(arguments).map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn of_toml(path: &str) -> Vec<String> {
    let text = text(path);
    let document = DeTable::parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let server = document.get_ref().get("mcp_servers").unwrap().get_ref().get("waitbus").unwrap();
    let word = |value: &DeValue<'_>| value.as_str().unwrap().to_owned();
    let arguments = server.get_ref().get("args").unwrap().get_ref().as_array().unwrap();
    let command = word(server.get_ref().get("command").unwrap().get_ref());
    [command].into_iter().chain(arguments.iter().map(|value| word(value.get_ref()))).collect()
}

/// The values of a YAML document that has nothing but maps in block style and, as values, JSON or bare words: by their
/// path.
fn plain_yaml(path: &str) -> BTreeMap<String, Value> {
    let line = Regex::new(r"^((?:  )*)([a-z_]+):(?: (.+))?$").unwrap();
    let mut within: Vec<String> = Vec::new();
    let mut values = BTreeMap::new();
    for text in text(path).lines().filter(|line| !line.starts_with('#')) {
        let parts = line.captures(text).unwrap_or_else(|| panic!("{path}: {text:?} is more than plain YAML"));
        let depth = parts[1].len() / 2;
        assert!(depth <= within.len(), "{path}: {text:?} is too far to the right");
        within.truncate(depth);
        within.push(parts[2].to_owned());
        if let Some(value) = parts.get(3) {
            let value = serde_json::from_str(value.as_str()).unwrap_or_else(|_| Value::from(value.as_str()));
            assert!(values.insert(within.join("."), value).is_none(), "{path}: {text:?} is there twice");
        }
    }
    values
}

fn of_goose(path: &str) -> Vec<String> {
    let values = plain_yaml(path);
    let value = |key: &str| values.get(&format!("extensions.waitbus.{key}")).unwrap_or_else(|| panic!("no {key}"));
    assert_eq!((value("type"), value("name"), value("enabled")), (&"stdio".into(), &"waitbus".into(), &true.into()));
    assert!(value("timeout").is_u64());
    let arguments = value("args").as_array().unwrap().iter();
    [value("cmd")].into_iter().chain(arguments).map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The program as it is called, with its flags, says what it would do; a verb or a flag that it does not have is an
/// error.
#[track_caller]
fn is_understood(words: &[String], of: &str) {
    assert_eq!(words[0], "waitbus", "{of}");
    let output = Command::new(program()).args(&words[1..]).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success(), "{of}: {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_client_is_told_a_command_that_there_is() {
    for (file, words) in [
        ("mcp/codex.toml", of_toml("mcp/codex.toml")),
        ("mcp/cursor.json", of_json("mcp/cursor.json", "/mcpServers/waitbus")),
        ("mcp/gemini.json", of_json("mcp/gemini.json", "/mcpServers/waitbus")),
        ("mcp/vscode.json", of_json("mcp/vscode.json", "/servers/waitbus")),
        ("mcp/zed.json", of_json("mcp/zed.json", "/context_servers/waitbus")),
        ("mcp/goose.yaml", of_goose("mcp/goose.yaml")),
        ("claude-plugin/.mcp.json", of_json("claude-plugin/.mcp.json", "/mcpServers/waitbus")),
    ] {
        assert_eq!(words, ["waitbus", "mcp"], "{file}");
        is_understood(&words, file);
    }
    let readme = text("mcp/README.md");
    let mut files: Vec<_> =
        std::fs::read_dir(packaging("mcp")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.retain(|name| name != "README.md");
    assert_eq!(files.len(), 7);
    for file in files {
        assert!(
            readme.contains(&format!("`{}`", file.to_str().unwrap())),
            "README.md does not say where {file:?} goes"
        );
    }
}

/// The rules of the registry for what it publishes (schema 2025-12-11).
#[test]
fn the_entry_of_the_registry_keeps_its_rules_and_has_this_version() {
    let entry = manifest("mcp/server.json");
    let word = |key: &str| entry[key].as_str().unwrap();
    assert_eq!(word("version"), env!("CARGO_PKG_VERSION"));
    assert!(Regex::new("^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$").unwrap().is_match(word("name")));
    assert!((1..=100).contains(&word("description").chars().count()));
    assert!(word("$schema").ends_with("/2025-12-11/server.schema.json"));
    assert_eq!(entry["repository"]["url"], env!("CARGO_PKG_REPOSITORY"));
    let known = ["$schema", "name", "title", "description", "version", "repository"];
    let keys: Vec<_> = entry.as_object().unwrap().keys().filter(|key| !known.contains(&&***key)).collect();
    assert!(keys.is_empty(), "{keys:?}: what it says of a package has to be tested as well");
}

/// A hook that fails with 2, which for waitbus is a mistake in the configuration, would keep Claude Code from stopping.
#[test]
fn the_hooks_of_the_plugin_emit_what_it_documents_and_never_fail() {
    let plugin = manifest("claude-plugin/.claude-plugin/plugin.json");
    assert_eq!((&plugin["name"], &plugin["version"]), (&"waitbus".into(), &env!("CARGO_PKG_VERSION").into()));
    let bus = Bus::new();
    let path = bus.root().join("bin");
    std::fs::create_dir(&path).unwrap();
    std::os::unix::fs::symlink(program(), path.join("waitbus")).unwrap();
    let hooks = manifest("claude-plugin/hooks/hooks.json");
    let commands: Vec<_> = hooks["hooks"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|groups| groups.as_array().unwrap())
        .flat_map(|group| group["hooks"].as_array().unwrap())
        .map(|hook| {
            assert_eq!(hook["type"], "command");
            hook["command"].as_str().unwrap()
        })
        .collect();
    let run = |command: &str, state: &Path| {
        let bare = bus.command(&[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env_clear();
        shell.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("PATH", format!("{}:/usr/bin:/bin", path.display())).env("WAITBUS_STATE_DIR", state);
        shell.env("CLAUDE_PROJECT_DIR", "/a project/$(x)").stdin(Stdio::null()).output().unwrap()
    };
    for command in &commands {
        let output = run(command, &bus.state());
        assert!(
            output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{command}: {output:?}"
        );
        let refused = run(command, Path::new("not/absolute"));
        assert!(refused.status.success() && !refused.stderr.is_empty(), "{command}: {refused:?}");
    }
    let log = bus.ok(&["replay", "--source", "claude-code", "--match", "project=/a project/$(x)", "--json"]);
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), commands.len());
    let readme = text("claude-plugin/README.md");
    for event in events {
        let (kind, status) = (event["event_type"].as_str().unwrap(), event["fields"]["status"].as_str().unwrap());
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{kind}` |")));
        assert!(row.is_some_and(|row| row.ends_with(&format!("| `{status}` |"))), "README.md does not have {kind}");
    }
}

#[test]
fn the_skill_of_the_plugin_names_verbs_and_flags_that_there_are() {
    let skill = text("claude-plugin/skills/waitbus/SKILL.md");
    let (_, rest) = skill.split_once("---\n").unwrap();
    let (head, body) = rest.split_once("\n---\n").unwrap();
    let description = head.lines().find_map(|line| line.strip_prefix("description: ")).unwrap();
    assert!(head.lines().any(|line| line == "name: waitbus") && (1..=1_024).contains(&description.len()));
    assert!(!description.contains(": "), "it would be a key of YAML");
    let bus = Bus::new();
    let offered = Client::new(&bus).ask("tools/list", json!({}));
    let offered: Vec<_> =
        offered["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let tool = Regex::new("`([a-z]+(?:_[a-z]+)+)`").unwrap();
    let named: Vec<_> = tool.captures_iter(body).map(|tool| tool.extract::<1>().1[0]).collect();
    assert!(named.len() >= 6 && named.iter().all(|name| offered.contains(name)), "{named:?} of {offered:?}");
    let blocks = body.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let call = Regex::new(r"waitbus ([a-z]+)((?: [a-z]+)?)([^#\n)]*)").unwrap();
    let flag = Regex::new(r"--[a-z-]+").unwrap();
    let mut seen = 0;
    for call in blocks.flat_map(|block| call.captures_iter(block).collect::<Vec<_>>()) {
        let mut words = vec!["waitbus".to_owned(), call[1].to_owned()];
        if &call[1] == "message" {
            words.push(call[2].trim().to_owned());
        }
        is_understood(&words, "SKILL.md");
        let help = Command::new(program()).args(&words[1..]).arg("--help").env_clear().output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        // What stands after `--` is another program's.
        let ours = call[3].split(" -- ").next().unwrap();
        for flag in flag.find_iter(ours) {
            assert!(help.contains(flag.as_str()), "{words:?} has no {}", flag.as_str());
        }
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
}
