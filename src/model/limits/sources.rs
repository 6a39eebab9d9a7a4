//! The bounds of sources: what one may say and how fast, and what each looks at.

use std::time::Duration;

// ---- sources --------------------------------------------------------------------------------------------------

/// Batches that a worker may have handed over and that are not committed yet. It waits for each, so more than one is only
/// there when it is cancelled.
pub const SOURCE_BATCHES: usize = 4;
/// Events of a source that are committed in one transaction: some ten milliseconds, for which others wait to write. A
/// batch that is larger takes several, and its position goes with the last.
pub const SOURCE_TRANSACTION_EVENTS: usize = 1_000;
/// How long a source waits before it tries again to commit to a log that is locked, full or unwritable. Nobody tells when
/// it is not any more.
pub const SOURCE_LOG_RETRY: Duration = Duration::from_secs(1);
/// How long a source that was asked to stop waits for its last commit. What is not committed by then it looks at again
/// when it starts the next time.
pub const SOURCE_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Events that a source may say at once without being held back: a large checkout is a few thousand files, a restart of
/// everything on a machine some hundred events …
pub const SOURCE_BURST_EVENTS: u32 = 10_000;
/// … and what it may say a second beyond them. The log takes ten times as much; a person, an agent and the disk of a year
/// do not. Whoever says more has lost control of something.
pub const SOURCE_EVENTS_PER_SECOND: u32 = 500;
/// Longest position of a source, in bytes: a cursor, a time, a few of them. It has to fit a variable of the environment.
pub const MAX_POSITION_BYTES: usize = 4_096;
/// How long `source enable` listens to a source that has just become ready: one that cannot go on, or sees nothing, says so
/// as soon as it has looked, which takes no longer where it looks at this machine.
pub const SOURCE_SETTLES: Duration = Duration::from_millis(500);

// ---- programs that are sources --------------------------------------------------------------------------------

/// Lines of a program that are committed together, if it prints them faster than the log takes them …
pub const COMMAND_BATCH_LINES: usize = 256;
/// … and their bytes, which one line may exceed.
pub const COMMAND_BATCH_BYTES: usize = 1024 * 1024;
/// Pause before a program that has ended is started again; doubles up to [`COMMAND_RESTART_MAX`] …
pub const COMMAND_RESTART_MIN: Duration = Duration::from_secs(1);
/// … because what fails all day is tried now and then …
pub const COMMAND_RESTART_MAX: Duration = Duration::from_mins(5);
/// … and begins anew for one that has run for so long: it was well.
pub const COMMAND_WELL_AFTER: Duration = Duration::from_mins(1);
/// How long a program may live on after it has closed its standard output before it is said that it can say nothing any
/// more: one that ends closes it a moment before.
pub const COMMAND_MUTE_AFTER: Duration = Duration::from_secs(1);
/// Lines of a program that are no events and are named one by one in the log, each time it is started; more are counted.
pub const COMMAND_NAMED_LINES: u64 = 5;
/// Lines of a program's standard error that the log takes at once …
pub const COMMAND_STDERR_BURST: u32 = 100;
/// … and a second beyond them: what a person could still read. More are counted.
pub const COMMAND_STDERR_PER_SECOND: u32 = 5;
/// Longest line of it, in bytes; the rest of one is left out.
pub const COMMAND_STDERR_LINE_BYTES: usize = 2 * 1024;
/// How long what an ended program has left in its pipes is read: it is there already, unless somebody else holds them.
pub const COMMAND_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

// ---- files that change ----------------------------------------------------------------------------------------

/// How long a path must have been quiet before it is looked at and told: longer than the steps of an editor that saves,
/// and shorter than a person notices.
pub const FS_QUIET: Duration = Duration::from_millis(50);
/// How long after its first change a path is told at the latest, for a file that is written for ever or never closed.
pub const FS_AT_MOST: Duration = Duration::from_secs(2);
/// How often everything is looked at while something cannot be watched: the kernel does not tell when it can be.
pub const FS_LOOK_AGAIN: Duration = Duration::from_mins(1);
/// Paths that one source watches: what a person names.
pub const MAX_FS_PATHS: usize = 64;
/// Paths that wait to be told, at about 200 bytes each. Beyond it nothing more is read from the kernel, which keeps
/// 16,384 hints itself and says when it has lost some. One directory may exceed it.
pub const MAX_FS_PENDING: usize = 65_536;
/// Files and directories that are known, at about 200 bytes each: a large working tree ten times over. What is ignored
/// does not count. One directory may exceed it.
pub const MAX_FS_KNOWN: usize = 1_000_000;
/// Changes of one transaction: milliseconds of the write lock. A directory that is renamed may exceed it.
pub const FS_BATCH: usize = 512;
/// How much of an ignore file is read, in bytes: thousands of lines.
pub const MAX_IGNORE_FILE_BYTES: u64 = 256 * 1024;

