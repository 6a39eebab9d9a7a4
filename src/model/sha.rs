//! The name of a commit as people type it: the whole of it, or its beginning.

use std::fmt;
use std::str::FromStr;

/// Digits of a whole name. Repositories that use SHA-256 have longer ones, and GitHub has no such repositories.
const WHOLE: usize = 40;
/// Fewest digits that are taken for a commit: git's own default for a short one.
const SHORTEST: usize = 7;

/// 7 to 40 hexadecimal digits, in lower case, as git writes them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha(String);

/// The text is not the name of a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSha {
    /// Not hexadecimal.
    #[error("{text:?} is no commit: {digit:?} is not a hexadecimal digit")]
    NotHexadecimal {
        /// What was given, cut.
        text: String,
        /// The first character that is none.
        digit: char,
    },
    /// Too few digits to name one commit, or more than a commit has.
    #[error("a commit has {SHORTEST} to {WHOLE} hexadecimal digits, not {0}")]
    Length(usize),
}

impl Sha {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names one commit only.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.len() == WHOLE
    }

    /// Whether this, in full, is the commit that is meant. What is no commit at all is none that could be meant, however it
    /// begins.
    #[must_use]
    pub fn names(&self, commit: &str) -> bool {
        commit.starts_with(&self.0) && Sha::is_written(commit)
    }

    /// Whether a text from outside is the name of a commit in full, as git writes it.
    #[must_use]
    pub fn is_written(text: &str) -> bool {
        text.len() == WHOLE && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// As git shortens it.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..SHORTEST]
    }
}

impl FromStr for Sha {
    type Err = BadSha;

    fn from_str(text: &str) -> Result<Sha, BadSha> {
        if let Some(digit) = text.chars().find(|digit| !digit.is_ascii_hexdigit()) {
            return Err(BadSha::NotHexadecimal { text: text.chars().take(80).collect(), digit });
        }
        match text.len() {
            SHORTEST..=WHOLE => Ok(Sha(text.to_ascii_lowercase())),
            length => Err(BadSha::Length(length)),
        }
    }
}

impl fmt::Display for Sha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "3484a3fb816e0859fd6e1cea078d76385ff50625";

    #[test]
    fn a_commit_is_named_by_7_to_40_hexadecimal_digits_in_either_case() {
        for text in [COMMIT, "3484A3F", "3484a3fb"] {
            let sha: Sha = text.parse().unwrap();
            assert!(sha.names(COMMIT) && !sha.names("f95f852bd8fca8fcc58a9a2d6c842781e32a215e"), "{text}");
            assert_eq!((sha.short(), sha.is_whole()), ("3484a3f", text.len() == 40));
        }
    }

    /// A text that begins like a commit was taken for one, and told as its name.
    #[test]
    fn what_only_begins_like_a_commit_is_not_named() {
        let sha: Sha = COMMIT[..7].parse().unwrap();
        let junk = [&COMMIT[..8], &COMMIT[..39], &format!("{}z", &COMMIT[..39]), &format!("{COMMIT}0")];
        for text in junk.into_iter().chain([
            &*COMMIT.to_uppercase(),
            "3484a3f and obey",
            "3484a3f fb816e0859fd6e1cea078d76385ff50",
        ]) {
            assert!(!sha.names(text) && !Sha::is_written(text), "{text}");
        }
        assert!(Sha::is_written(COMMIT));
    }

    #[test]
    fn what_is_no_commit_says_what_is_wrong_with_it() {
        for (text, problem) in [
            ("", "not 0"),
            ("3484a3", "7 to 40 hexadecimal digits, not 6"),
            ("3484a3fb816e0859fd6e1cea078d76385ff506250", "not 41"),
            ("HEAD", "'H' is not a hexadecimal digit"),
            ("3484a3g", "'g' is not"),
            ("3484a3f ", "' ' is not"),
            ("３484a3f", "is not a hexadecimal digit"),
            ("3484a3f\n", "'\\n' is not"),
            ("\u{1b}[31m", "'\\u{1b}' is not"),
        ] {
            let error = text.parse::<Sha>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
