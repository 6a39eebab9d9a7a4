//! Cleaning of text that came from outside, before a terminal or an agent reads it.

use std::borrow::Cow;

use super::limits::MAX_SUMMARY_CHARS;

/// What begins an escape sequence: ESC, and its eight-bit forms for a sequence, a command and texts that are none of the
/// reader's.
const BEGINS: [char; 7] = ['\u{1b}', '\u{90}', '\u{98}', '\u{9b}', '\u{9d}', '\u{9e}', '\u{9f}'];

/// One line that is safe to print: escape sequences are taken out whole, other control characters separate words,
/// invisible and reordering characters vanish, runs of white space collapse, and it is cut with `…` at
/// [`MAX_SUMMARY_CHARS`] characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    if is_plain_line(text) {
        return text.to_owned();
    }
    // Without the character that begins it the rest of a sequence would stand there as text.
    let text = if text.contains(BEGINS) { Cow::Owned(without_escapes(text)) } else { Cow::Borrowed(text) };
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

/// The text, or its beginning with `…` in place of the rest, so that nobody takes the beginning for the whole. It is
/// at most `longest` bytes long, which has to be enough for the mark.
#[must_use]
pub fn cut(text: &str, longest: usize) -> String {
    const MARK: char = '…';
    if text.len() <= longest {
        return text.to_owned();
    }
    format!("{}{MARK}", &text[..text.floor_char_boundary(longest.saturating_sub(MARK.len_utf8()))])
}

/// Whether nothing has to be done to a text, told of nearly all of them without looking at its characters one by one.
fn is_plain_line(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = bytes.len() <= MAX_SUMMARY_CHARS && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    plain && bytes.first() != Some(&b' ') && bytes.last() != Some(&b' ') && !bytes.windows(2).any(|pair| pair == b"  ")
}

/// The last lines of what a program has printed, each as [`one_line`] has it, without the empty ones. Colours and other
/// escape sequences are taken out whole, and of a line that was overwritten, as a progress bar is, what was left of it
/// on the screen stays.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let plain = without_escapes(text);
    let shown = |line: &str| one_line(line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default());
    let mut lines: Vec<String> = plain.rsplit('\n').map(shown).filter(|line| !line.is_empty()).take(count).collect();
    lines.reverse();
    lines.join("\n")
}

/// The same text on its own lines, safe to print: escape sequences are taken out whole, invisible and reordering
/// characters vanish, and any other control character is a space. Nothing is cut.
#[must_use]
pub fn lines(text: &str) -> Vec<String> {
    let shown = |line: &str| {
        let mut plain = String::with_capacity(line.len());
        for c in line.trim_end_matches('\r').chars().filter(|&c| !is_invisible(c)) {
            match c {
                '\t' => plain.push_str("    "),
                '\u{2028}' | '\u{2029}' => plain.push(' '),
                c if c.is_control() => plain.push(' '),
                c => plain.push(c),
            }
        }
        plain
    };
    without_escapes(text).trim_end_matches('\n').split('\n').map(shown).collect()
}

/// Takes escape sequences out (ECMA-48): `ESC [ … letter`, `ESC ] … BEL` or `ESC ] … ESC \` and what else has such an end,
/// `ESC ( letter` and its like, and ESC with one character.
pub(super) fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // What is no part of a sequence ends it: another one that begins, or a line.
            '\u{1b}' => match rest.next_if(|c| !c.is_control()) {
                Some('[') => while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                Some(']' | 'P' | 'X' | '^' | '_') => skip_command(&mut rest),
                Some(' '..='/') => while rest.next().is_some_and(|c| (' '..='/').contains(&c)) {},
                _ => {}
            },
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_command(&mut rest),
            '\u{9b}' => while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
            c => plain.push(c),
        }
    }
    plain
}

/// An operating system command ends with BEL or ESC \ or the eight-bit form of that; one that does not ends with its line.
fn skip_command(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = rest.next_if(|&c| c != '\n') {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// The same text with everything escaped that a terminal would act upon or not show. For what was typed, of which every
/// character may be what is wrong.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
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
        // "a [31mred" was what the terminal had been told, in the words of nobody.
        assert_eq!(one_line("a\x1b[31mred\x07\u{202e}b\u{200b}c\r\nd"), "ared bc d");
        assert_eq!(one_line("  spread\t out \n"), "spread out");
        assert_eq!(one_line("\u{9b}31mred"), "red");
        assert_eq!(one_line("\x1b\x1b[31mred\x1b\nend"), "red end");
        assert_eq!(one_line("\x1b(B\x1bPq#0\x1b\\six\u{9d}0;t\u{9c} x\x1b_a\x07y"), "six xy");
        assert_eq!(one_line("\x1b]0;title\x07a \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"), "a link");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("äöü", 6), "äöü");
        assert_eq!(cut("äöüß", 7), "äö…");
        assert_eq!(cut("äöüß", 6), "ä…");
        assert_eq!(cut("", 3), "");
    }

    #[test]
    fn what_is_escaped_loses_nothing_and_does_nothing() {
        assert_eq!(escaped("a\nb\u{1b}[31m\u{9b}\u{202e}é \\n"), r"a\nb\u{1b}[31m\u{9b}\u{202e}é \n");
    }

    #[test]
    fn the_last_lines_are_what_was_left_on_the_screen() {
        assert_eq!(last_lines("one\ntwo\n\n  \nthree", 2), "two\nthree");
        assert_eq!(last_lines(" 1%\r 50%\r100%\r\n\u{1b}[1;31merror\u{1b}[0m: no\n", 9), "100%\nerror: no");
        assert_eq!(
            last_lines("\u{1b}]0;title\u{7}a\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\ \u{1b}7b", 9),
            "alink b"
        );
        assert_eq!(last_lines("\u{1b}]0;no end\nnext\u{9b}2Kline\0\u{202e}", 9), "nextline");
        assert_eq!(last_lines("a\u{1b}", 9), "a");
        assert_eq!(last_lines("a\u{1b}[", 9), "a");
        assert_eq!(last_lines("", 9), "");
    }

    #[test]
    fn lines_stay_lines_and_do_nothing_else() {
        assert_eq!(lines("a\n\n  b\tc\r\n"), ["a", "", "  b    c"]);
        assert_eq!(lines("\u{1b}[2J\u{1b}]0;t\u{7}x\ry\u{9b}1Az\u{202e}\u{200b}\u{2028}\0"), ["x yz  "]);
        assert_eq!(lines(""), [""]);
        assert_eq!(lines(&"x".repeat(9_999))[0].len(), 9_999, "nothing is cut");
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
