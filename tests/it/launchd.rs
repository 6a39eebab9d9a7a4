//! The agents of launchd, as another program reads them: what they say has to be what this program does.
//!
//! Nothing here needs a launchd. Python's `plistlib` reads the property lists, as `plutil` would.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};
use waitbus::config::directories::Directories;
use waitbus::config::settings::WEBHOOK_ADDRESS;
use waitbus::model::limits::{GRACE, SERVICE_LOG_BYTES};
use waitbus::setup::launchd::agents::{Agent, HUB, WEBHOOK, of_source};
use waitbus::setup::{SetupError, Wanted};
use waitbus::sys::activation;

use crate::harness::{Bus, program, skip};

const READER: &str = "
import json, plistlib, sys
print(json.dumps([plistlib.loads(text.encode()) for text in json.load(sys.stdin)]))
";

/// What property lists say, or nothing where they cannot be read.
fn read(test: &str, texts: &[String]) -> Option<Vec<Map<String, Value>>> {
    let command = Command::new("python3").args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut reader) = command else {
        skip(test, "it takes python3 to read property lists");
        return None;
    };
    reader.stdin.take().unwrap().write_all(json!(texts).to_string().as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "a property list cannot be read");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// The directories of somebody whose home is `home`.
fn directories(home: &Path) -> Directories {
    let state = home.join("Library/Application Support/waitbus");
    Directories { runtime: state.join("run"), state, config: home.join(".config/waitbus") }
}

fn render(agent: &Agent, directories: &Directories, program: &Path) -> Result<String, SetupError> {
    agent.render(&Wanted { directories, program, webhook: true, source: None })
}

