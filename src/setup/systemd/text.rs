//! Writing a path into a unit file, so that systemd reads the same path (systemd.syntax(7), systemd.unit(5)).

use std::fmt::Write;

/// A word of a setting that is split into words, as a command line or `Environment=`: quoted where it has to be.
/// What the field's programs call escaping is three things here: quotes, C escapes, and specifiers.
#[must_use]
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-@=:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            c if c.is_ascii_control() => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// An argument of a command line, in which variables are replaced as well. The path of the program itself is not one.
#[must_use]
pub fn argument(text: &str) -> String {
    word(text).replace('$', "$$")
}

/// A program as the first word of a command line. systemd runs none whose path has quotes or backslashes; a shell does,
/// and becomes it.
#[must_use]
pub fn program(path: &str) -> String {
    if path.contains(['"', '\'', '\\']) || path.contains(|c: char| c.is_ascii_control()) {
        return format!("/bin/sh -c \"exec \\\"$$0\\\" \\\"$$@\\\"\" {}", argument(path));
    }
    word(path)
}

/// A path that is the whole of a setting: nothing is unquoted there, so only specifiers are escaped. `None` if it has a
/// line break, which nothing could carry over.
#[must_use]
pub fn rest(text: &str) -> Option<String> {
    (!text.contains(['\n', '\r'])).then(|| text.replace('%', "%%"))
}

/// The path of a credential, after its name and a colon. `None` if it has white space: systemd reads such a setting, but
/// from 255 on cannot pass it on to the process that it starts (seen on 257 and 262: `Failed to deserialize`).
#[must_use]
pub fn credential(text: &str) -> Option<String> {
    (!text.contains(char::is_whitespace)).then(|| text.replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_would_read_differently_is_quoted_and_the_rest_is_left_readable() {
        assert_eq!(word("/home/dev/.cargo/bin/waitbus"), "/home/dev/.cargo/bin/waitbus");
        assert_eq!(word("/a b/waitbus"), r#""/a b/waitbus""#);
        assert_eq!(word("/100%/waitbus"), r#""/100%%/waitbus""#);
        assert_eq!(word(r#"/it's "x\y"/waitbus"#), r#""/it's \"x\\y\"/waitbus""#);
        assert_eq!(word("/a\nb\u{7f}"), r#""/a\x0ab\x7f""#);
        assert_eq!(word("/é"), "\"/é\"");
        assert_eq!(word(""), "\"\"");
        assert_eq!(argument("/a $b"), "\"/a $$b\"");
        assert_eq!(program("/a $b/waitbus"), "\"/a $b/waitbus\"");
        assert_eq!(program("/it's/$b"), r#"/bin/sh -c "exec \"$$0\" \"$$@\"" "/it's/$$b""#);
        assert_eq!(rest("/a b/100%").unwrap(), "/a b/100%%");
        assert_eq!(rest("/a\nb"), None);
        assert_eq!(credential("/100%/it's").unwrap(), "/100%%/it's");
        assert_eq!(credential("/a b"), None);
    }
}
