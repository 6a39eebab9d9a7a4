//! Every kind of wait, with the events that answer it: for the tests of what must not change an answer.

/// A source and how it says that something has ended.
pub type Event = (&'static str, &'static str);

/// The arguments that emit an event. Its payload says the same as its conclusion.
pub fn emit((source, conclusion): &Event) -> [String; 9] {
    let payload = format!("{{\"said\": \"{conclusion}\"}}");
    ["emit", "--source", source, "--type", "t", "--conclusion", conclusion, "--payload", &payload].map(str::to_owned)
}

/// One kind of wait: what happens, what happens after something has gone wrong, and how the wait ends.
pub struct Kind {
    pub arguments: &'static [&'static str],
    pub before: &'static [Event],
    pub after: &'static [Event],
    pub code: i32,
    pub last: &'static str,
}

pub const KINDS: &[Kind] = &[
    Kind { arguments: &["--source", "a"], before: &[], after: &[("a", "failure")], code: 0, last: "a t: failure" },
    Kind {
        arguments: &["--source", "a", "--count", "3"],
        before: &[("a", "x"), ("a", "y")],
        after: &[("a", "failure")],
        code: 0,
        last: "a t: failure",
    },
    Kind {
        arguments: &["--where", "source == 'a' && fields.conclusion != 'success'"],
        before: &[("a", "success")],
        after: &[("a", "failure")],
        code: 0,
        last: "a t: failure",
    },
    Kind {
        arguments: &["--source", "a", "--verdict"],
        before: &[("b", "neutral")],
        after: &[("a", "neutral")],
        code: 4,
        last: "a t: neutral",
    },
    Kind {
        arguments: &["--all-of", "a:conclusion=success", "--all-of", "b:conclusion=success"],
        before: &[("a", "success"), ("a", "failure")],
        // Neither of these is an answer while the failure of `a` is the newest that it has said.
        after: &[("b", "success"), ("a", "success")],
        code: 0,
        last: "b:conclusion=success: b t: success",
    },
    Kind {
        arguments: &["--all-of", "a:conclusion=success", "--all-of", "b:conclusion=success", "--sticky"],
        before: &[("a", "success"), ("a", "failure")],
        after: &[("b", "success")],
        code: 0,
        last: "b:conclusion=success: b t: success",
    },
    Kind {
        arguments: &["--first-of", "a:conclusion=success", "--first-of", "b:conclusion=success", "--count", "2"],
        before: &[("a", "success"), ("b", "failure")],
        after: &[("b", "success")],
        code: 0,
        last: "b:conclusion=success: b t: success",
    },
    Kind {
        arguments: &["--then", "a:conclusion=success", "--then", "b:conclusion=success"],
        before: &[("b", "success"), ("a", "success")],
        after: &[("b", "success")],
        code: 0,
        last: "b:conclusion=success: b t: success",
    },
    Kind {
        arguments: &["--source", "c", "--none-of", "a:conclusion=failure"],
        before: &[("a", "success")],
        after: &[("a", "failure"), ("c", "success")],
        code: 1,
        last: "a:conclusion=failure: a t: failure",
    },
    Kind {
        arguments: &["--all-of", "a:payload.said=failure", "--all-of", "b[payload.said=success]:conclusion?"],
        before: &[("b", "success")],
        after: &[("a", "failure")],
        code: 0,
        last: "b[payload.said=success]:conclusion?: b t: success",
    },
    Kind {
        arguments: &["--source", "c", "--quiet-for", "1500ms"],
        before: &[("c", "success")],
        after: &[("c", "success")],
        code: 0,
        last: "quiet for 1.5 s",
    },
];
