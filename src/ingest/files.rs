//! From a change on the disk to the draft of an event. A path is bytes, and an event is text: what is no UTF-8 is written
//! so that it can be read back.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::event::{Draft, Fields, ingest_method};

/// The name of the source.
pub const SOURCE: &str = "fs";
/// The type of its events.
pub const EVENT_TYPE: &str = "fs_change";

/// What has become of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is there, and was not.
    Create,
    /// It is another than it was.
    Write,
    /// It was somewhere else.
    Move,
    /// It is gone.
    Delete,
}

impl Kind {
    /// The value of the field `kind`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Write => "write",
            Kind::Move => "move",
            Kind::Delete => "delete",
        }
    }
}

/// How a change has been noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// When it happened.
    #[default]
    Live,
    /// By looking everywhere, after the kernel had more to tell than it keeps.
    Rescan,
    /// By looking everywhere at the start: it happened while the source was away.
    Recovered,
}

/// What tells one state of a file from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The file's number on its device.
    pub inode: u64,
    /// When anything about it changed last, in nanoseconds since the epoch.
    pub changed: i128,
}

/// A change to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// What has become of it.
    pub kind: Kind,
    /// The absolute path.
    pub path: &'a [u8],
    /// Where it was, of [`Kind::Move`].
    pub from: Option<&'a [u8]>,
    /// Whether it is a directory, or was.
    pub is_directory: bool,
    /// Whether nobody is known to be writing to it still.
    pub is_complete: bool,
    /// How it was noticed.
    pub origin: Origin,
    /// The state that is told; none of what is gone.
    pub state: Option<State>,
    /// Whether this state is news even if it was told before: it was gone meanwhile.
    pub is_certain: bool,
}

/// The event of a change. The same state of a path has the same key, however it was noticed, so it is told once, unless
/// it has certainly come back.
#[must_use]
pub fn draft(change: &Change<'_>) -> Draft {
    let (path, is_escaped) = text(change.path);
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    let mut summary = format!("{} {path}", change.kind.word());
    let mut fields = Fields::new();
    fields.insert("kind".to_owned(), change.kind.word().into());
    fields.insert("name".to_owned(), path[name_at..].into());
    if let Some((stem, extension)) = path[name_at..].rsplit_once('.')
        && !(stem.is_empty() || extension.is_empty() || change.is_directory)
    {
        fields.insert("extension".to_owned(), extension.into());
    }
    let from = change.from.map(text);
    if let Some((from, _)) = &from {
        let _ = write!(summary, " from {from}");
        fields.insert("from".to_owned(), from.as_str().into());
    }
    fields.insert("is_directory".to_owned(), change.is_directory.into());
    let flags = [
        ("is_escaped", is_escaped || from.is_some_and(|(_, is_escaped)| is_escaped), true),
        ("is_complete", change.is_complete, false),
        ("rescan", change.origin == Origin::Rescan, true),
        ("recovered", change.origin == Origin::Recovered, true),
    ];
    for (flag, value, is_news) in flags {
        if value == is_news {
            fields.insert(flag.to_owned(), Value::Bool(value));
        }
    }
    fields.insert("path".to_owned(), path.into());
    Draft {
        source: SOURCE.to_owned(),
        event_type: EVENT_TYPE.to_owned(),
        delivery_id: change.state.map(|state| key(change.path, state)),
        is_certain: change.is_certain,
        ingest_method: ingest_method::SOURCE,
        summary,
        fields,
        ..Draft::default()
    }
}

fn key(path: &[u8], state: State) -> String {
    let hash = Sha256::digest(path);
    let mut key = String::new();
    for byte in &hash[..16] {
        let _ = write!(key, "{byte:02x}");
    }
    let _ = write!(key, ":{}:{}", state.inode, state.changed);
    key
}

