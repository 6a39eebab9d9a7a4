//! What a conclusion means to somebody who asked whether it went well: yes, no, or neither.

/// How something has ended, in the words of GitHub's `conclusion`, which other sources use as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It went well.
    Success,
    /// It did not: `failure`, `cancelled`, `timed_out` or `startup_failure`. The word itself.
    Failure(String),
    /// It has ended, and that says neither: `skipped`, `neutral`, `action_required`, `stale`, or a word that is newer
    /// than this program. The word itself.
    Neither(String),
}

impl Verdict {
    /// The verdict of a `conclusion`. Words are compared exactly; one that is unknown is never guessed to be good.
    #[must_use]
    pub fn of(conclusion: &str) -> Verdict {
        match conclusion {
            "success" => Verdict::Success,
            "failure" | "cancelled" | "timed_out" | "startup_failure" => Verdict::Failure(conclusion.to_owned()),
            other => Verdict::Neither(other.to_owned()),
        }
    }

    /// The word that it came from.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Verdict::Success => "success",
            Verdict::Failure(word) | Verdict::Neither(word) => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_success_is_success_and_an_unknown_word_is_neither() {
        assert_eq!(Verdict::of("success"), Verdict::Success);
        for word in ["failure", "cancelled", "timed_out", "startup_failure"] {
            assert_eq!(Verdict::of(word), Verdict::Failure(word.into()));
        }
        for word in ["skipped", "neutral", "action_required", "stale", "Success", "succeeded", ""] {
            assert_eq!(Verdict::of(word), Verdict::Neither(word.into()));
            assert_eq!(Verdict::of(word).word(), word);
        }
    }
}
