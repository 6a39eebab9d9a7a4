//! Every bound of the program, each with its unit and its reason. A number that limits something lives here and
//! nowhere else.

mod measure;
mod sources;

use std::time::Duration;

pub use measure::*;
pub use sources::*;

// ---- the wire -------------------------------------------------------------------------------------------------

/// Largest JSON body of one frame, in bytes, in either direction. A published part of wire v1 (PROTOCOL.md).
pub const MAX_FRAME_BYTES: usize = 65_536;
/// Room that a client makes before it reads from its hub, in bytes: most events fit, so that one system call brings one,
/// where a buffer that grows from nothing takes four.
pub const CLIENT_READ_BYTES: usize = 4 * 1024;
/// How many repository filters one subscription may carry. Published in wire v1.
pub const MAX_FILTERS: usize = 64;
/// How many exact event types one subscription may carry; the same size as the filters, for the same reason: a
/// list that a person wrote, not a table.
pub const MAX_EVENT_TYPES: usize = 64;
/// How many conditions one subscription may carry over all its alternatives.
pub const MAX_CONDITIONS: usize = 64;
/// Longest single condition, in bytes: longer than any field name and value that a person types.
pub const MAX_CONDITION_BYTES: usize = 4_096;
/// How deep a dotted path may go; JSON itself is only parsed to depth 128.
pub const MAX_PATH_SEGMENTS: usize = 16;
/// Compiled size of one regular expression or glob, in bytes. `regex` is linear in its input; this bounds memory.
pub const MAX_REGEX_BYTES: usize = 256 * 1024;
/// The subscribe frame must have arrived whole by then. Published in wire v1.
pub const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Period of `daemon_heartbeat` for those who did not switch it off. Published in wire v1.
pub const HEARTBEAT: Duration = Duration::from_mins(1);
/// Longest expression of `where`, in bytes: a page of conditions. Its parser takes time and stack for each of them: of
/// the worst 2 KiB a millisecond, and less than half a megabyte …
pub const MAX_EXPRESSION_BYTES: usize = 2_048;
/// … with at most this many brackets, calls and conditionals within each other …
pub const MAX_EXPRESSION_NESTING: u16 = 32;
/// … and as many operations upon each other, brackets or not: what is evaluated, checked and dropped by recursion.
pub const MAX_EXPRESSION_DEPTH: usize = 64;
/// Names, values and operations of one expression. An evaluation does each of them once at most.
pub const MAX_EXPRESSION_NODES: usize = 512;
/// Additions of one expression. Each of them may copy the texts that it joins; more than a handful is no condition.
pub const MAX_EXPRESSION_ADDITIONS: usize = 8;
/// Bytes of the event's texts that one evaluation may look at, each as often as it does: one large payload once, and
/// usual fields thousands of times.
pub const MAX_EVALUATION_BYTES: usize = 16 * 1024 * 1024;
/// Sources that the hub knows at a time: what one machine runs, many times over. With their details they fit one frame,
/// which is how `hub_status` tells them.
pub const MAX_SOURCES: usize = 64;
/// What a source says about itself, in bytes of JSON: a command and a few words, not a manual.
pub const MAX_DETAIL_BYTES: usize = 768;
/// Repositories that a source is told to be asked for. Whoever is asked for more is asked for all: it costs a source less
/// to look at everything than at so many. With the longest names they fit one frame.
pub const MAX_DEMAND_FILTERS: usize = 64;
/// Warnings in one acknowledgement. Whoever mistypes more reads the first ones first.
pub const MAX_NOTES: usize = 8;

// ---- socket paths ---------------------------------------------------------------------------------------------

/// Longest path of a socket, in bytes: `sun_path` less its terminating zero (unix(7): 108; macOS sys/un.h: 104).
pub const MAX_SOCKET_PATH_BYTES: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

// ---- events ---------------------------------------------------------------------------------------------------

