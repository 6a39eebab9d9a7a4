//! The source `fs`: the program itself over a real directory.
//!
//! Whether something was not told is known without waiting for the clock: a file that is made afterwards is told after
//! everything that was quiet before it.

mod away;
mod closed;
mod costs;
mod telling;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Bus, Process, Subscriber};

/// A bus, a directory that is watched, and whoever listens.
struct Watched {
    // In the order in which they end: a source that is left alone would start a hub of its own.
    source: Process,
    events: Subscriber,
    _hub: Process,
    bus: Bus,
    sentinels: usize,
}

impl Watched {
    fn new() -> Watched {
        Watched::with("", |_| {})
    }

    /// With these lines in `[source.fs]`, and a directory that is prepared before it is watched.
    fn with(settings: &str, prepare: impl FnOnce(&Path)) -> Watched {
        let bus = Bus::new();
        let directory = bus.root().join("watched");
        fs::create_dir(&directory).unwrap();
        prepare(&directory);
        let config = bus.root().join("config");
        fs::create_dir(&config).unwrap();
        let text = format!("[source.fs]\npaths = [{:?}]\n{settings}", directory.to_str().unwrap());
        fs::write(config.join("waitbus.toml"), text).unwrap();
        let hub = bus.hub();
        let events = bus.subscribe(&json!({"match": ["source=fs"]}));
        // What was there before is old by a tick of the clock of files.
        let old = fs::metadata(&directory).unwrap().modified().unwrap();
        while fs::write(bus.root().join("tick"), "").is_ok() {
            if fs::metadata(bus.root().join("tick")).unwrap().modified().unwrap() > old {
                break;
            }
        }
        let source = source(&bus);
        let mut watched = Watched { bus, _hub: hub, events, source, sentinels: 0 };
        assert_eq!(watched.told(), [""; 0], "nothing old");
        watched
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bus.root().join("watched").join(name)
    }

    /// The next event.
    #[track_caller]
    fn event(&mut self) -> Value {
        loop {
            let frame = self.events.frame();
            if frame["event_type"] == "fs_change" {
                let mut fields = frame["fields"].clone();
                for own in waitbus::model::event::ENVELOPE {
                    fields.as_object_mut().unwrap().remove(own);
                }
                return fields;
            }
        }
    }

    /// Everything that is told of what has happened until now, as "kind name", with the names below the directory.
    #[track_caller]
    fn told(&mut self) -> Vec<String> {
        let lines = self.fields();
        let lines = lines.iter().map(|fields| self.line(fields));
        lines.filter(|line| !line.contains("sentinel")).collect()
    }

    /// The same as fields.
    #[track_caller]
    fn fields(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        // What is found by looking has no order. So there is a second one, when the first has been told.
        for _ in 0..2 {
            self.sentinels += 1;
            let sentinel = self.path(&format!("sentinel {}", self.sentinels));
            fs::write(&sentinel, "x").unwrap();
            loop {
                let fields = self.event();
                if fields["path"] == sentinel.to_str().unwrap() {
                    break;
                }
                told.push(fields);
            }
        }
        told
    }

    fn line(&self, fields: &Value) -> String {
        let below = |path: &Value| {
            path.as_str()
                .unwrap()
                .replace(&format!("{}/", self.path("").display()), "")
                .replace(self.path("").to_str().unwrap(), "")
        };
        let from = fields.get("from").map(|from| format!(" from {}", below(from))).unwrap_or_default();
        format!("{} {}{from}", fields["kind"].as_str().unwrap(), below(&fields["path"]))
    }

    /// Runs a script of the shell in the directory.
    #[track_caller]
    fn shell(&self, script: &str) {
        let mut command = Command::new("bash");
        command.args(["-euc", script]).env("HOME", self.bus.root()).current_dir(self.path(""));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Starts the source as it is configured.
fn source(bus: &Bus) -> Process {
    let mut source = Process::start(bus.command(&["source", "fs"]));
    assert_eq!(source.ready(), "ready source=fs");
    source
}
