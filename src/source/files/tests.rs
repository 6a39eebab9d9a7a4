//! The watcher against a disk of our own: random histories with reads in between, lost hints, watches that run out, and
//! numbers of files that are given anew. Whatever was told, applied in its order, has to be possible and to end with what
//! is on the disk.

#![allow(clippy::print_stderr, reason = "a history that fails names its seed")]

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Setup;
use super::debounce::Moment;
use super::disk::{Content, Disk, Identity, Look, RealDisk, since_epoch};
use super::tree::Roots;
use super::watcher::{Change, Config, Watcher};
use crate::config::section::Section;
use crate::ingest::files::Kind;
use crate::sys::watch::{DirectoryWatch, Extent, Seen, What};

const ROOT: &str = "/top/root";
const QUIET: Duration = Duration::from_millis(50);
const AT_MOST: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
struct Node {
    identity: Identity,
    is_directory: bool,
    bytes: u64,
    changed: i128,
}

#[derive(Default)]
struct World {
    nodes: BTreeMap<PathBuf, Node>,
    /// By identity, because a watch stays with its directory.
    watches: HashMap<Identity, i32>,
    most_watches: usize,
    queue: VecDeque<Seen>,
    clock: i128,
    last_watch: i32,
    renames: u32,
    texts: HashMap<PathBuf, String>,
    /// Directories that nobody may enter.
    closed: HashSet<Identity>,
}

impl World {
    fn tick(&mut self) -> i128 {
        self.clock += 1;
        self.clock
    }

    fn tell(&mut self, path: &Path, is_directory: bool, what: What) {
        let parent = path.parent().and_then(|parent| self.nodes.get(parent)).map(|node| node.identity);
        if let Some(watch) = parent.and_then(|identity| self.watches.get(&identity)).copied() {
            let name = path.file_name().map(OsString::from);
            self.queue.push_back(Seen { watch, name, is_directory, what });
        }
    }

    fn tell_itself(&mut self, identity: Identity, what: What) {
        if let Some(watch) = self.watches.get(&identity).copied() {
            self.queue.push_back(Seen { watch, name: None, is_directory: true, what });
        }
    }

    /// What a closed directory above hides, or the one at the path itself.
    fn enter<'p>(&self, mut above: impl Iterator<Item = &'p Path>) -> io::Result<()> {
        let is_closed = |path| self.nodes.get(path).is_some_and(|node| self.closed.contains(&node.identity));
        if above.any(is_closed) { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }

    /// Closes a directory, or opens it again.
    fn turn(&mut self, path: &Path) {
        let identity = self.nodes[path].identity;
        if !self.closed.remove(&identity) {
            self.closed.insert(identity);
        }
        self.tell(path, true, What::Attributes);
        self.tell_itself(identity, What::Attributes);
    }

    fn make(&mut self, path: &Path, is_directory: bool) {
        let used: Vec<u64> = self.nodes.values().map(|node| node.identity.inode).collect();
        let inode = (1..=used.len() as u64 + 1).find(|inode| !used.contains(inode)).unwrap();
        let now = self.tick();
        let identity = Identity { device: 1, inode, born: now };
        self.nodes.insert(path.to_owned(), Node { identity, is_directory, bytes: 0, changed: now });
        self.tell(path, is_directory, What::Made);
    }

    fn write(&mut self, path: &Path, bytes: u64, is_closed: bool) {
        if !self.nodes.contains_key(path) {
            self.make(path, false);
        }
        let changed = self.tick();
        let node = self.nodes.get_mut(path).unwrap();
        (node.bytes, node.changed) = (bytes, changed);
        self.tell(path, false, What::Written);
        if is_closed {
            self.tell(path, false, What::Closed);
        }
    }

    fn remove(&mut self, path: &Path) {
        let below: Vec<PathBuf> = self.nodes.keys().filter(|other| other.starts_with(path)).cloned().collect();
        for path in below.into_iter().rev() {
            let node = self.nodes.remove(&path).unwrap();
            if node.is_directory {
                self.tell_itself(node.identity, What::Lost);
                self.tell_itself(node.identity, What::Over);
                self.watches.remove(&node.identity);
            }
            self.tell(&path, node.is_directory, What::Removed);
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let node = self.nodes[from].clone();
        let taken = self.nodes.get(to).map(|node| node.is_directory);
        if to.starts_with(from) || taken.is_some_and(|is_directory| is_directory || node.is_directory) {
            return;
        }
        self.renames += 1;
        self.nodes.remove(to);
        self.tell(from, node.is_directory, What::Left(self.renames));
        let below: Vec<PathBuf> = self.nodes.keys().filter(|other| other.starts_with(from)).cloned().collect();
        for path in below {
            let node = self.nodes.remove(&path).unwrap();
            let rest = path.strip_prefix(from).unwrap();
            self.nodes.insert(if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) }, node);
        }
        self.tell(to, node.is_directory, What::Came(self.renames));
        if node.is_directory {
            self.tell_itself(node.identity, What::Lost);
        }
    }
}

