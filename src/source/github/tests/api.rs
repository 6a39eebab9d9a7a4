//! The documented API, as far as the poller asks it: pages, validators, limits, redirects, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::http::{Reply, Request, Validators};

/// A request and how it was answered.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) status: u16,
}

/// How an answer fails.
pub(super) type Failure = fn(&mut Reply);

pub(super) struct Api {
    /// Seconds since the epoch.
    pub(super) now: i64,
    runs: BTreeMap<String, BTreeMap<i64, Value>>,
    jobs: BTreeMap<(String, i64), BTreeMap<i64, Value>>,
    /// Of a commit, by its list.
    commits: BTreeMap<(String, &'static str), Vec<Value>>,
    /// The token may not read them.
    pub(super) without_checks: bool,
    pub(super) asked: Vec<Asked>,
    pub(super) absent: BTreeSet<String>,
    pub(super) renamed: BTreeMap<String, String>,
    /// Where every request is sent.
    pub(super) redirect: Option<String>,
    /// Part of the path of those that are answered with 502.
    pub(super) broken: Option<&'static str>,
    /// Which request fails, and how.
    pub(super) failing: Option<(usize, Failure)>,
}

impl Api {
    pub(super) fn new(now: i64) -> Api {
        Api {
            now,
            runs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            commits: BTreeMap::new(),
            without_checks: false,
            asked: Vec::new(),
            absent: BTreeSet::new(),
            renamed: BTreeMap::new(),
            redirect: None,
            broken: None,
            failing: None,
        }
    }

    fn time(&self) -> String {
        Timestamp::from_second(self.now).unwrap().to_string()
    }

    pub(super) fn run(&mut self, name: &str, id: i64, status: &str, conclusion: Option<&str>) {
        self.rerun(name, id, 1, status, conclusion);
    }

    pub(super) fn rerun(&mut self, name: &str, id: i64, attempt: i64, status: &str, conclusion: Option<&str>) {
        let (owner, repo) = name.split_once('/').unwrap();
        let run = json!({
            "id": id, "run_attempt": attempt, "run_number": id, "name": "ci", "status": status,
            "conclusion": conclusion, "updated_at": self.time(), "head_branch": "main", "event": "push",
            "head_sha": format!("{id:040x}"), "actor": {"login": "octocat"},
            "repository": {"name": repo, "full_name": name, "owner": {"login": owner}},
        });
        self.runs.entry(name.to_owned()).or_default().insert(id, run);
    }

    pub(super) fn delete(&mut self, name: &str, id: i64) {
        self.runs.get_mut(name).unwrap().remove(&id);
    }

    pub(super) fn job(&mut self, name: &str, run: i64, id: i64, status: &str, conclusion: Option<&str>) {
        let time = self.time();
        let job = json!({
            "id": id, "run_id": run, "run_attempt": 1, "name": format!("job {id}"), "workflow_name": "ci",
            "status": status, "conclusion": conclusion, "created_at": time, "started_at": time, "completed_at": time,
        });
        self.jobs.entry((name.to_owned(), run)).or_default().insert(id, job);
    }

    /// The check of another app, of the commit of a run.
    pub(super) fn check(&mut self, run: i64, id: i64, status: &str, conclusion: Option<&str>) {
        let end = conclusion.map(|_| self.time());
        let check = json!({
            "id": id, "name": "scan", "status": status, "conclusion": conclusion, "head_sha": format!("{run:040x}"),
            "started_at": self.time(), "completed_at": end, "app": {"slug": "scanner"}, "check_suite": {"id": 7},
        });
        self.commits.insert((format!("{run:040x}"), "check-runs"), vec![check]);
    }

    /// A status of the commit of a run.
    pub(super) fn status(&mut self, run: i64, id: i64, state: &str) {
        let status = json!({
            "id": id, "context": "other-ci", "state": state, "created_at": self.time(), "creator": {"login": "ci"},
        });
        self.commits.entry((format!("{run:040x}"), "statuses")).or_default().insert(0, status);
    }