/// Longest `source`, `event_type` or `ingest_method`, in bytes: names, not texts.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest `owner` or `repo`, in bytes; GitHub allows 39 and 100.
pub const MAX_REPO_BYTES: usize = 128;
/// Longest `delivery_id`, in bytes; GitHub's are UUIDs, other sources build theirs from names and numbers.
pub const MAX_DELIVERY_ID_BYTES: usize = 512;
/// Longest `summary`, in characters: one line of a wide terminal, twice.
pub const MAX_SUMMARY_CHARS: usize = 300;
/// Longest stored `summary` that is read at all, in bytes. waitbus stores at most four for each character; a foreign
/// row's may have much that cleaning takes out, but one that is longer than this is no line, and counts as empty.
pub const MAX_STORED_SUMMARY_BYTES: usize = 16 * 1024;
/// Largest `fields` object, in bytes of JSON. Larger than a frame on purpose: such an event travels as
/// `truncated`, and its reader fetches the rest from the log.
pub const MAX_FIELDS_BYTES: usize = 1024 * 1024;
/// Longest text that a webhook source puts into one field, in bytes. Names, titles and URLs are shorter; a longer
/// one is cut, so that some twenty of them still travel in one frame. The payload keeps the whole.
pub const MAX_FIELD_TEXT_BYTES: usize = 2_048;
/// Bytes of each of the two fields (`status`, `conclusion`) that a `truncated` frame keeps whatever else is left out: a
/// verdict is a word. With every column at its bound and every character of it escaped to six, the envelope takes about
/// 15 KiB, so they fit.
pub const KEPT_FIELD_BYTES: usize = 1_024;
/// How deep a value in `fields` may be nested. JSON parsers give up at 100 or so (`serde_json` at 128), and a reader of
/// the wire must never meet a frame that it cannot parse.
pub const MAX_FIELD_DEPTH: usize = 64;
/// Largest stored payload, in bytes; GitHub caps its deliveries at 25 MB but documents 10 as the usual bound.
pub const MAX_PAYLOAD_BYTES: usize = MAX_BODY_BYTES;
/// Longest line of `emit --batch`: the fields and the payload as JSON text, with room for escapes.
pub const MAX_BATCH_LINE_BYTES: usize = 2 * (MAX_PAYLOAD_BYTES + MAX_FIELDS_BYTES);
/// Lines of one `emit --batch`: one transaction, which holds the write lock while it lasts.
pub const MAX_BATCH_LINES: usize = 100_000;

// ---- messages between agents ----------------------------------------------------------------------------------

/// Longest name of an agent, in bytes: `agent.` before it makes it the name of a source.
pub const MAX_AGENT_NAME_BYTES: usize = MAX_NAME_BYTES - 6;
/// Longest body of a message, in bytes: a long report or a patch. Half of what fields may have, because line ends and
/// quotes are two bytes in JSON. What is longer belongs into a file whose path is sent.
pub const MAX_MESSAGE_BYTES: usize = MAX_FIELDS_BYTES / 2;
/// Longest thread or correlation id of a message, in bytes: a UUID or a ULID with some words before it. A frame that is
/// cut keeps it ([`KEPT_FIELD_BYTES`]).
pub const MAX_THREAD_BYTES: usize = 128;
/// Messages that are handed over before their receipts are committed together, if more of them are there already.
pub const RECEIPTS_PER_COMMIT: usize = 64;
/// How long an inbox that ends waits until it is written down what has been read: some milliseconds, unless another
/// program holds the log. What is not written down comes again.
pub const SETTLING: Duration = Duration::from_millis(500);

// ---- the log --------------------------------------------------------------------------------------------------

