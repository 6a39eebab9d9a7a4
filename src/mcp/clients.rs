//! How long a tool call may take, by the name that the client gives itself.
//!
//! A call that takes longer than its client allows is an error for the model, and what it would have heard is lost to
//! it. So a wait ends before that, with an answer that says from where to go on. The numbers are those of the clients'
//! own sources and documents; MCP.md has the table.

use std::time::Duration;

use crate::model::limits::{WAIT_DEFAULT, WAIT_MAX};

/// How long a wait may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patience {
    /// If nobody says how long.
    usual: Duration,
    /// At most.
    most: Duration,
    /// At most, for a call that hears of its progress.
    with_progress: Duration,
}

const fn seconds(usual: u64, most: u64, with_progress: u64) -> Patience {
    let of = Duration::from_secs;
    Patience { usual: of(usual), most: of(most), with_progress: of(with_progress) }
}

/// Clients by the beginning of their names, each with less than its own limit.
const KNOWN: [(&str, Patience); 7] = [
    // A call goes to the background after 2 minutes; one without a sign of life ends after 30.
    ("claude", seconds(110, 1_700, 3_600)),
    // 300 s, and 120 s in versions that are still in use; progress changes nothing.
    ("codex", seconds(100, 110, 110)),
    // 10 minutes.
    ("gemini", seconds(110, 570, 570)),
    // 300 s.
    ("goose", seconds(110, 280, 280)),
    // 60 s, which can be configured.
    ("zed", seconds(45, 55, 55)),
    // 60 s, counted anew with each progress notification.
    ("opencode", seconds(45, 55, 3_600)),
    // Unknown; others of its kind have 60 s.
    ("cursor", seconds(45, 55, 55)),
];

/// How long a call waits, for this client, which asks for so long, and hears of its progress or does not.
pub(super) fn wait(client: Option<&str>, asked: Option<Duration>, progress: bool) -> Duration {
    let name = client.unwrap_or_default().to_ascii_lowercase();
    let known = KNOWN.iter().find(|(start, _)| name.starts_with(start)).map(|(_, patience)| *patience);
    let patience = known.unwrap_or(Patience { usual: WAIT_DEFAULT, most: WAIT_MAX, with_progress: WAIT_MAX });
    let most = if progress { patience.with_progress } else { patience.most };
    asked.unwrap_or(patience.usual).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_before_its_client_gives_up() {
        let secs =
            |client, asked: Option<u64>, progress| wait(client, asked.map(Duration::from_secs), progress).as_secs();
        assert_eq!(secs(None, None, false), 45);
        assert_eq!(secs(Some("somebody"), Some(600), false), 600, "whoever asks for it gets it");
        assert_eq!(secs(Some("somebody"), Some(86_400), true), 3_600);
        assert_eq!(secs(Some("claude-code"), None, false), 110);
        assert_eq!(secs(Some("codex-mcp-client"), Some(600), true), 110);
        assert_eq!(secs(Some("Zed"), Some(600), true), 55);
        assert_eq!(secs(Some("opencode"), Some(600), false), 55);
        assert_eq!(secs(Some("opencode"), Some(600), true), 600);
        for (name, patience) in KNOWN {
            assert!(patience.usual <= patience.most && patience.most <= patience.with_progress, "{name}");
        }
    }
}