    pub(super) fn asked_of(&self, name: &str) -> Vec<Asked> {
        let prefix = format!("/repos/{name}/");
        self.asked.iter().filter(|asked| asked.path.starts_with(&prefix)).cloned().collect()
    }

    pub(super) fn answer(&mut self, request: &Request) -> Reply {
        let mut reply = self.reply(request);
        reply.date = Some(self.now);
        (reply.limit, reply.remaining, reply.reset) = (Some(1_000_000), Some(900_000), Some(self.now + 3_600));
        if self.broken.is_some_and(|part| request.path.contains(part)) {
            reply = Reply { status: 502, body: Vec::new(), ..reply };
        }
        if let Some((at, fail)) = self.failing
            && at == self.asked.len()
        {
            fail(&mut reply);
            self.failing = None;
        }
        self.asked.push(Asked { path: request.path.clone(), status: reply.status });
        reply
    }

    fn reply(&self, request: &Request) -> Reply {
        let moved = |location: String| Reply { status: 301, location: Some(location), ..Reply::default() };
        if let Some(location) = &self.redirect {
            return moved(location.clone());
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let (name, rest) = match path.strip_prefix("/repositories/1") {
            Some(rest) => (self.renamed.values().next().unwrap().clone(), rest),
            None => {
                let parts: Vec<_> = path.splitn(5, '/').collect();
                (format!("{}/{}", parts[2], parts[3]), &path["/repos/".len() + parts[2].len() + parts[3].len() + 1..])
            }
        };
        if path.starts_with("/repos/") && self.renamed.contains_key(&name) {
            return moved(format!("https://api.github.com/repositories/1{rest}?{query}"));
        }
        if self.absent.contains(&name) {
            return not_found();
        }
        let number = |key: &str, otherwise| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
            value.map_or(otherwise, |value| value.parse().unwrap())
        };
        let (per_page, page): (usize, usize) = (number("per_page", 30), number("page", 1));
        let parts: Vec<_> = rest.trim_start_matches('/').split('/').collect();
        let runs = self.runs.get(&name);
        let (key, items): (_, Vec<&Value>) = match *parts {
            ["actions", "runs"] => ("workflow_runs", runs.into_iter().flat_map(|runs| runs.values().rev()).collect()),
            ["actions", "runs", id] => {
                let run = runs.and_then(|runs| runs.get(&id.parse().unwrap()));
                return run.map_or_else(not_found, |run| Reply {
                    status: 200,
                    body: run.to_string().into(),
                    ..Reply::default()
                });
            }
            ["actions", "runs", id, "attempts", _, "jobs"] => {
                let jobs = self.jobs.get(&(name.clone(), id.parse().unwrap()));
                ("jobs", jobs.into_iter().flat_map(BTreeMap::values).collect())
            }
            ["commits", _, _] if self.without_checks => {
                let body = br#"{"message":"Resource not accessible by personal access token"}"#.to_vec();
                return Reply { status: 403, body, ..Reply::default() };
            }
            ["commits", sha, list @ ("check-runs" | "statuses")] => {
                let list = if list == "statuses" { "statuses" } else { "check-runs" };
                let items = self.commits.get(&(sha.to_owned(), list));
                ("check_runs", items.into_iter().flatten().collect())
            }
            _ => panic!("{path}"),
        };
        let shown: Vec<_> = items.iter().skip((page - 1) * per_page).take(per_page).collect();
        let is_bare = path.ends_with("/statuses");
        let body = if is_bare { json!(shown) } else { json!({"total_count": items.len(), key: shown}) }.to_string();
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let etag = Some(format!("W/\"{:x}\"", hasher.finish()));
        let validators = Validators { etag, modified: None };
        if request.known.etag.is_some() && request.known.etag == validators.etag {
            return Reply { status: 304, ..Reply::default() };
        }
        let next = (page * per_page < items.len())
            .then(|| format!("https://api.github.com{path}?per_page={per_page}&page={}", page + 1));
        Reply { status: 200, validators, next, body: body.into(), ..Reply::default() }
    }
}

fn not_found() -> Reply {
    Reply { status: 404, body: br#"{"message":"Not Found"}"#.to_vec(), ..Reply::default() }
}