/// How long a writer waits for another process's write lock before it reports the log as busy.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a reader that may not write begins to read before it believes that the write-ahead log needs a recovery.
/// What it waits for is a few stores to memory by a writer that has just finished.
pub const UNSETTLED_READS: usize = 100;
/// Growth of the write-ahead log after which it is checkpointed, in bytes. The commit with which the log then starts over
/// waits for the disk, as SQLite has it sync the new header; with this that is one delivery of 22 KB in 150, or one small
/// event in 400. Few enough that the first opener after a crash recovers it in milliseconds.
pub const CHECKPOINT_WAL_BYTES: u64 = 8 * 1024 * 1024;
/// The same for a writer, who does it only where no service has: with the bound above it would be done by whoever looks
/// first, and that would be the one for whom others wait.
pub const CHECKPOINT_ALONE_BYTES: u64 = CHECKPOINT_WAL_BYTES / 2 * 3;
/// After how many commits a writer or the hub looks again whether a checkpoint is due: a sixth of what fills the
/// bound above with usual events.
pub const CHECKPOINT_LOOK_EVERY: usize = 64;
/// Size to which SQLite truncates the write-ahead log when it starts over, in bytes, and from which on a commit waits so
/// that it can: a second of a thousand deliveries, so that less than one in a hundred waits.
pub const WAL_SIZE_LIMIT: u64 = 64 * 1024 * 1024;
/// Page cache of one connection, in KiB. The hub reads the newest pages only; more would sit idle.
pub const CACHE_KIB: i64 = 1_024;
/// Newest rows that are looked at one by one for a time, because clocks disagree by seconds: some milliseconds …
pub const NEWEST_ROWS: i64 = 4_096;
/// … and rows around a place that all have to lie before a time for the place to do so, when it is further back: more
/// than a foreign program writes with a wrong time by mistake, and a page or three.
pub const HALVING_ROWS: i64 = 16;
/// Rows deleted by one step of pruning, so that a writer waits milliseconds for it at most …
pub const PRUNE_ROWS: usize = 2_000;
/// … and their bytes, which one row may exceed; also how much of the file one step gives back. About a thousand pages
/// are read, freed and moved.
pub const PRUNE_BYTES: u64 = 4 * 1024 * 1024;
/// Largest log that `doctor` reads through to see whether it is sound, in bytes: a second or two.
pub const MAX_CHECKED_LOG_BYTES: u64 = 512 * 1024 * 1024;

// ---- the hub --------------------------------------------------------------------------------------------------

/// Bytes waiting for one subscriber before the hub stops filling its buffer and lets it go on from its cursor
/// later. One frame may overshoot it, so the real bound is this plus one frame.
pub const OUTBOX_BYTES: usize = MAX_FRAME_BYTES;
/// Rows read from the log in one pass before the loop serves the sockets again: about a millisecond of work; bounded …
pub const PAGE_ROWS: usize = 256;
/// … and by the bytes of their text, which one row may exceed: pages of large payloads neither fill the memory nor
/// keep the loop for long.
pub const PAGE_BYTES: usize = 1024 * 1024;
/// Subscribers that are fed from memory in one pass before the loop serves the sockets again.
pub const FED_PER_PASS: usize = 32;
/// Conditions of one subscription that the hub's loop asks an event; what has more is decided beside the loop, like
/// everything that is costly. A person writes a handful.
pub const MAX_LOOP_CONDITIONS: usize = 16;
/// Questions of one lane that are out at a time. Each holds a page; so many keep a thread busy, and more would only be
/// held.
pub const QUESTIONS_PER_LANE: usize = 64;
/// Rows of one question: what a thread decides in well under a millisecond, if their filter is a usual one …
pub const JUDGED_ROWS: usize = 64;
/// … and their bytes, which one row may exceed: about what a subscriber's buffer takes.
pub const JUDGED_BYTES: usize = 128 * 1024;
/// What a thread decides in one turn before the next question has its own, in bytes of the rows times their conditions …
pub const JUDGED_WORK: usize = 4 * 1024 * 1024;
/// … and how many answers of expressions it keeps, so that one that many ask is evaluated once for each event.
pub const KEPT_ANSWERS: usize = 8_192;
/// Payloads that are kept while somebody asks for them, in bytes of their text, which one may exceed: parsed, they take
/// several times as much.
pub const KEPT_PAYLOADS: usize = 4 * 1024 * 1024;
/// Newest events kept decoded for subscribers that are slightly behind, by count …
pub const RING_EVENTS: usize = 512;
/// … and by the bytes of their stored text, so that an idle hub stays small whatever the events were.
pub const RING_BYTES: usize = 512 * 1024;
/// Subscribers of one hub. Each costs one descriptor and about 2 KiB; beyond this something is leaking.
pub const MAX_SUBSCRIBERS: usize = 16_384;
/// Descriptors that the hub keeps for itself when the process limit is what bounds its subscribers.
pub const RESERVED_DESCRIPTORS: usize = 64;
/// Frames handed to the kernel in one vectored write; Linux takes 1,024 slices, 64 fill a socket buffer.
pub const WRITE_SLICES: usize = 64;
/// Doorbell connections served at a time. Each emitting process needs one for a moment; a full backlog means
/// that the bell has been rung.
pub const MAX_RINGERS: usize = 1_024;
/// Names of a kind (sources, types, fields) that are remembered. A machine has hundreds; where there are more, somebody
/// makes them up, and nothing is said about that kind any more.
pub const MAX_KNOWN_NAMES: usize = 4_096;
/// Longest name that is compared with the known ones, in characters: the cost is the product of two lengths, and what is
/// longer than any name was not mistyped.
pub const MAX_COMPARED_CHARS: usize = MAX_NAME_BYTES;
/// Rows whose names are read before a hub is ready or a reader without one begins: some milliseconds. Whatever is left
/// is read beside, and until then nobody is warned …
pub const NAMES_READ_AT_ONCE: usize = 2_048;
/// … and after how many rows it is written down that their names are.
pub const NAMES_WRITTEN_EVERY: usize = 1_024;

