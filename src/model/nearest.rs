//! What somebody may have meant who wrote a name that nobody has.

use super::limits::MAX_COMPARED_CHARS;

/// The known name that is nearest to a mistyped one, if one is near: a letter or two, left out, doubled, swapped or
/// wrong, but never so many that hardly anything is left of the name.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    if length > MAX_COMPARED_CHARS {
        return None;
    }
    let far = (length / 3).clamp(1, 3);
    let near = known
        .into_iter()
        .filter(|known| known.len() <= 4 * MAX_COMPARED_CHARS && known.chars().count() <= MAX_COMPARED_CHARS);
    let distances = near.map(|known| (strsim::osa_distance(&name.to_lowercase(), &known.to_lowercase()), known));
    distances.filter(|&(distance, _)| distance <= far).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_near_and_another_word_is_not() {
        let known = ["github", "gitlab", "pytest", "fs", "conclusion", "exit_code"];
        for (typed, meant) in [
            ("gihtub", Some("github")),
            ("Github", Some("github")),
            ("conclussion", Some("conclusion")),
            ("exit-code", Some("exit_code")),
            ("sf", Some("fs")),
            ("deploy", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
        assert_eq!(nearest(&"g".repeat(100_000), known), None);
    }
}
