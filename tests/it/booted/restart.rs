//! What a manager does to a service that is in use: stop, restart, kill, and start again. Nothing is lost, and nothing
//! comes twice.

use super::machine::Machine;
use super::on_every_systemd;
use crate::harness::Process;

const WAITERS: usize = 50;

/// Blocked clients that print every event, and somebody who emits while the service is ended in many ways.
pub struct Load {
    tails: Vec<Process>,
    emitter: Process,
    events: u64,
}

impl Load {
    /// Everybody is attached, and the emitter has begun.
    pub fn begin(machine: &Machine, events: u64) -> Load {
        let count = events.to_string();
        let tail = |_| machine.start(&["tail", "-v", "--json", "--source", "load", "--count", &count]);
        let mut tails: Vec<_> = (0..WAITERS).map(tail).collect();
        for tail in &mut tails {
            tail.attached();
        }
        let emit = format!(
            "for n in $(seq 0 {}); do waitbus emit --source load --type finished --field n=$n; done",
            events - 1
        );
        let emitter = Process::start(machine.command_of_dev(&["bash", "-euc", &emit]));
        Load { tails, emitter, events }
    }

    /// Returns once so many more have been emitted.
    pub fn emitted(&mut self, count: u64) {
        (0..count).for_each(|_| drop(self.emitter.line()));
    }

    /// Everybody has seen everything, once and in order.
    #[track_caller]
    pub fn end(mut self) {
        assert_eq!(self.emitter.code(), 0, "{}", self.emitter.errors());
        for tail in &mut self.tails {
            for n in 0..self.events {
                let line = tail.line();
                let event: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(event["fields"]["n"], n, "{line}");
            }
            assert_eq!(tail.code(), 0, "{}", tail.errors());
        }
    }
}

#[test]
fn restarts_and_stops_of_the_service_lose_and_double_nothing() {
    on_every_systemd("restarts_and_stops_of_the_service_lose_and_double_nothing", |machine| {
        machine.enable();
        let mut load = Load::begin(machine, 120);
        for verb in ["restart", "stop", "restart", "stop"] {
            load.emitted(20);
            machine.systemctl(&format!("{verb} waitbus.service"));
        }
        load.end();
    });
}

#[test]
fn a_service_that_is_killed_again_and_again_under_load_loses_and_doubles_nothing() {
    on_every_systemd("a_service_that_is_killed_again_and_again_under_load_loses_and_doubles_nothing", |machine| {
        machine.enable();
        let mut load = Load::begin(machine, 120);
        for round in 1..=3 {
            load.emitted(20);
            machine.systemctl("kill --signal=KILL waitbus.service");
            machine.until_restarted("waitbus.service", round);
            machine.until_is("waitbus.service", "active");
        }
        load.end();
    });
}