// ---- the services ---------------------------------------------------------------------------------------------

/// How long a service that nobody uses stays when a service manager or a client started it: a hub without subscribers, a
/// listener without connections. Long enough that the pauses of a day's work do not cost a start, and no reason to stay
/// over night; what comes after it waits in the manager's sockets.
pub const IDLE_EXIT: Duration = Duration::from_mins(10);
/// How long a stopping hub waits for its subscribers to take the `shutdown` frame.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an activated hub waits for a self-started one to hand over before it gives up with an error.
pub const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How old a socket that refuses has to be before it is taken for a dead one. Between binding and listening, which a
/// service manager does one after the other, lie microseconds; on a machine that is busy, a time slice or two.
pub const SOCKET_SETTLES: Duration = Duration::from_millis(100);
/// The pause between two looks at a socket that is younger than that.
pub const SOCKET_LOOK: Duration = Duration::from_millis(5);
/// Connections that the kernel queues on a socket that waitbus bound itself, of which it takes somaxconn at most: a
/// restart must not turn waiters away.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Pause after a connection that could not be taken, or a full socket that could not be watched, because descriptors had
/// run out: long enough to be no busy loop,
/// short enough to be no outage.
pub const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

// ---- the webhook listener -------------------------------------------------------------------------------------

/// Largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// Bytes of an oversized body that are read and thrown away, so that its sender gets to read the 413.
pub const DRAIN_BODY_BYTES: usize = 64 * 1024 * 1024;
/// A request's head must be whole by then, counted from the connection or from the answer before: a connection that
/// is kept open for nothing is closed then.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's body must be whole by then.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// From the end of the head to the answer, everything included.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// Connections of the listener. GitHub and a forwarder need a handful; each may hold one body in memory.
pub const MAX_HTTP_CONNECTIONS: usize = 64;
/// Header fields of one request.
pub const MAX_HTTP_HEADERS: usize = 100;
/// Longest `X-GitHub-Delivery`, in bytes. GitHub sends a UUID of 36; a relay may put a name in front of it.
pub const MAX_GITHUB_DELIVERY_BYTES: usize = 128;
/// Read buffer of one HTTP connection, in bytes; also bounds the head.
pub const HTTP_BUFFER_BYTES: usize = 64 * 1024;

