//! The agents, as they are shipped with marks where paths belong, and as this program writes them. launchd knows no
//! variables in its property lists, so every path is spelled out.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::settings::WEBHOOK_ADDRESS;
use crate::setup::files::MARK;
use crate::setup::{SetupError, Wanted};

/// An agent as it is shipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// What launchd knows it by; also its file name, less `.plist`.
    pub label: Cow<'static, str>,
    shipped: &'static str,
    /// The source that it runs, if it runs one.
    source: Option<String>,
}

macro_rules! agent {
    ($label:literal) => {
        Agent {
            label: Cow::Borrowed($label),
            shipped: include_str!(concat!("../../../launchd/", $label, ".plist")),
            source: None,
        }
    };
}

/// The hub, with its two sockets.
pub const HUB: Agent = agent!("io.github.waitbus.hub");
/// The webhook listener, which is installed when it is asked for.
pub const WEBHOOK: Agent = agent!("io.github.waitbus.webhook");

/// What the agent of a source is called before its name.
const SOURCE_PREFIX: &str = "io.github.waitbus.source.";
/// What follows a label in the name of a file.
const SUFFIX: &str = ".plist";
/// The agent of some source.
const SOURCE: Agent = agent!("io.github.waitbus.source");

/// The agent of a source.
#[must_use]
pub fn of_source(name: &str) -> Agent {
    Agent { label: format!("{SOURCE_PREFIX}{name}").into(), source: Some(name.to_owned()), ..SOURCE }
}

/// The sources that have an agent in a directory, whoever wrote it.
#[must_use]
pub fn sources(agents: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| {
        let file = entry.file_name();
        let name = file.to_str()?.strip_prefix(SOURCE_PREFIX)?.strip_suffix(SUFFIX)?.to_owned();
        Some(name).filter(|name| !name.is_empty())
    };
    let mut found: Vec<_> = fs::read_dir(agents).into_iter().flatten().flatten().filter_map(name).collect();
    found.sort();
    found
}

impl Agent {
    /// Its file in the directory of this user's agents.
    #[must_use]
    pub fn file(&self, agents: &Path) -> PathBuf {
        agents.join(format!("{}{SUFFIX}", self.label))
    }

    /// The text of the file.
    pub fn render(&self, wanted: &Wanted<'_>) -> Result<String, SetupError> {
        let mut text = String::new();
        // A mark stands between two of these, so every other piece is the name of one. All are replaced in one pass,
        // because a path may look like a mark.
        for (place, piece) in self.shipped.split('@').enumerate() {
            if place % 2 == 0 {
                text += piece;
            } else {
                let path = self.value(piece, wanted)?;
                text += &path.to_str().and_then(escaped).ok_or(SetupError::NotText(path))?;
            }
        }
        let head = format!("<!-- {MARK} install`, which writes it anew. -->\n<plist ");
        Ok(text.replacen("<plist ", &head, 1))
    }

    /// What belongs in the place of a mark.
    fn value(&self, mark: &str, wanted: &Wanted<'_>) -> Result<PathBuf, SetupError> {
        let directories = wanted.directories;
        let source = self.source.as_deref().unwrap_or_default();
        Ok(match mark {
            "PROGRAM" => wanted.program.to_owned(),
            "BROADCAST" => directories.broadcast()?,
            "DOORBELL" => directories.doorbell()?,
            "RUNTIME_DIR" => directories.runtime.clone(),
            "STATE_DIR" => directories.state.clone(),
            "CONFIG_DIR" => directories.config.clone(),
            "HUB_LOG" => directories.hub_log(),
            "LISTEN_LOG" => directories.listen_log(),
            "SOURCE" => source.into(),
            "SOURCE_LOG" => directories.source_log(source),
            "WEBHOOK_HOST" => WEBHOOK_ADDRESS.ip().to_string().into(),
            "WEBHOOK_PORT" => WEBHOOK_ADDRESS.port().to_string().into(),
            // A test sees to it that none is left.
            unknown => format!("@{unknown}@").into(),
        })
    }
}

/// Text between two tags. `None` if it has a character that XML cannot carry, or that a reader may change.
fn escaped(text: &str) -> Option<String> {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => return None,
            c => escaped.push(c),
        }
    }
    Some(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_carry_is_refused_and_the_rest_is_escaped() {
        assert_eq!(escaped("/a b/<&>'\"é").unwrap(), "/a b/&lt;&amp;&gt;'\"é");
        for lost in ["/a\nb", "/a\rb", "/a\u{1}", "/a\u{7f}", "/\u{ffff}"] {
            assert_eq!(escaped(lost), None, "{lost:?}");
        }
    }
}