// ---- container engines ----------------------------------------------------------------------------------------

/// Engines that are watched at a time: Docker and Podman, each for the machine and for the user, and as many again.
pub const MAX_ENGINES: usize = 8;
/// How long an engine may take to answer, in which it is asked for nothing that takes it more than a second.
pub const ENGINE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the stream of an engine is quiet before everything that it remembered is taken to have come: it writes that
/// at once. Nothing marks its end …
pub const ENGINE_QUIET: Duration = Duration::from_millis(300);
/// … and how long that is waited for where the stream is never quiet.
pub const ENGINE_NEVER_QUIET: Duration = Duration::from_secs(10);
/// How far the order in which an engine tells its events may differ from that of their times, which they get before they
/// are put in order: many times what was seen.
pub const ENGINE_ORDER_SLACK: Duration = Duration::from_secs(1);
/// Events of that time that are remembered, so that none is taken in twice. Of a flood that has more in it, the later ones
/// are, and their keys do the rest.
pub const MAX_RECENT_ENGINE_EVENTS: usize = 256;
/// First pause before an engine is tried again that has not answered as it should …
pub const ENGINE_RETRY_MIN: Duration = Duration::from_millis(100);
/// … and the longest, after doublings. Where a socket is missing the kernel tells when it comes, and nobody tries.
pub const ENGINE_RETRY_MAX: Duration = Duration::from_mins(1);
/// Longest line of an engine's stream, in bytes: the labels of one container, of which real ones have some kilobytes.
pub const MAX_ENGINE_LINE_BYTES: usize = 256 * 1024;
/// Largest answer of an engine, in bytes: a list of thousands of containers with their labels, mounts and networks.
pub const MAX_ENGINE_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Characters of an engine's own words for what is wrong that are passed on: a sentence or two.
pub const MAX_ENGINE_WORDS: usize = 300;
/// Containers that are looked at after an outage, and running ones that are remembered, each with some hundred bytes in
/// the position of the source: a workstation has dozens.
pub const MAX_WATCHED_CONTAINERS: usize = 1_024;
/// Longest id of a container, in bytes; every engine has 64 hexadecimal digits.
pub const MAX_CONTAINER_ID_BYTES: usize = 128;
/// Labels of a container that its events carry …
pub const MAX_CONTAINER_LABELS: usize = 64;
/// … and the longest name and value of each, in bytes, so that all of them travel in one frame.
pub const MAX_CONTAINER_LABEL_BYTES: usize = 256;
/// Largest file of the docker client that is read, in bytes: a few settings, and the logins of registries.
pub const MAX_DOCKER_CONFIG_BYTES: u64 = 1024 * 1024;

// ---- the poller of GitHub -------------------------------------------------------------------------------------