/// A path as text, and whether it had to be escaped: then every backslash in it is doubled, and each byte that is part of
/// no character is `\xNN`.
fn text(path: &[u8]) -> (String, bool) {
    if let Ok(path) = str::from_utf8(path) {
        return (path.to_owned(), false);
    }
    let mut text = String::with_capacity(path.len() * 2);
    for chunk in path.utf8_chunks() {
        text += &chunk.valid().replace('\\', r"\\");
        for byte in chunk.invalid() {
            let _ = write!(text, r"\x{byte:02x}");
        }
    }
    (text, true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn change(path: &[u8]) -> Change<'_> {
        let state = Some(State { inode: 7, changed: 8 });
        let (kind, origin) = (Kind::Write, Origin::Live);
        Change { kind, path, from: None, is_directory: false, is_complete: true, origin, state, is_certain: false }
    }

    #[test]
    fn a_change_is_an_event_with_its_path_and_kind() {
        let draft = draft(&Change { kind: Kind::Move, from: Some(b"/a/old"), ..change(b"/a/b.tar.gz") });
        let fields = json!({
            "kind": "move", "path": "/a/b.tar.gz", "from": "/a/old", "name": "b.tar.gz", "extension": "gz",
            "is_directory": false,
        });
        assert_eq!(Value::Object(draft.fields.clone()), fields);
        assert_eq!(draft.summary, "move /a/b.tar.gz from /a/old");
        draft.check().unwrap();
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_a_field_and_nothing_else_is() {
        let fields = |change: &Change<'_>| Value::Object(draft(change).fields);
        assert_eq!(fields(&Change { is_complete: false, ..change(b"/a") })["is_complete"], false);
        assert_eq!(fields(&Change { origin: Origin::Rescan, ..change(b"/a") })["rescan"], true);
        assert_eq!(fields(&Change { origin: Origin::Recovered, ..change(b"/a") })["recovered"], true);
        for (path, extension) in
            [(&b"/a/.hidden"[..], None), (b"/a.b/c", None), (b"/a/b.", None), (b"/a/b.c", Some("c"))]
        {
            assert_eq!(fields(&change(path)).get("extension").and_then(Value::as_str), extension);
        }
        assert_eq!(fields(&Change { is_directory: true, ..change(b"/a/b.d") }).get("extension"), None);
    }

    #[test]
    fn the_same_state_has_the_same_key_and_another_state_or_path_another() {
        let key = |change: &Change<'_>| draft(change).delivery_id;
        let (a, b) = (change(b"/a"), change(b"/b"));
        assert_eq!(key(&a), key(&Change { kind: Kind::Create, origin: Origin::Recovered, ..a.clone() }));
        assert_ne!(key(&a), key(&b));
        assert_ne!(key(&a), key(&Change { state: Some(State { inode: 7, changed: 9 }), ..a.clone() }));
        assert_eq!(key(&Change { state: None, ..a }), None, "what is gone may go again");
    }

    #[test]
    fn a_path_that_is_no_text_is_escaped_and_says_so() {
        let fields = draft(&change(b"/a/\xff\\\xc3\xa9")).fields;
        assert_eq!((&fields["path"], &fields["is_escaped"]), (&json!(r"/a/\xff\\é"), &json!(true)));
        let fields = draft(&change(br"/a/\x")).fields;
        assert_eq!((&fields["path"], fields.get("is_escaped")), (&json!(r"/a/\x"), None));
    }

    fn bytes(text: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while let [first, after @ ..] = rest {
            rest = after;
            match (first, after) {
                (b'\\', [b'x', hex @ ..]) => {
                    bytes.push(u8::from_str_radix(str::from_utf8(&hex[..2]).unwrap(), 16).unwrap());
                    rest = &hex[2..];
                }
                (b'\\', [_, after @ ..]) => {
                    bytes.push(b'\\');
                    rest = after;
                }
                _ => bytes.push(*first),
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn no_byte_of_a_path_is_lost(path in prop::collection::vec(any::<u8>(), 0..64)) {
            let (text, is_escaped) = text(&path);
            prop_assert_eq!(if is_escaped { bytes(&text) } else { text.into_bytes() }, path);
        }
    }
}
