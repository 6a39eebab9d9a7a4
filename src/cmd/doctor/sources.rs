//! The sources: what was set up, and is not there.

use super::{Finding, Here};
use crate::cmd::source::overview::{self, By, Row, rows};
use crate::config::settings::Settings;

pub(super) fn sources(here: &Here) -> Vec<Finding> {
    // The check of the configuration has said what is wrong with it.
    let Ok(settings) = Settings::load(&here.directories) else { return Vec::new() };
    let known = rows(&overview::Here { directories: &here.directories, hub: &here.hub, settings: &settings });
    known.iter().filter_map(look).collect()
}

/// Nothing is said of what nobody has set up.
fn look(row: &Row) -> Option<Finding> {
    let (name, reason) = (&row.source, row.reason().map(|reason| format!(": {reason}")).unwrap_or_default());
    let fix = row.next().unwrap_or_default();
    let enabled = row.service.as_ref().is_some_and(|service| service.enabled);
    if matches!(row.by, By::Webhook | By::Plugin) {
        return None;
    }
    Some(match &*row.state() {
        "mistake" => Finding::problem(format!("the section of {name} makes no sense{reason}"), fix),
        "failed" => Finding::problem(format!("{name} fails, and is started again each time{reason}"), fix),
        "silent" => {
            Finding::warning(format!("{name} sees nothing, and goes on trying{reason}"), "It says what it is missing")
        }
        "dead" if !row.is_there() => Finding::problem(format!("{name} has ended without a goodbye{reason}"), fix),
        _ if row.is_there() => Finding::ok(format!("{name} is there")),
        _ if enabled => Finding::problem(format!("{name} is enabled, and does not run"), fix),
        _ if row.section => Finding::warning(format!("{name} has a section in waitbus.toml, and nobody runs it"), fix),
        _ => return None,
    })
}
