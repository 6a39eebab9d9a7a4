//! Completion of the variables of the resource templates, from what the newest events name.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rmcp::model::{CompleteRequestParams, CompletionInfo, Reference};
use serde_json::Value;

use super::arguments::ToolError;
use super::tools::log::blocking;
use super::{Server, address};
use crate::model::event::Event;
use crate::model::id::Seq;
use crate::model::limits::{MAX_COMPLETIONS, SCANNED_ROWS};
use crate::model::message::{AgentName, SOURCE};
use crate::model::text::one_line;
use crate::store::{LogPaths, Reader, StoreError};

/// A variable of a template.
#[derive(Clone, Debug)]
enum Variable {
    Owner,
    /// The repositories of this owner, if one is given.
    Repo(Option<String>),
    Id,
    Agent,
}

impl Variable {
    fn of(request: &CompleteRequestParams) -> Option<Variable> {
        let Reference::Resource(template) = &request.r#ref else { return None };
        let given = request.context.as_ref().and_then(|context| context.arguments.as_ref());
        match (&*template.uri, &*request.argument.name) {
            (address::REPO, "owner") => Some(Variable::Owner),
            (address::REPO, "repo") => Some(Variable::Repo(given.and_then(|given| given.get("owner").cloned()))),
            (address::EVENT, "ulid") => Some(Variable::Id),
            (address::AGENT, "name") => Some(Variable::Agent),
            _ => None,
        }
    }

    fn values(&self, event: &Event) -> Vec<String> {
        let text = |name: &str| event.fields.get(name).and_then(Value::as_str).map(str::to_owned);
        match self {
            Variable::Owner => vec![event.owner.clone()],
            Variable::Repo(owner) => {
                let of_owner = owner.as_ref().is_none_or(|owner| owner.eq_ignore_ascii_case(&event.owner));
                if of_owner { vec![event.repo.clone()] } else { Vec::new() }
            }
            Variable::Id => vec![event.id.to_string()],
            Variable::Agent if event.source == SOURCE => [text("msg_to"), text("msg_from")]
                .into_iter()
                .flatten()
                .filter(|name| name.parse::<AgentName>().is_ok())
                .collect(),
            Variable::Agent => Vec::new(),
        }
    }
}

/// The values that begin like this.
pub(super) async fn complete(server: &Server, request: CompleteRequestParams) -> Result<CompletionInfo, ToolError> {
    let nothing = || CompletionInfo::with_all_values(Vec::new()).map_err(ToolError);
    let Some(variable) = Variable::of(&request) else { return nothing() };
    let paths = LogPaths::new(&server.directories.state);
    let (scope, start) = (server.scope.clone(), request.argument.value);
    let found = blocking(move || -> Result<BTreeSet<String>, StoreError> {
        let reader = match Reader::open(&paths) {
            Err(StoreError::Missing(_)) => return Ok(BTreeSet::new()),
            other => other?,
        };
        let mut found = BTreeSet::new();
        reader.scan_back(Seq(i64::MAX), SCANNED_ROWS, &mut |record| {
            if scope.shows(&record.event) {
                let values = variable.values(&record.event).into_iter();
                // A name that does not look like itself is no name to choose.
                found.extend(
                    values.filter(|value| !value.is_empty() && value.starts_with(&start) && one_line(value) == *value),
                );
            }
            if found.len() > MAX_COMPLETIONS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    });
    let mut values: Vec<_> = found.await??.into_iter().collect();
    let more = values.len() > MAX_COMPLETIONS;
    values.truncate(MAX_COMPLETIONS);
    CompletionInfo::with_pagination(values, None, more).map_err(ToolError)
}
