//! `ci_status`: what the log knows of a commit's runs and jobs, without waiting.

use std::ops::ControlFlow;

use rmcp::model::CallToolResult;
use serde_json::{Map, Value, json};

use super::super::arguments::{Arguments, ToolError};
use super::super::{Server, shown};
use super::log::blocking;
use super::object;
use super::wait::commit;
use crate::client::commit::recall;
use crate::model::event::Event;
use crate::model::fence::Fenced;
use crate::model::filter::RepoFilter;
use crate::model::id::{EventId, Seq};
use crate::model::limits::SCANNED_ROWS;
use crate::model::sha::Sha;
use crate::store::{LogPaths, Reader, StoreError};

/// Whose newest commit is meant.
struct Newest {
    repo: RepoFilter,
    branch: Option<String>,
    pr_number: Option<u64>,
}

/// Tells it.
pub(in crate::mcp) async fn status(server: &Server, mut arguments: Arguments) -> Result<CallToolResult, ToolError> {
    let sha = arguments.text("sha")?;
    let repo = arguments.text("repo")?;
    let branch = arguments.text("branch")?;
    let pr_number = arguments.number("pr_number", 1..=u64::from(u32::MAX))?;
    if let Some(repo) = &repo {
        server.scope.check_repo("repo", repo)?;
    }
    let beside = [("branch", branch.is_some()), ("pr_number", pr_number.is_some())];
    let beside = beside.into_iter().find_map(|(name, given)| given.then_some(name));
    let sha = match (sha, &repo, beside) {
        (Some(_), _, Some(name)) => {
            return Err(ToolError::argument(name, "does not go with sha, which names the commit"));
        }
        (Some(sha), ..) => sha,
        (None, Some(repo), _) => {
            let repo = RepoFilter::parse(repo).map_err(|bad| ToolError::argument("repo", bad))?;
            newest(server, Newest { repo, branch, pr_number }).await?
        }
        (None, None, Some(name)) => return Err(ToolError::argument(name, "goes with repo, which is missing")),
        (None, None, None) => {
            return Err(ToolError("of what? Give sha, repo, or repo with branch or pr_number".into()));
        }
    };
    let asked = commit(server, sha, repo.as_slice()).await?;
    let recalled = recall(&server.directories, asked, EventId::ZERO).await?;
    let report = match recalled.ending.and_then(|mut ending| ending.shown.pop()) {
        // Its verdict has settled.
        Some(shown) => Map::from_iter([("failing".to_owned(), recalled.commit.so_far()["failing"].clone())])
            .into_iter()
            .chain(shown.json)
            .collect(),
        None => recalled.commit.so_far(),
    };
    Ok(told(report, &recalled.since.to_string()))
}

fn told(mut report: Map<String, Value>, cursor: &str) -> CallToolResult {
    let verdict = report.get("verdict").and_then(Value::as_str).map(|word| shown::verdict(word).to_owned());
    let count = |name: &str| report.get(name).and_then(Value::as_array).map_or(0, Vec::len);
    let (runs, failing) = (count("runs"), count("failing"));
    let sha = report.get("sha").cloned().unwrap_or_default();
    report.remove("cursor");
    let line = format!(
        "{}: {} of {runs} runs, checks and statuses; failing jobs: {failing}",
        sha.as_str().unwrap_or_default(),
        verdict.as_deref().unwrap_or("open"),
    );
    let structured = json!({
        "sha": sha, "verdict": verdict, "runs": runs, "failing": failing,
        "report": Value::from(Fenced::of(Value::Object(report))), "cursor": cursor,
    });
    shown::result(&line, object(structured))
}

/// The newest commit of a repository, a branch or a pull request that GitHub has told of.
async fn newest(server: &Server, wanted: Newest) -> Result<String, ToolError> {
    let paths = LogPaths::new(&server.directories.state);
    let name = wanted.repo.to_string();
    let scope = server.scope.clone();
    let found = blocking(move || -> Result<Option<String>, StoreError> {
        let reader = match Reader::open(&paths) {
            Err(StoreError::Missing(_)) => return Ok(None),
            other => other?,
        };
        let mut found = None;
        reader.scan_back(Seq(i64::MAX), SCANNED_ROWS, &mut |record| {
            found = wanted.head(&record.event).filter(|_| scope.shows(&record.event)).map(str::to_owned);
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    });
    found.await??.ok_or_else(|| {
        ToolError::argument(
            "repo",
            format!("among the newest {SCANNED_ROWS} events there is no commit of {name} like this"),
        )
    })
}

impl Newest {
    /// The commit that an event is about, if it is one that is wanted.
    fn head<'a>(&self, event: &'a Event) -> Option<&'a str> {
        let fields = &event.fields;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let wanted = event.source == "github"
            && self.repo.passes(&event.owner, &event.repo)
            && self.branch.as_deref().is_none_or(|branch| text("head_branch") == Some(branch))
            && self.pr_number.is_none_or(|number| fields.get("pr_number").and_then(Value::as_u64) == Some(number));
        text("head_sha").filter(|sha| wanted && Sha::is_written(sha))
    }
}