/// Repositories that one poller watches: what a person works on, many times over. Each has its place in the position.
pub const MAX_REPOSITORIES: usize = 64;
/// Entries of a directory of checkouts that are looked at: a home's `src`, and not a mistyped `/`.
pub const MAX_CHECKOUTS: usize = 1_024;
/// Between two looks at a repository that somebody waits for, if nobody sets `interval`: half of [`SETTLE`], so that a run
/// that follows another is known before a commit is judged without it. An answer that nothing has changed costs nothing of
/// the quota.
pub const GITHUB_INTERVAL: Duration = Duration::from_secs(5);
/// Shortest `interval` that may be set: GitHub's own pages look once in a few seconds.
pub const GITHUB_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Longest time between two looks at a repository that somebody waits for while nothing runs there: what a person who
/// has pushed just now waits at most until the run is seen to have begun.
pub const GITHUB_INTERVAL_IDLE: Duration = Duration::from_mins(1);
/// The distance of two looks grows by one part of this of the time for which nothing has changed.
pub const GITHUB_SLOWING: u32 = 10;
/// The share of the hourly quota that the poller uses at most, in percent, if nobody sets `budget`: the rest is for `gh`,
/// editors and scripts, which share the token.
pub const GITHUB_BUDGET_PERCENT: u64 = 20;
/// The part of its share that the poller may use at any speed, in percent; the rest is spread evenly over the hour.
pub const GITHUB_BURST_PERCENT: u64 = 10;
/// Runs of one page: those of a few days of one repository, in less than half a megabyte.
pub const GITHUB_RUNS_PER_PAGE: usize = 30;
/// Pages of runs that are asked for after an outage or a sleep. Whoever was away for longer than 300 runs is told so.
pub const GITHUB_RUN_PAGES: usize = 10;
/// Jobs, checks or statuses of one page, the most that GitHub lists.
pub const GITHUB_ITEMS_PER_PAGE: usize = 100;
/// Pages of jobs of one run, or of checks of one commit. A matrix has at most 256 jobs, and reusable workflows several of
/// them.
pub const GITHUB_LIST_PAGES: usize = 5;
/// Commits of one repository whose checks and statuses are asked for, the newest that have runs: what was pushed just now,
/// and what it is compared with.
pub const GITHUB_COMMITS: usize = 3;
/// For how long they are asked for after the last change while somebody waits: a scanner or a deployment that the last run
/// has set off ends in this time. Answers that nothing has changed cost nothing of the quota.
pub const GITHUB_AFTERMATH: Duration = Duration::from_mins(10);
/// How often the jobs of a run that has ended are asked for, if one of them is listed as going on: GitHub's lists follow
/// each other within seconds, and a job that is lost there never ends.
pub const GITHUB_ENDED_TRIES: u32 = 20;
/// Runs of one repository whose jobs are asked for at each look, the newest: more would be a look that takes minutes.
pub const GITHUB_RUNS_WITH_JOBS: usize = 10;
/// Runs of one repository that are followed although they have left the first page, the newest: they go on, or their jobs
/// are not told yet. Each costs a request at each look.
pub const GITHUB_FOLLOWED_RUNS: usize = 20;
/// How late something is told to say when it happened: more than a look or two.
pub const GITHUB_LATE: Duration = Duration::from_secs(10);
/// Largest answer of the API, in bytes: a page of runs or jobs has less than one megabyte.
pub const GITHUB_ANSWER_BYTES: u64 = 8 * 1024 * 1024;
/// How much of an answer that is an error is read, in bytes: a sentence and a link.
pub const GITHUB_ERROR_BYTES: u64 = 64 * 1024;
/// Longest validator (`ETag`, `Last-Modified`) that is kept, in bytes: GitHub's have 70.
pub const MAX_VALIDATOR_BYTES: usize = 256;
/// How long a connection to the API may take.
pub const GITHUB_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request may take in all: GitHub gives up after 10 s, and a slow line gets a page in this time.
pub const GITHUB_TIMEOUT: Duration = Duration::from_secs(30);
/// Redirects that are followed for one request: a repository that was renamed, twice.
pub const GITHUB_REDIRECTS: usize = 3;
/// First pause after a failure that may pass; doubles up to [`GITHUB_RETRY_MAX`].
pub const GITHUB_RETRY_MIN: Duration = Duration::from_secs(2);
/// Longest pause after a failure that may pass: a machine that comes back from its sleep is noticed by then.
pub const GITHUB_RETRY_MAX: Duration = Duration::from_mins(5);
/// First pause after a limit that does not say how long it lasts: what GitHub asks for; doubles up to
/// [`GITHUB_LIMIT_MAX`].
pub const GITHUB_LIMIT_MIN: Duration = Duration::from_mins(1);
/// Longest pause after a limit, whatever it says: the quota's own period, twice.
pub const GITHUB_LIMIT_MAX: Duration = Duration::from_hours(2);
/// Between two looks at a repository that GitHub does not show, while somebody waits for it.
pub const GITHUB_FAULT_RETRY: Duration = Duration::from_mins(15);
/// How much of GitHub's own words about a refusal is repeated, in characters: a sentence.
pub const MAX_FAULT_CHARS: usize = 100;
/// How long `gh` may take to say its token: a keyring that asks its owner takes longer, and is not asked again for that.
pub const GH_TIMEOUT: Duration = Duration::from_secs(5);

// ---- the heartbeat of an Alertmanager -------------------------------------------------------------------------

/// How long the heartbeat of an Alertmanager may stay away when nothing else is set: some times what one usually repeats
/// it after.
pub const HEARTBEAT_WITHIN: Duration = Duration::from_mins(5);
/// Shortest time that may be set for it: an Alertmanager's own waiting is counted in seconds.
pub const MIN_HEARTBEAT_WITHIN: Duration = Duration::from_secs(1);
/// The heartbeat is stored once in this part of the time that it may stay away: the log gets a few rows for each such time,
/// however often it comes, and an alarm comes later by at most this part.
pub const HEARTBEATS_STORED: u32 = 2;
/// How far the wall clock may run ahead of ours before the machine is taken to have slept: more than clocks are corrected
/// by, and less than anybody's sleep.
pub const CLOCK_SLACK: Duration = Duration::from_secs(5);