/// Both agents, read back.
fn agents(test: &str, directories: &Directories, program: &Path) -> Option<[Map<String, Value>; 2]> {
    let texts = [HUB, WEBHOOK].map(|agent| render(&agent, directories, program).unwrap());
    Some(read(test, &texts)?.try_into().unwrap())
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_agents_open_the_sockets_that_the_program_serves_where_clients_look_for_them() {
    let (home, waitbus) = (directories(Path::new("/Users/dev")), Path::new("/opt/waitbus"));
    let name = "the_agents_open_the_sockets_that_the_program_serves_where_clients_look_for_them";
    let Some([hub, webhook]) = agents(name, &home, waitbus) else { return };
    assert_eq!(keys(&hub["Sockets"]), BTreeSet::from([activation::BROADCAST, activation::DOORBELL]));
    for (socket, path) in [(activation::BROADCAST, home.broadcast()), (activation::DOORBELL, home.doorbell())] {
        // A number is decimal in a property list, so "600" there would not be 0600.
        let expected = json!({"SockPathName": path.unwrap().to_str().unwrap(), "SockPathMode": 0o600});
        assert_eq!(hub["Sockets"][socket], expected);
    }
    assert_eq!(keys(&webhook["Sockets"]), BTreeSet::from([activation::WEBHOOK]));
    let socket = &webhook["Sockets"][activation::WEBHOOK];
    assert!(WEBHOOK_ADDRESS.is_ipv4() && WEBHOOK_ADDRESS.ip().is_loopback());
    let (host, port) = (WEBHOOK_ADDRESS.ip().to_string(), WEBHOOK_ADDRESS.port().to_string());
    // A family, because launchd opens one socket for each that there is; text for the port, because it is a service.
    let expected = json!({"SockNodeName": host, "SockServiceName": port, "SockFamily": "IPv4", "SockType": "stream"});
    assert_eq!(*socket, expected);
    let help = Command::new(program()).args(["listen", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains(&format!("[default: {WEBHOOK_ADDRESS}]")), "{help}");
}

#[test]
fn the_agents_run_the_program_with_the_directories_of_whoever_installs() {
    let (home, waitbus) = (directories(Path::new("/Users/dev")), Path::new("/opt/waitbus"));
    let name = "the_agents_run_the_program_with_the_directories_of_whoever_installs";
    let Some([hub, webhook]) = agents(name, &home, waitbus) else { return };
    let variables: Map<_, _> =
        home.variables().into_iter().map(|(name, path)| (name.to_owned(), json!(path.to_str().unwrap()))).collect();
    for (agent, verb, log, told) in
        [(HUB, "hub", home.hub_log(), &hub), (WEBHOOK, "listen", home.listen_log(), &webhook)]
    {
        assert_eq!(told["Label"], &*agent.label);
        assert_eq!(told["ProgramArguments"], json!([waitbus.to_str().unwrap(), verb]));
        assert!(Command::new(program()).args([verb, "--help"]).output().unwrap().status.success());
        assert_eq!(told["EnvironmentVariables"], Value::Object(variables.clone()));
        assert_eq!(told["StandardErrorPath"], log.to_str().unwrap());
        assert_eq!(told["Umask"], 0o077);
        // On demand alone, after a crash too: a KeepAlive with SuccessfulExit would start it at login.
        assert_eq!(told["RunAtLoad"], false);
        assert!(!told.contains_key("KeepAlive"), "{told:?}");
        // Less than a wait gives a hub to come back, which the usual ten seconds are not.
        assert!(told["ThrottleInterval"].as_u64().unwrap() < GRACE.as_secs() / 2);
    }
}

#[test]
fn the_agent_of_a_source_runs_it_from_login_on_and_again_when_it_has_failed() {
    let (home, waitbus) = (directories(Path::new("/Users/dev")), Path::new("/opt/waitbus"));
    let name = "the_agent_of_a_source_runs_it_from_login_on_and_again_when_it_has_failed";
    for source in ["fs", "a.b-c_d"] {
        let agent = of_source(source);
        assert_eq!(agent.file(Path::new("/")), Path::new("/").join(format!("io.github.waitbus.source.{source}.plist")));
        let Some(told) = read(name, &[render(&agent, &home, waitbus).unwrap()]) else { return };
        let told = &told[0];
        assert_eq!(told["Label"], &*agent.label);
        assert_eq!(told["ProgramArguments"], json!([waitbus.to_str().unwrap(), "source", source]));
        assert_eq!(told["KeepAlive"], json!({"SuccessfulExit": false}));
        assert_eq!(told["RunAtLoad"], true);
        assert!(!told.contains_key("Sockets"), "{told:?}");
        assert_eq!(told["StandardErrorPath"], home.state.join(format!("source-{source}.log")).to_str().unwrap());
        for (variable, path) in home.variables() {
            assert_eq!(told["EnvironmentVariables"][variable], path.to_str().unwrap());
        }
    }
}

#[test]
fn the_repository_has_these_agents_and_no_others() {
    let shipped = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/launchd")).unwrap();
    let shipped: BTreeSet<PathBuf> = shipped
        .map(|entry| entry.unwrap().file_name().into())
        .filter(|name: &PathBuf| name.extension().is_some_and(|extension| extension == "plist"))
        .collect();
    let of_sources = PathBuf::from("io.github.waitbus.source.plist");
    let known = [HUB, WEBHOOK].map(|agent| agent.file(Path::new("")));
    assert_eq!(shipped, known.into_iter().chain([of_sources]).collect());
}

#[test]
fn whatever_a_path_is_made_of_launchd_reads_the_same() {
    let strange = [
        "/Users/dev/Library/Application Support",
        "/Users/A & B",
        "/<dict>",
        "/]]>",
        "/<!-- -->",
        "/&amp;&#10;&lt;",
        "/\"quoted\" 'twice'",
        "/größe/日本語/🚌",
        "/e\u{301}",
        "/$HOME/~/%h",
        "/@STATE_DIR@",
        "/a@b",
        "/trailing ",
        "/back\\slash",
    ];
    let name = "whatever_a_path_is_made_of_launchd_reads_the_same";
    for home in strange {
        let (home, waitbus) = (directories(Path::new(home)), Path::new(home).join("bin/waitbus"));
        let Some([hub, webhook]) = agents(name, &home, &waitbus) else { return };
        for told in [&hub, &webhook] {
            assert_eq!(told["ProgramArguments"][0], waitbus.to_str().unwrap());
            for (name, path) in home.variables() {
                assert_eq!(told["EnvironmentVariables"][name], path.to_str().unwrap());
            }
        }
        let broadcast = home.broadcast().unwrap();
        assert_eq!(hub["Sockets"]["broadcast"]["SockPathName"], broadcast.to_str().unwrap());
    }
}

#[test]
fn a_path_that_a_property_list_cannot_carry_is_refused_by_its_name() {
    let home = directories(Path::new("/Users/dev"));
    for path in [OsStr::new("/a\nb"), OsStr::new("/a\u{7}b"), OsStr::from_bytes(b"/caf\xe9")] {
        let error = render(&HUB, &home, Path::new(path)).unwrap_err();
        assert!(matches!(&error, SetupError::NotText(named) if named == Path::new(path)), "{error}");
    }
    let long = directories(&Path::new("/Users").join("x".repeat(100)));
    let error = render(&HUB, &long, Path::new("/opt/waitbus")).unwrap_err();
    assert!(matches!(error, SetupError::Directory(_)) && error.to_string().contains("WAITBUS_RUNTIME_DIR"), "{error}");
}

/// launchd appends what a service says to a file, for ever.
#[test]
fn a_service_empties_the_file_that_its_log_lines_have_filled_and_no_other() {
    for (verb, ours, other) in [("hub", "hub.log", "listen.log"), ("listen", "listen.log", "hub.log")] {
        for (size, file, left) in [
            (SERVICE_LOG_BYTES + 1, ours, 0),
            (SERVICE_LOG_BYTES, ours, SERVICE_LOG_BYTES),
            (SERVICE_LOG_BYTES + 1, other, SERVICE_LOG_BYTES + 1),
        ] {
            let bus = Bus::new();
            std::fs::create_dir(bus.state()).unwrap();
            let log = File::options().append(true).create(true).open(bus.state().join(file)).unwrap();
            log.set_len(size).unwrap();
            let arguments: &[&str] = if verb == "hub" { &["hub"] } else { &["listen", "--addr", "127.0.0.1:0"] };
            let mut command = bus.command(arguments);
            command.env("WAITBUS_LOG", "off").stdout(Stdio::piped()).stderr(log.try_clone().unwrap());
            let mut service = command.spawn().unwrap();
            let mut ready = String::new();
            BufReader::new(service.stdout.take().unwrap()).read_line(&mut ready).unwrap();
            service.kill().unwrap();
            service.wait().unwrap();
            assert!(ready.starts_with("ready "), "{ready}");
            assert_eq!(log.metadata().unwrap().len(), left, "{verb} {file} {size}");
        }
    }
}