// ---- alerts ---------------------------------------------------------------------------------------------------

/// Alerts of one delivery of an Alertmanager that are stored; they are one transaction. A group of more is a flood, whose
/// sender can bound it by itself (`max_alerts`).
pub const MAX_ALERTS: usize = 1_024;
/// Labels of one alert that become fields, and annotations as many: Prometheus' own rules have a dozen …
pub const MAX_ALERT_LABELS: usize = 64;
/// … the longest name of one, in bytes …
pub const MAX_LABEL_NAME_BYTES: usize = 128;
/// … and names and values of all labels, or of all annotations, in bytes, so that both travel in one frame.
pub const MAX_LABELS_BYTES: usize = 16 * 1024;
/// Longest fingerprint, status or time of an alert that becomes part of a `delivery_id`, in bytes: a fingerprint has 16, a
/// time 35. Of a longer one a hash does.
pub const MAX_ALERT_WORD_BYTES: usize = 64;

// ---- secrets --------------------------------------------------------------------------------------------------

/// Largest secret, in bytes; a longer file is not a secret.
pub const MAX_SECRET_BYTES: u64 = 4_096;
/// Bytes of randomness in a secret that waitbus makes: as many as the hash of the HMAC has.
pub const GENERATED_SECRET_BYTES: usize = 32;
/// Shortest secret that is stored without a warning, in bytes: whoever has one signed delivery can try shorter ones.
pub const SHORT_SECRET_BYTES: usize = 16;
/// How long the unit that decrypts a secret may take, as a chip that holds the key does: seconds, not minutes.
pub const CREDENTIAL_TIMEOUT: Duration = Duration::from_secs(30);

// ---- clients --------------------------------------------------------------------------------------------------

/// How long a client tries to have the hub back before it gives up with exit code 3.
pub const GRACE: Duration = Duration::from_secs(10);
/// How much earlier than a wait something may have happened that is told late, and still be told to it: clocks of two
/// machines differ by a second or two, and GitHub dates to the second.
pub const CLOCK_MARGIN: Duration = Duration::from_secs(5);
/// How long nothing may change for a commit before everything that belongs to it is taken to have been seen: GitHub
/// tells of the runs of a push, and of those that the end of a run starts, within seconds.
pub const SETTLE: Duration = Duration::from_secs(10);
/// Runs of a commit that the line of its verdict names: a person begins with the first, and a program has them all.
pub const NAMED_RUNS: usize = 3;
/// How long a hub that runs may take to say how it is: its loop never works longer than milliseconds.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client waits for a hub that it started to say that it is ready.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Size above which the log lines of services whose lines nobody else takes are thrown away at the next start, in bytes:
/// years of a hub that is well, and no burden on a disk if one is not.
pub const SERVICE_LOG_BYTES: u64 = 1024 * 1024;
/// Stack of the thread that waits for the end of a hub that this client started, in bytes: it makes one system call.
pub const REAPER_STACK_BYTES: usize = 64 * 1024;
/// How long git may take to say what it knows of a directory: it reads a few small files.
pub const GIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest answer of git that is read, in bytes: its remotes, of which even a large project has a hundred.
pub const GIT_OUTPUT_BYTES: usize = 64 * 1024;
/// How long a source that leaves waits for the answer of a hub that it is calling just then. One that has heard the
/// announcement answers in milliseconds, and one that has not need not be told.
pub const BYE_TIMEOUT: Duration = Duration::from_secs(1);
/// First pause between two attempts to reach a hub; doubles up to [`RETRY_MAX`].
pub const RETRY_MIN: Duration = Duration::from_millis(10);
/// Longest pause between two attempts to reach a hub.
pub const RETRY_MAX: Duration = Duration::from_millis(500);

// ---- the MCP server -------------------------------------------------------------------------------------------

