//! The fields of an event: an object, or the text of one that nobody has looked into yet.
//!
//! What waitbus stores is the text that it would print again, byte for byte. Such a text goes into a frame as it is, and
//! is parsed when somebody asks for a field, if at all: a replay to somebody who wants everything parses nothing. Any
//! other text, as another program may have written it, is parsed and printed like a new event.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use super::event::{ENVELOPE, Fields};
use super::limits::MAX_FIELD_DEPTH;

/// Dereferences to the object.
#[derive(Clone, Default)]
pub struct EventFields {
    text: Option<Box<str>>,
    object: OnceLock<Fields>,
}

impl EventFields {
    /// Keeps a text that is what its object would be printed as, within the bounds of an event; `None` for any other.
    #[must_use]
    pub fn as_printed(text: &str) -> Option<EventFields> {
        is_as_printed(text).then(|| EventFields { text: Some(text.into()), object: OnceLock::new() })
    }

    /// What the object would be printed as, if that is known without doing it.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

impl Deref for EventFields {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        // A text that was kept is an object.
        self.object
            .get_or_init(|| self.text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
    }
}

impl From<Fields> for EventFields {
    fn from(object: Fields) -> EventFields {
        EventFields { text: None, object: object.into() }
    }
}

impl PartialEq for EventFields {
    fn eq(&self, other: &EventFields) -> bool {
        **self == **other
    }
}

impl fmt::Debug for EventFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Whether a text is what `serde_json` prints of the object that it parses from it, and could be the fields of an event.
/// Some such texts are not known as that: those with a fraction, an exponent, more digits than any 64 bits are sure to
/// hold, or an escape that is rare.
fn is_as_printed(text: &str) -> bool {
    let mut scan = Scan { rest: text.as_bytes() };
    scan.object(MAX_FIELD_DEPTH + 1, &ENVELOPE).is_some() && scan.rest.is_empty()
}

/// What is left of a text. Each step takes its part off the front, or returns `None` where that is not as printed.
struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    fn take(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    /// A value that may hold others, so many within each other.
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.rest.first()? {
            b'"' => self.string().map(|_| ()),
            b'{' => self.object(depth, &[]),
            b'[' => self.array(depth),
            b't' => self.take(b"true"),
            b'f' => self.take(b"false"),
            b'n' => self.take(b"null"),
            _ => self.integer(),
        }
    }

    fn object(&mut self, depth: usize, refused: &[&str]) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.take(b"{")?;
        if self.take(b"}").is_some() {
            return Some(());
        }
        let mut before: Option<&[u8]> = None;
        loop {
            let name = self.string()?;
            let in_order = before.is_none_or(|before| before < name);
            if !in_order || name.contains(&b'\\') || refused.iter().any(|refused| refused.as_bytes() == name) {
                return None;
            }
            before = Some(name);
            self.take(b":")?;
            self.value(depth)?;
            if self.take(b",").is_none() {
                return self.take(b"}");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.take(b"[")?;
        if self.take(b"]").is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.take(b",").is_none() {
                return self.take(b"]");
            }
        }
    }

    /// A text in its quotes; what is between them.
    fn string(&mut self) -> Option<&'a [u8]> {
        let inside = self.rest.strip_prefix(b"\"")?;
        let mut at = 0;
        loop {
            at += inside[at..].iter().position(|&byte| byte < b' ' || byte == b'"' || byte == b'\\')?;
            match inside[at] {
                b'"' => break,
                b'\\' if matches!(inside.get(at + 1)?, b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                _ => return None,
            }
        }
        self.rest = &inside[at + 1..];
        Some(&inside[..at])
    }

    fn integer(&mut self) -> Option<()> {
        /// Of so many, 64 bits hold any.
        const MOST_DIGITS: usize = 18;
        let (negative, digits) = match self.rest.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, self.rest),
        };
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let whole = match digits.first()? {
            b'0' => length == 1 && !negative,
            _ => (1..=MOST_DIGITS).contains(&length),
        };
        let (_, rest) = digits.split_at(length);
        if !whole || matches!(rest.first(), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.rest = rest;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::event::is_too_deep;
    use super::*;

    #[test]
    fn a_text_that_would_be_printed_otherwise_is_not_kept() {
        for text in [
            "{}",
            r#"{"a":1,"b":[-5,0,{"x":null,"y":true}],"c":"\"\\\b\f\n\r\t é"}"#,
            r#"{"source_id":"x","z":{"source":"y"}}"#,
        ] {
            assert_eq!(EventFields::as_printed(text).as_ref().and_then(EventFields::text), Some(text));
        }
        let deep = |depth| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_as_printed(&deep(MAX_FIELD_DEPTH)));
        let too_deep = deep(MAX_FIELD_DEPTH + 1);
        for text in [
            "",
            "1",
            "[]",
            "null",
            "{",
            "{}x",
            " {}",
            "{} ",
            r#"{"a" :1}"#,
            r#"{"a": 1}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{"b":1,"a":1}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"c":1,"b":1}}"#,
            r#"{"source":"x"}"#,
            r#"{"\n":1}"#,
            r#"{"a":"\/"}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"a":"\"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":-0}"#,
            r#"{"a":01}"#,
            r#"{"a":-}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":1234567890123456789}"#,
            r#"{"a":tru}"#,
            r#"{"a":truex}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1}"#,
            &too_deep,
        ] {
            assert!(!is_as_printed(text), "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|flag| json!(flag)),
            any::<i64>().prop_map(|n| json!(n)),
            any::<u64>().prop_map(|n| json!(n)),
            any::<f64>().prop_map(|n| json!(n)),
            ".{0,12}".prop_map(|text| json!(text)),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
                prop::collection::btree_map("[a-z\"]{0,3}|source", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        /// A frame would hold what its event does not, or no JSON at all.
        #[test]
        fn a_text_that_is_kept_is_the_one_that_its_object_is_printed_as(
            fields in prop::collection::btree_map("[a-z]{0,4}|source|owner", value(), 0..5),
            at in any::<prop::sample::Index>(),
            other in prop_oneof![Just(String::new()), "[\\[\\]{},:\"\\\\ 0-9eE.tu-]{1,2}"],
        ) {
            let printed = json!(fields).to_string();
            let places: Vec<_> = printed.char_indices().map(|(at, _)| at).collect();
            let place = places[at.index(places.len())];
            for text in [&printed, &format!("{}{other}{}", &printed[..place], &printed[place..]), &printed[..place]] as [&str; 3] {
                let Some(kept) = EventFields::as_printed(text) else { continue };
                let object: Fields = serde_json::from_str(text).unwrap();
                prop_assert_eq!(Value::Object(object.clone()).to_string(), text);
                prop_assert!(!is_too_deep(&object) && ENVELOPE.iter().all(|name| !object.contains_key(*name)));
                prop_assert_eq!(&*kept, &object);
            }
        }

        /// Every event of ours would be parsed and printed again.
        #[test]
        fn what_is_usually_stored_is_kept(
            fields in prop::collection::btree_map("[a-z_]{1,9}", prop_oneof![
                "[ -~äß\n]{0,30}".prop_map(|text| json!(text)), any::<i32>().prop_map(|n| json!(n)), any::<bool>().prop_map(|flag| json!(flag)),
            ], 0..6),
        ) {
            prop_assume!(ENVELOPE.iter().all(|name| !fields.contains_key(*name)));
            prop_assert!(is_as_printed(&json!(fields).to_string()));
        }
    }
}
