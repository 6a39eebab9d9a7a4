//! kill -9 of any process at any instant: hub, listener and emitters end the way a crash does while events flow, and
//! nothing that was acknowledged is lost.
//!
//! Acknowledged means: `emit` printed the id, the listener answered 2xx, the batch exited 0. The instants are counted
//! in acknowledgements and received events, never in time, and a seed chooses them; where exactly a process is then is
//! up to the machine, so that a seed repeats the plan of a run and not its every step.

mod emitters;
mod listeners;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Bus, Process, lock_holder, seeds};
use crate::random::Random;
use emitters::{BATCH, BATCHES, DELIVERIES, EMITS, Slot};

/// One run: a bus, its services, and what is alive on it.
pub struct Run {
    pub bus: Bus,
    /// Locked while the hub is down, so that whoever needs one waits for the lock. `None` where clients start it.
    pub hub: Mutex<Option<Process>>,
    /// Likewise.
    pub listener: Mutex<(Process, SocketAddr)>,
    pub emit: Slot,
    pub batch: Slot,
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Hub,
    Listener,
    Emit,
    Batch,
}

/// One more acknowledgement or received event.
pub type Ticks = mpsc::Sender<()>;

/// What emitters were told.
#[derive(Default)]
pub struct Acknowledged {
    /// Ids of events.
    ids: Vec<String>,
    /// Numbers of batches.
    batches: Vec<u64>,
}

impl Run {
    fn start(with_hub: bool) -> Run {
        let bus = Bus::new();
        let hub = Mutex::new(with_hub.then(|| bus.hub()));
        let listener = Mutex::new(bus.listen());
        Run { bus, hub, listener, emit: Slot::default(), batch: Slot::default() }
    }

    /// Kills as planned: each victim when so many ticks have been counted.
    fn kill(&self, plan: &[(usize, Victim)], ticks: &mpsc::Receiver<()>) {
        let mut counted = 0;
        for &(at, victim) in plan {
            while counted < at {
                if ticks.recv().is_err() {
                    return;
                }
                counted += 1;
            }
            match victim {
                Victim::Hub => self.kill_hub(),
                Victim::Listener => {
                    let mut listener = self.listener.lock().unwrap();
                    listener.0.kill();
                    *listener = self.bus.listen();
                }
                Victim::Emit => self.emit.kill(),
                Victim::Batch => self.batch.kill(),
            }
        }
        while ticks.recv().is_ok() {}
    }

    fn kill_hub(&self) {
        let mut hub = self.hub.lock().unwrap();
        if let Some(process) = &mut *hub {
            process.kill();
            *process = self.bus.hub();
        } else if let Some(pid) = lock_holder(&self.bus.runtime().join("hub.lock")) {
            // It may be gone by now, and that is as good.
            let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
        }
    }

    /// Lets events flow while the plan is carried out, and returns what was acknowledged and what `read` received.
    fn flow(&self, random: &mut Random, read: impl FnOnce(Ticks) -> Vec<String> + Send) -> (Acknowledged, Vec<String>) {
        let plan = plan(random);
        let cuts: Vec<_> = (0..BATCHES).map(|_| random.chance(40).then(|| random.within(0..=BATCH))).collect();
        println!("plan: {plan:?}, batches cut at {cuts:?}");
        let (plan, cuts) = (&plan, &cuts);
        let (ticks, counted) = mpsc::channel();
        thread::scope(|scope| {
            let [for_reader, for_emits, for_deliveries] = [(); 3].map(|()| ticks.clone());
            let reader = scope.spawn(move || read(for_reader));
            let emits = scope.spawn(move || emitters::emit(self, &for_emits));
            let deliveries = scope.spawn(move || emitters::deliver(self, &for_deliveries));
            let batches = scope.spawn(move || emitters::batches(self, cuts, &ticks));
            scope.spawn(move || self.kill(plan, &counted));
            let ids = [emits.join().unwrap(), deliveries.join().unwrap()].concat();
            let batches = batches.join().unwrap();
            self.bus.emit("end", 0);
            (Acknowledged { ids, batches }, reader.join().unwrap())
        })
    }

    /// Compares with the log, which has the last word on what there is and in which order.
    fn check(&self, acknowledged: &Acknowledged, received: &[String]) {
        let log = self.bus.ok(&["replay", "--json"]);
        let log: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ids: Vec<_> = log.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
        assert_eq!(received, ids, "everything once, in commit order");
        for id in &acknowledged.ids {
            assert!(ids.contains(&&**id), "{id} was acknowledged and is not in the log");
        }
        let of = |source: &str| log.iter().filter(move |event| event["source"] == source).collect::<Vec<_>>();
        assert_eq!(of("github").len() as u64, DELIVERIES, "each delivery is stored once, however often it was sent");
        assert!(of("deploy").len() as u64 <= EMITS);
        let mut batches = HashMap::<u64, Vec<u64>>::new();
        for event in of("batch") {
            let number = |name: &str| event["fields"][name].as_u64().unwrap();
            batches.entry(number("batch")).or_default().push(number("n"));
        }
        for (number, batch) in &batches {
            assert!(batch.iter().copied().eq(0..BATCH as u64), "batch {number} is there in part: {batch:?}");
        }
        for number in &acknowledged.batches {
            assert!(batches.contains_key(number), "batch {number} was acknowledged and is not in the log");
        }
    }
}

/// Who dies when: instants that come whatever happens, the earliest first.
fn plan(random: &mut Random) -> Vec<(usize, Victim)> {
    let mut victims = vec![Victim::Hub, Victim::Listener, Victim::Emit, Victim::Batch];
    for _ in 0..random.within(2..=5) {
        victims.push(random.pick(&[Victim::Hub, Victim::Hub, Victim::Emit, Victim::Batch]));
    }
    let mut plan: Vec<_> = victims.into_iter().map(|victim| (random.within(1..=75), victim)).collect();
    plan.sort_by_key(|&(at, _)| at);
    plan
}

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    for seed in seeds(20) {
        println!("to repeat this plan: WAITBUS_SEED={seed} WAITBUS_SEEDS=1");
        let run = Run::start(true);
        let (acknowledged, received) = run.flow(&mut Random::new(seed), |ticks| listeners::resume(&run, &ticks));
        run.check(&acknowledged, &received);
    }
}

/// The same through our own client, which has to notice the death of the hub, start another one and resume.
#[test]
fn a_tail_outlives_its_hubs_and_prints_everything_once() {
    for seed in seeds(3) {
        println!("to repeat this plan: WAITBUS_SEED={seed} WAITBUS_SEEDS=1");
        let run = Run::start(false);
        let mut tail = listeners::tail(&run);
        let (acknowledged, received) = run.flow(&mut Random::new(seed), |ticks| listeners::printed(&mut tail, &ticks));
        run.check(&acknowledged, &received);
    }
}
