//! The token: the one that was set (`github-token`), else that of GitHub's own program, else none.

use std::process::Command;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::directories::Directories;
use crate::config::secret::{self, BadSecret, GITHUB_TOKEN};
use crate::model::limits::{GH_TIMEOUT, MAX_SECRET_BYTES};
use crate::sys::answer::answer;

/// A token and where it is from. It is never shown.
#[derive(Clone)]
pub(super) struct Token {
    header: Arc<Zeroizing<String>>,
    origin: Origin,
}

/// Where a token is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was set.
    Set,
    /// `gh` has it.
    Gh,
}

impl Origin {
    /// What to do about one that GitHub refuses.
    pub(super) fn remedy(self) -> String {
        match self {
            Origin::Set => {
                format!("GitHub refuses the token: set another one with `waitbus secret set {}`", GITHUB_TOKEN.name)
            }
            Origin::Gh => "GitHub refuses the token of `gh`: run `gh auth login`".to_owned(),
        }
    }
}

impl Token {
    fn new(bytes: &[u8], origin: Origin) -> Option<Token> {
        let text = str::from_utf8(bytes).ok()?.trim();
        // Anything else could not be a header.
        let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then(|| Token { header: Arc::new(Zeroizing::new(format!("Bearer {text}"))), origin })
    }

    /// The value of `Authorization`.
    pub(super) fn header(&self) -> &str {
        &self.header
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) fn is(&self, other: Option<&Token>) -> bool {
        other.is_some_and(|other| other.header == self.header)
    }
}

/// Looks for it, which may take as long as `gh` does.
pub(super) fn find(directories: &Directories, host: &str) -> Result<Option<Token>, BadSecret> {
    if let Some(secret) = secret::load(GITHUB_TOKEN, directories)? {
        return Ok(Token::new(secret.expose(), Origin::Set));
    }
    let mut gh = Command::new("gh");
    // Not in a directory of anybody's: gh would ask git about it.
    gh.args(["auth", "token", "--hostname", host]).env("GH_PROMPT_DISABLED", "1").current_dir(&directories.state);
    let most = usize::try_from(MAX_SECRET_BYTES).unwrap_or(usize::MAX);
    let said = answer(gh, GH_TIMEOUT, most).map(Zeroizing::new);
    Ok(said.and_then(|said| Token::new(&said, Origin::Gh)))
}