#[derive(Clone)]
struct SimulatedDisk(Rc<RefCell<World>>);

impl Disk for SimulatedDisk {
    const FILES_TOO: bool = false;

    fn look(&self, path: &Path, _follow: bool) -> io::Result<Option<Look>> {
        self.0.borrow().enter(path.ancestors().skip(1))?;
        Ok(self.0.borrow().nodes.get(path).map(|node| Look {
            is_directory: node.is_directory,
            identity: node.identity,
            content: Content { bytes: node.bytes, modified: node.changed },
            changed: node.changed,
            is_bare: !node.is_directory && node.bytes == 0,
        }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let world = self.0.borrow();
        world.enter(directory.ancestors())?;
        if !world.nodes.contains_key(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = world.nodes.iter().filter(|(path, _)| path.parent() == Some(directory));
        Ok(entries.map(|(path, node)| (path.file_name().unwrap().to_owned(), node.is_directory)).collect())
    }

    fn text(&self, file: &Path) -> String {
        let world = self.0.borrow();
        world.nodes.get(file).and_then(|_| world.texts.get(file).cloned()).unwrap_or_default()
    }

    fn watch(&mut self, path: &Path, _extent: Extent, _follow: bool) -> io::Result<i32> {
        let mut world = self.0.borrow_mut();
        world.enter(path.ancestors())?;
        let identity = world.nodes.get(path).ok_or(io::ErrorKind::NotFound)?.identity;
        if let Some(watch) = world.watches.get(&identity) {
            return Ok(*watch);
        }
        if world.watches.len() >= world.most_watches {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.last_watch += 1;
        let watch = world.last_watch;
        world.watches.insert(identity, watch);
        Ok(watch)
    }

    fn unwatch(&mut self, watch: i32) {
        let mut world = self.0.borrow_mut();
        world.watches.retain(|_, other| *other != watch);
        world.queue.push_back(Seen { watch, name: None, is_directory: false, what: What::Over });
    }
}

/// A small generator, so that a seed is a history.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn of<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }
}

/// What a reader of the events believes to be on the disk: the state that was told of each path, none of a directory.
#[derive(Default)]
struct Believed(BTreeMap<PathBuf, Option<i128>>);

impl Believed {
    fn apply(&mut self, change: &Change) {
        let Believed(paths) = self;
        let state = change.state.map(|state| state.changed).filter(|_| !change.is_directory);
        match change.kind {
            Kind::Create => assert_eq!(paths.insert(change.path.clone(), state), None, "{change:?}"),
            Kind::Write => assert!(paths.insert(change.path.clone(), state).is_some(), "{change:?}"),
            Kind::Delete => assert!(paths.remove(&change.path).is_some(), "{change:?}"),
            Kind::Move => {
                let before = paths.remove(change.from.as_ref().unwrap()).unwrap_or_else(|| panic!("{change:?}"));
                paths.insert(change.path.clone(), state.or(before));
            }
        }
    }
}

struct Simulation {
    world: Rc<RefCell<World>>,
    watcher: Watcher<SimulatedDisk>,
    now: Instant,
    believed: Believed,
    told: Vec<Change>,
}

impl Simulation {
    fn new(most_watches: usize) -> Simulation {
        let world = Rc::new(RefCell::new(World { most_watches, ..World::default() }));
        for path in ["/", "/top", ROOT] {
            world.borrow_mut().make(Path::new(path), true);
        }
        let ignoring = super::ignoring(&["ignored".to_owned()], true).unwrap();
        let config = Config {
            roots: Roots(vec![ROOT.into()]),
            ignoring,
            excluded: Vec::new(),
            excluded_inodes: Vec::new(),
            quiet: QUIET,
            at_most: AT_MOST,
            started: 0,
        };
        let seen_until = vec![world.borrow_mut().tick()];
        let watcher = Watcher::start(SimulatedDisk(Rc::clone(&world)), config, seen_until);
        let believed = Believed([(ROOT.into(), None)].into());
        let mut new = Simulation { world, watcher, now: Instant::now(), believed, told: Vec::new() };
        new.finish();
        new
    }

    fn moment(&self) -> Moment {
        Moment { at: self.now, wall: self.world.borrow().clock }
    }

    fn read(&mut self, most: usize) {
        for _ in 0..most {
            let Some(seen) = self.world.borrow_mut().queue.pop_front() else { return };
            self.watcher.see(seen, self.moment());
        }
    }

    fn settle(&mut self) {
        let changes = self.watcher.settle(self.moment());
        for change in changes {
            self.told.push(change);
            self.believed.apply(&self.told[self.told.len() - 1]);
        }
    }

    /// Until nothing is left to be told.
    fn finish(&mut self) {
        for _ in 0..20 {
            self.read(usize::MAX);
            while self.watcher.step(self.moment()) {}
            self.read(usize::MAX);
            self.now += AT_MOST;
            self.settle();
        }
        assert_eq!(self.watcher.pending.len(), 0);
    }

    #[track_caller]
    fn check(&self) {
        let world = self.world.borrow();
        let is_told = |path: &Path| path.starts_with(ROOT) && path.iter().all(|name| name != "ignored");
        let nodes = world.nodes.iter().filter(|(path, _)| is_told(path));
        let on_disk: BTreeMap<_, _> =
            nodes.map(|(path, node)| (path.clone(), (!node.is_directory).then_some(node.changed))).collect();
        assert_eq!(self.believed.0, on_disk, "left: told, right: on the disk; told:\n{}", self.story());
    }

    fn story(&self) -> String {
        let line = |change: &Change| format!("{:?} {:?} from {:?}\n", change.kind, change.path, change.from);
        self.told.iter().map(line).collect()
    }

    /// One step of a random history.
    fn act(&mut self, random: &mut Random, loses_hints: bool, closes: bool) {
        let mut world = self.world.borrow_mut();
        let paths: Vec<PathBuf> = world.nodes.keys().filter(|path| path.starts_with(ROOT)).cloned().collect();
        let directories: Vec<&PathBuf> = paths.iter().filter(|path| world.nodes[*path].is_directory).collect();
        let inside: Vec<&PathBuf> = paths.iter().filter(|path| **path != Path::new(ROOT)).collect();
        let new = (!directories.is_empty())
            .then(|| random.of(&directories).join(random.of(&["a", "b", "c", "d", "ignored"])));
        match random.below(14) {
            0..4 => {
                if let Some(path) = new.filter(|path| !world.nodes.get(path).is_some_and(|node| node.is_directory)) {
                    let (bytes, is_closed) = (1 + random.below(100) as u64, random.below(4) > 0);
                    world.write(&path, bytes, is_closed);
                }
            }
            4..6 => {
                if let Some(path) = new.filter(|path| !world.nodes.contains_key(path)) {
                    world.make(&path, true);
                    if random.below(2) == 0 {
                        world.write(&path.join("a"), 7, true);
                    }
                }
            }
            6..9 if !inside.is_empty() => {
                let from = (*random.of(&inside)).clone();
                if let Some(to) = new {
                    world.rename(&from, &to);
                }
            }
            9 if !inside.is_empty() => world.remove(&(*random.of(&inside)).clone()),
            10 if random.below(8) == 0 && world.nodes.contains_key(Path::new("/top")) => {
                let root = Path::new(ROOT);
                if world.nodes.contains_key(root) { world.remove(root) } else { world.make(root, true) }
            }
            11 if random.below(20) == 0 => {
                let top = Path::new("/top");
                if world.nodes.contains_key(top) { world.remove(top) } else { world.make(top, true) }
            }
            13 if closes && !directories.is_empty() => world.turn(&(*random.of(&directories)).clone()),
            12 if loses_hints && random.below(4) == 0 => {
                let kept = random.below(world.queue.len() + 1);
                world.queue.truncate(kept);
                world.queue.push_back(Seen { watch: -1, name: None, is_directory: false, what: What::Overflow });
            }
            _ => {}
        }
        if world.nodes.contains_key(Path::new("/top"))
            && !world.nodes.contains_key(Path::new(ROOT))
            && random.below(4) == 0
        {
            world.make(Path::new(ROOT), true);
        }
        drop(world);
        match random.below(6) {
            0 => self.read(random.below(5)),
            1 => self.read(usize::MAX),
            2 => drop(self.watcher.step(self.moment())),
            3 => {
                self.now += Duration::from_millis(random.below(120) as u64);
                self.read(usize::MAX);
                self.settle();
            }
            _ => {}
        }
    }
}

fn histories(most_watches: usize, loses_hints: bool, closes: bool) {
    let number = |name: &str, default| option_env(name).unwrap_or(default);
    let first = number("WAITBUS_SEED", 0);
    for seed in first..first + 100 * number("WAITBUS_SEEDS", 1) {
        let mut random = Random(seed);
        let mut simulation = Simulation::new(most_watches);
        let guard = Named(seed);
        for _ in 0..200 {
            simulation.act(&mut random, loses_hints, closes);
        }
        let closed: Vec<PathBuf> = {
            let world = simulation.world.borrow();
            let nodes = world.nodes.iter().filter(|(_, node)| world.closed.contains(&node.identity));
            nodes.map(|(path, _)| path.clone()).collect()
        };
        for path in closed {
            simulation.world.borrow_mut().turn(&path);
        }
        simulation.finish();
        if most_watches < 100 {
            simulation.watcher.look_everywhere();
            simulation.finish();
        }
        simulation.check();
        drop(guard);
    }
}

fn option_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Names the seed of a history that fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("WAITBUS_SEED={} fails", self.0);
        }
    }
}