/// Longest line that a client of the MCP server may send, in bytes: an event with the largest fields, each character of
/// them escaped, twice over.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024 * 1024;
/// Fenced text of one event that an agent gets at once, in bytes; exactly so many are not too many. What is longer is
/// cut, and a second address has all of it.
pub const FENCED_BYTES: usize = 64 * 1024;
/// Events that one call of `list_events` tells when nobody says how many …
pub const LISTED_EVENTS: usize = 50;
/// … how many at most: what a model reads in one go …
pub const MAX_LISTED_EVENTS: usize = 500;
/// … the bytes of their text, which one event may exceed …
pub const LISTED_BYTES: usize = 256 * 1024;
/// … and the rows that one call looks at: some tenths of a second. The cursor says where it stopped.
pub const SCANNED_ROWS: usize = 50_000;
/// Places at which events are missing that one wait tells of when it puts up with them: what is more is counted, because
/// what is wrong with a log is known by then.
pub const TOLD_GAPS: usize = 20;
/// Events that the resources `current`, `repo` and `agent` show: what has just happened.
pub const CURRENT_EVENTS: usize = 20;
/// Names that a completion offers; the protocol allows no more.
pub const MAX_COMPLETIONS: usize = 100;
/// How long `wait_for_event` waits when nobody says how long: every client that is known allows a minute …
pub const WAIT_DEFAULT: Duration = Duration::from_secs(45);
/// … and at most, whatever is asked for: a wait that takes longer is asked again.
pub const WAIT_MAX: Duration = Duration::from_hours(1);
/// How often a call that wants it hears that it is still waited for. Clients give up after 30 s without at the earliest.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(15);
/// How long a hub may be away from a subscription that nobody waits for. Beyond it something is broken for good.
pub const FOLLOW_GRACE: Duration = Duration::from_hours(1);
/// How long a server whose client has gone may take to say what it still can: it needs one or two milliseconds, and has
/// to be gone in fifty.
pub const LAST_WORDS: Duration = Duration::from_millis(40);
/// … and how long of that until it is written down which messages have been read, so that a goodbye can still be said.
pub const LAST_RECEIPTS: Duration = Duration::from_millis(20);
/// Refusals of what is no message that wait for a client that does not read them. There is no more to say to it.
pub const MAX_UNREAD_REFUSALS: usize = 64;

// ---- commands that are run ------------------------------------------------------------------------------------

/// How long `run` holds its command back so that the start is committed before anything that the command does. A
/// commit takes two milliseconds; a person does not notice fifty times that.
pub const TELL_START_TIMEOUT: Duration = Duration::from_millis(100);
/// How long `run` stays after its command for the end to be committed. By then a log is locked or its disk hangs.
pub const TELL_END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a command under `on --loop` has between being asked to end and being killed: a server closes its
/// connections in that time, and a person still waits for it.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of the end of a command's standard error is looked at, in bytes …
pub const STDERR_TAIL_BYTES: usize = 8 * 1024;
/// … and how many lines of it become part of the event: what one reads first when something has failed.
pub const STDERR_TAIL_LINES: usize = 20;
/// Largest JUnit report that is read, in bytes: some 100,000 tests with their output.
pub const MAX_JUNIT_BYTES: u64 = 64 * 1024 * 1024;
/// How deep the elements of a JUnit report may be nested; real ones have five levels.
pub const MAX_JUNIT_DEPTH: usize = 64;
/// How many failing tests are named in an event: more is not read, and the count says how many there are …
pub const MAX_FAILING_TESTS: usize = 100;
/// … and how long each name may be, in characters, so that all of them travel in one frame.
pub const MAX_TEST_NAME_CHARS: usize = 150;

// ---- the configuration and the command line -------------------------------------------------------------------

/// Largest configuration file, in bytes: pages of comments, and nothing that somebody put there by mistake.
pub const MAX_SETTINGS_BYTES: u64 = 64 * 1024;
/// Longest duration that is taken, in seconds: a century. A longer one is a typing error, and sums would overflow.
pub const MAX_DURATION_SECS: u64 = 100 * 366 * 24 * 3_600;
