//! Cleaning of text that came from outside, before a terminal or an agent reads it.

use super::limits::MAX_SUMMARY_CHARS;

/// One line that is safe to print: control characters (ANSI escapes among them) separate words, invisible and
/// reordering characters vanish, runs of white space collapse, and it is cut with `…` at
/// [`MAX_SUMMARY_CHARS`] characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut length = 0;
    let mut gap = false;
    for c in text.chars().filter(|&c| !is_invisible(c)) {
        if c.is_whitespace() || c.is_control() {
            gap = length > 0;
            continue;
        }
        let needed = if gap { 2 } else { 1 };
        if length + needed > MAX_SUMMARY_CHARS {
            if length == MAX_SUMMARY_CHARS {
                line.pop();
            }
            line.push('…');
            return line;
        }
        if gap {
            line.push(' ');
        }
        line.push(c);
        length += needed;
        gap = false;
    }
    line
}

/// Characters that take no space and hide or reorder what is around them: soft hyphens, bidirectional marks and
/// overrides, zero-width characters, variation selectors, tags.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_hidden_characters_do_not_reach_the_terminal() {
        assert_eq!(one_line("a\x1b[31mred\x07\u{202e}b\u{200b}c\r\nd"), "a [31mred bc d");
        assert_eq!(one_line("  spread\t out \n"), "spread out");
        assert_eq!(one_line("\u{9b}31m"), "31m");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let cut = one_line(&"é".repeat(MAX_SUMMARY_CHARS + 5));
        assert_eq!(cut.chars().count(), MAX_SUMMARY_CHARS);
        assert!(cut.ends_with('…'));
        let whole = "é".repeat(MAX_SUMMARY_CHARS);
        assert_eq!(one_line(&whole), whole);
    }
}