#[test]
fn what_was_told_ends_with_what_is_on_the_disk() {
    histories(usize::MAX, false, false);
}

#[test]
fn what_was_told_ends_with_what_is_on_the_disk_also_when_hints_are_lost() {
    histories(usize::MAX, true, false);
}

#[test]
fn what_cannot_be_watched_is_told_by_looking_again() {
    histories(4, true, false);
}

/// What could not be looked at for a moment was dropped from what waits to be told.
#[test]
fn what_cannot_be_looked_at_is_told_when_it_can_be() {
    histories(usize::MAX, false, true);
}

/// The clock of files goes in ticks. A source that had taken its start from it said of what was written in the same tick,
/// just before, that it had not been missed.
#[test]
fn what_was_written_before_the_start_is_older_than_it_and_what_is_written_afterwards_is_news() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f");
    let disk = RealDisk(DirectoryWatch::new().unwrap());
    let changed = || disk.look(&file, false).unwrap().unwrap().changed;
    for bytes in 1..200 {
        std::fs::write(&file, vec![0; bytes]).unwrap();
        let setup = Setup::of(&Section::empty("fs")).unwrap();
        assert!(changed() < since_epoch(setup.missed_until), "{bytes}: taken for news");
        std::fs::write(&file, "x").unwrap();
        assert!(changed() >= since_epoch(setup.began), "{bytes}: missed");
    }
}
