//! The globs of `key*=GLOB`, by characters and not by bytes, as the regular expressions that they stand for: those are
//! bounded in memory and linear in time.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

use super::limits;

/// Compiles a glob, which has to match the whole of a text. `*` matches any characters, `/` among them, `?` one,
/// `[a-z]` and `[!a-z]` one of a set or none of it, `{a,b}` either; `\` takes the next one as it is.
pub(super) fn compile(glob: &str) -> Result<Regex, String> {
    let mut expression = String::from(r"(?s)\A(?:");
    let mut open = 0_usize;
    let mut rest = glob.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' => {
                while rest.next_if_eq(&'*').is_some() {}
                expression.push_str(".*");
            }
            '?' => expression.push('.'),
            '[' => set(&mut rest, &mut expression)?,
            '{' => {
                open += 1;
                expression.push_str("(?:");
            }
            '}' => {
                open = open.checked_sub(1).ok_or("`}` without a `{`; write `\\}` for the character")?;
                expression.push(')');
            }
            ',' if open > 0 => expression.push('|'),
            '\\' => literal(
                rest.next().ok_or("it ends with a `\\`, which takes the next character as it is")?,
                &mut expression,
            ),
            c => literal(c, &mut expression),
        }
    }
    if open > 0 {
        return Err("`{` is not closed; write `\\{` for the character".to_owned());
    }
    expression.push_str(r")\z");
    RegexBuilder::new(&expression)
        .size_limit(limits::MAX_REGEX_BYTES)
        .dfa_size_limit(limits::MAX_REGEX_BYTES)
        .build()
        .map_err(|_| format!("it would need more than {} bytes", limits::MAX_REGEX_BYTES))
}

/// What comes after `[`. A `]` that comes first is a member.
fn set(rest: &mut Peekable<Chars<'_>>, expression: &mut String) -> Result<(), String> {
    let unclosed = || "`[` is not closed; write `\\[` for the character".to_owned();
    expression.push('[');
    if rest.next_if(|&c| c == '!' || c == '^').is_some() {
        expression.push('^');
    }
    let mut is_first = true;
    loop {
        let from = rest.next().ok_or_else(unclosed)?;
        if from == ']' && !is_first {
            expression.push(']');
            return Ok(());
        }
        is_first = false;
        member(from, expression);
        // A `-` before the end is a member, too.
        let mut ahead = rest.clone();
        if ahead.next() == Some('-')
            && let Some(to) = ahead.next().filter(|&to| to != ']')
        {
            if to < from {
                return Err(format!("a range from {from:?} to {to:?} is empty: {to:?} comes before {from:?}"));
            }
            *rest = ahead;
            expression.push('-');
            member(to, expression);
        }
    }
}

fn literal(c: char, expression: &mut String) {
    expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

fn member(c: char, expression: &mut String) {
    // Writing to a text cannot fail.
    let _ = write!(expression, "\\x{{{:x}}}", u32::from(c));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_glob_matches_the_whole_of_a_text_by_characters() {
        for (glob, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "ab", false),
            ("*", "", true),
            ("**", "a/b\nc", true),
            ("a*c", "abbc", true),
            ("gr??e", "grüße", true),
            ("?", "ü", true),
            ("?", "", false),
            ("[à-ü]", "é", true),
            ("[!à-ü]", "é", false),
            ("[^a]", "b", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[a\\]", "\\", true),
            ("[.]", "x", false),
            ("a.b", "axb", false),
            ("(a|b)+$", "(a|b)+$", true),
            ("{a,b{c,d}}e", "bde", true),
            ("{a,b}", "c", false),
            ("{a,}b", "b", true),
            ("a,b", "a,b", true),
            ("\\*\\{\\\\", "*{\\", true),
            ("\\a", "a", true),
        ] {
            assert_eq!(compile(glob).unwrap().is_match(text), expected, "{glob} {text:?}");
        }
    }

    #[test]
    fn a_glob_that_cannot_be_read_says_why() {
        let huge = "?".repeat(limits::MAX_REGEX_BYTES / 8);
        for (glob, problem) in [
            ("[", "`[` is not closed"),
            ("[]", "`[` is not closed"),
            ("[!]", "`[` is not closed"),
            ("[b-a]", "comes before"),
            ("{a", "`{` is not closed"),
            ("a}", "without a `{`"),
            ("a\\", "ends with a `\\`"),
            (&huge, "more than"),
        ] {
            let refusal = compile(glob).unwrap_err();
            assert!(refusal.contains(problem), "{}: {refusal}", &glob[..glob.len().min(20)]);
        }
    }

    /// The plainest matcher of `*`, `?` and characters.
    fn matches(glob: &[char], text: &[char]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), None) => matches(rest, text),
            (Some(('*', rest)), Some((_, left))) => matches(rest, text) || matches(glob, left),
            (Some((wanted, rest)), Some((c, left))) => (*wanted == '?' || wanted == c) && matches(rest, left),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_glob_matches_what_the_plainest_matcher_matches(glob in "[abü.*?]{0,8}", text in "[abü.\n]{0,8}") {
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(compile(&glob).unwrap().is_match(&text), matches(&characters(&glob), &characters(&text)));
        }

        #[test]
        fn no_text_makes_the_compiler_panic(glob in "([\\[\\]{},!^*?\\\\a-]|\\PC){0,20}") {
            let _either = compile(&glob);
        }
    }
}
