//! A server on loopback that behaves like the documented REST API of GitHub, as far as the poller asks it: pages with
//! `Link`, validators, the headers of the quota, and every way in which it may fail. It counts what it is asked.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::PATIENCE;

/// A request, when it came, and how it was answered.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub at: Instant,
    pub status: u16,
}

/// What happens to the next request instead of an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Half of what was announced.
    Truncated,
    /// Nothing, for as long as the other side waits.
    Silence,
    /// More than anybody should read.
    Huge,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<String, BTreeMap<i64, Value>>,
    jobs: BTreeMap<i64, BTreeMap<i64, Value>>,
    /// By the commit.
    statuses: BTreeMap<String, Vec<Value>>,
    faults: VecDeque<Fault>,
    /// Repositories all of whose answers are cut off.
    cut: BTreeSet<String>,
    asked: Vec<Asked>,
    token: Option<String>,
    /// Without a validator of the other kind.
    only_modified: bool,
}

pub struct Server {
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Server {
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = Arc::clone(&serving);
                thread::spawn(move || serve(stream, address, &serving));
            }
        });
        Server { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    /// A run of `octo/hello`, as it is now.
    pub fn run(&self, id: i64, attempt: i64, status: &str, conclusion: Option<&str>) -> Value {
        self.run_at(id, attempt, status, conclusion, Timestamp::now())
    }

    /// The same, last changed then.
    pub fn run_at(&self, id: i64, attempt: i64, status: &str, conclusion: Option<&str>, changed: Timestamp) -> Value {
        let second = Timestamp::from_second(changed.as_second()).unwrap();
        let run = json!({
            "id": id, "run_attempt": attempt, "run_number": id, "name": "ci", "display_title": "a change",
            "status": status, "conclusion": conclusion, "updated_at": second.to_string(), "head_branch": "main",
            "event": "push", "head_sha": format!("{id:040x}"), "check_suite_id": 10 * id, "pull_requests": [],
            "html_url": format!("https://github.com/octo/hello/actions/runs/{id}"),
            "actor": {"login": "octocat"}, "triggering_actor": {"login": "octocat"},
            "head_repository": {"full_name": "octo/hello"},
            "repository": {"name": "hello", "full_name": "octo/hello", "owner": {"login": "octo"}},
        });
        self.state().runs.entry("octo/hello".to_owned()).or_default().insert(id, run.clone());
        run
    }

    pub fn job(&self, run: i64, id: i64, status: &str, conclusion: Option<&str>) {
        let now = Timestamp::now().to_string();
        let job = json!({
            "id": id, "run_id": run, "run_attempt": 1, "name": format!("job {id}"), "workflow_name": "ci",
            "head_branch": "main", "head_sha": format!("{run:040x}"), "status": status, "conclusion": conclusion,
            "created_at": now, "started_at": now, "completed_at": now,
        });
        self.state().jobs.entry(run).or_default().insert(id, job);
    }

    /// What another service says of the commit of a run.
    pub fn status(&self, run: i64, id: i64, state: &str) {
        let status = json!({
            "id": id, "context": "other-ci", "state": state, "target_url": "https://ci.example.com/1",
            "created_at": Timestamp::now().to_string(), "creator": {"login": "ci"},
        });
        self.state().statuses.entry(format!("{run:040x}")).or_default().insert(0, status);
    }

    /// What a webhook would be sent about a run.
    pub fn delivery(run: &Value) -> Vec<u8> {
        let mut run = run.clone();
        let repository = run.as_object_mut().unwrap().remove("repository");
        let action = if run["status"] == "queued" { json!("requested") } else { run["status"].clone() };
        let (sender, workflow) = (run["actor"].clone(), json!({"name": run["name"]}));
        let payload = json!({"action": action, "workflow_run": run, "workflow": workflow, "repository": repository, "sender": sender});
        payload.to_string().into_bytes()
    }

    pub fn wants(&self, token: &str) {
        self.state().token = Some(token.to_owned());
    }

    pub fn fails(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Cuts off all answers about a repository from now on.
    pub fn cuts(&self, name: &str) {
        let mut state = self.state();
        state.runs.entry(name.to_owned()).or_default();
        state.cut.insert(format!("/repos/{name}/"));
    }

    pub fn only_modified(&self) {
        self.state().only_modified = true;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// Waits until there are more requests than this, and returns them all.
    #[track_caller]
    pub fn asked_more_than(&self, count: usize) -> Vec<Asked> {
        let enough = |state: &mut State| state.asked.len() <= count;
        let (state, late) = self.shared.1.wait_timeout_while(self.state(), PATIENCE, enough).unwrap();
        assert!(!late.timed_out(), "nothing was asked after {:?}", state.asked.last());
        state.asked.clone()
    }
}

fn serve(stream: TcpStream, address: SocketAddr, shared: &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some((path, headers)) = request(&mut reader) {
        let mut state = shared.0.lock().unwrap();
        let is_cut = state.cut.iter().any(|prefix| path.starts_with(prefix));
        let fault = if is_cut { Some(Fault::Truncated) } else { state.faults.pop_front() };
        let (status, headers_out, body) = match &fault {
            Some(Fault::Answer(status, headers, body)) => (
                *status,
                headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
                body.clone(),
            ),
            _ => state.answer(&path, &headers, address),
        };
        state.asked.push(Asked { path, headers, at: Instant::now(), status });
        drop(state);
        let (announced, body) = match fault {
            Some(Fault::Truncated) => (body.len(), body.as_bytes()[..body.len() / 2].to_vec()),
            Some(Fault::Huge) => (64 << 20, Vec::new()),
            _ => (body.len(), body.clone().into_bytes()),
        };
        let now = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()).unwrap();
        let mut head = format!("HTTP/1.1 {status} X\r\ndate: {now}\r\ncontent-length: {announced}\r\n");
        for (name, value) in headers_out {
            head.extend([&*name, ": ", &*value, "\r\n"]);
        }
        shared.1.notify_all();
        let sent = match fault {
            // Until the other side has had enough.
            Some(Fault::Silence) => stream.read(&mut [0]).map(|_| ()),
            Some(Fault::Truncated) => stream
                .write_all(&[head.as_bytes(), b"\r\n", &body].concat())
                .and_then(|()| stream.shutdown(std::net::Shutdown::Both)),
            Some(Fault::Huge) => {
                stream.write_all(&[head.as_bytes(), b"\r\n"].concat()).unwrap();
                let spaces = vec![b' '; 1 << 20];
                (0..64).try_for_each(|_| stream.write_all(&spaces))
            }
            _ => stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat()),
        };
        if sent.is_err() {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<(String, HashMap<String, String>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1)?.to_owned();
    let header =
        |line: &String| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Some((path, lines[1..].iter().filter_map(header).collect()))
}

type Answer = (u16, Vec<(String, String)>, String);

impl State {
    fn answer(&self, path: &str, headers: &HashMap<String, String>, address: SocketAddr) -> Answer {
        let mut out = vec![
            ("x-ratelimit-limit".to_owned(), "1000000".to_owned()),
            ("x-ratelimit-remaining".to_owned(), "900000".to_owned()),
            ("x-ratelimit-reset".to_owned(), (Timestamp::now().as_second() + 3_000).to_string()),
        ];
        if let Some(token) = &self.token
            && headers.get("authorization") != Some(&format!("Bearer {token}"))
        {
            return (401, out, r#"{"message":"Bad credentials"}"#.to_owned());
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let number = |key: &str, otherwise| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
            value.map_or(otherwise, |value| value.parse().unwrap())
        };
        let (per_page, page): (usize, usize) = (number("per_page", 30), number("page", 1));
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let (key, items): (_, Vec<&Value>) = match *parts {
            ["repos", owner, repo, "actions", "runs"] => {
                let Some(runs) = self.runs.get(&format!("{owner}/{repo}")) else { return not_found(out) };
                ("workflow_runs", runs.values().rev().collect())
            }
            ["repos", owner, repo, "actions", "runs", id] => {
                let runs = self.runs.get(&format!("{owner}/{repo}"));
                let run = runs.and_then(|runs| runs.get(&id.parse().unwrap()));
                return run.map_or_else(|| not_found(out.clone()), |run| (200, out.clone(), run.to_string()));
            }
            ["repos", _, _, "actions", "runs", id, "attempts", _, "jobs"] => {
                let jobs = self.jobs.get(&id.parse().unwrap());
                ("jobs", jobs.into_iter().flat_map(BTreeMap::values).collect())
            }
            ["repos", _, _, "commits", sha, "statuses"] => {
                ("statuses", self.statuses.get(sha).into_iter().flatten().collect())
            }
            ["repos", _, _, "commits", _, "check-runs"] => ("check_runs", Vec::new()),
            _ => return not_found(out),
        };
        let shown: Vec<_> = items.iter().skip((page - 1) * per_page).take(per_page).collect();
        let body = if key == "statuses" { json!(shown) } else { json!({"total_count": items.len(), key: shown}) };
        let body = body.to_string();
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let (etag, modified) = (format!("W/\"{:x}\"", hasher.finish()), format!("version {:x}", hasher.finish()));
        let (asked, is) = if self.only_modified { ("if-modified-since", &modified) } else { ("if-none-match", &etag) };
        if headers.get(asked) == Some(is) {
            return (304, out, String::new());
        }
        out.push(if self.only_modified { ("last-modified".to_owned(), modified) } else { ("etag".to_owned(), etag) });
        if page * per_page < items.len() {
            let next = format!("<http://{address}{path}?per_page={per_page}&page={}>; rel=\"next\"", page + 1);
            out.push(("link".to_owned(), next));
        }
        (200, out, body)
    }
}

fn not_found(headers: Vec<(String, String)>) -> Answer {
    (404, headers, r#"{"message":"Not Found"}"#.to_owned())
}
