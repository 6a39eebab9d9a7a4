//! The two frames that carry an event: `event`, and `truncated` where that would exceed the cap; and the way back.

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::codec;
use super::event::{ENVELOPE, Event, Fields};
use super::limits::{KEPT_FIELD_BYTES, MAX_FRAME_BYTES};

/// The frame of an event: `event`, or `truncated` where that would exceed the cap.
#[must_use]
pub fn encode_event(event: &Event) -> Bytes {
    let whole = match event.fields.text() {
        Some(text) => encode_around(event, text),
        None => codec::encode(&EventFrame { event, fields: &event.fields }),
    };
    whole.unwrap_or_else(|| encode_truncated(event))
}

/// The frame around the text of the fields. They come last in it, after the envelope's names.
fn encode_around(event: &Event, text: &str) -> Option<Bytes> {
    const END: &[u8] = b"}}";
    let mut frame = codec::open(&EventFrame { event, fields: &Fields::new() }, text.len());
    if let Some(rest) = text.strip_prefix('{').filter(|rest| *rest != "}") {
        frame.truncate(frame.len() - END.len());
        frame.push(b',');
        frame.extend_from_slice(rest.as_bytes());
        frame.push(b'}');
    }
    codec::close(frame)
}

struct EventFrame<'a> {
    event: &'a Event,
    fields: &'a Fields,
}

impl Serialize for EventFrame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", "event")?;
        serialize_envelope(&mut map, event)?;
        map.serialize_entry("received_at", &event.received_at)?;
        map.serialize_entry("summary", &event.summary)?;
        map.serialize_entry("fields", &FieldsFrame { event, fields: self.fields.iter() })?;
        map.end()
    }
}

fn serialize_envelope<M: SerializeMap>(map: &mut M, event: &Event) -> Result<(), M::Error> {
    map.serialize_entry("event_id", &event.id)?;
    map.serialize_entry("source", &event.source)?;
    map.serialize_entry("event_type", &event.event_type)?;
    map.serialize_entry("owner", &event.owner)?;
    map.serialize_entry("repo", &event.repo)?;
    map.serialize_entry("delivery_id", &event.delivery_id)
}

/// `fields` as the wire has it: what the source knows, and the envelope's names once more.
struct FieldsFrame<'a, I> {
    event: &'a Event,
    fields: I,
}

impl<'a, I: Iterator<Item = (&'a String, &'a Value)> + Clone> Serialize for FieldsFrame<'a, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let values = [&event.source, &event.event_type, &event.owner, &event.repo, &event.ingest_method];
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in ENVELOPE.iter().zip(values) {
            map.serialize_entry(name, value)?;
        }
        for (name, value) in self.fields.clone() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The event as its reader would get it in one piece: the body of an `event` frame, whatever its size.
#[must_use]
pub fn event_body(event: &Event) -> Map<String, Value> {
    match serde_json::to_value(EventFrame { event, fields: &event.fields }) {
        Ok(Value::Object(body)) => body,
        _ => Map::new(),
    }
}

/// The event of such a body; `None` where a part of it is missing or of another type, as it is in a `truncated` frame.
#[must_use]
pub fn event_of(body: &Map<String, Value>) -> Option<Event> {
    let text = |name: &str| body.get(name)?.as_str().map(str::to_owned);
    let mut fields = body.get("fields")?.as_object()?.clone();
    let ingest_method = fields.get("ingest_method")?.as_str()?.to_owned();
    for name in ENVELOPE {
        fields.remove(name);
    }
    Some(Event {
        id: body.get("event_id")?.as_str()?.parse().ok()?,
        delivery_id: text("delivery_id")?,
        source: text("source")?,
        event_type: text("event_type")?,
        owner: text("owner")?,
        repo: text("repo")?,
        received_at: body.get("received_at")?.as_i64()?,
        ingest_method,
        summary: text("summary")?,
        fields: fields.into(),
    })
}

fn encode_truncated(event: &Event) -> Bytes {
    let mut kept = Fields::new();
    let mut room = MAX_FRAME_BYTES.saturating_sub(json_bytes(&TruncatedFrame { event, fields: &kept }));
    let verdict = ["status", "conclusion"].iter().filter_map(|name| event.fields.get_key_value(*name));
    for (name, value) in verdict.filter(|(_, value)| json_bytes(value) <= KEPT_FIELD_BYTES).chain(event.fields.iter()) {
        // Four bytes: two quotes, a colon, a comma. Names are escaped like texts.
        let cost = json_bytes(&Value::String(name.clone())).saturating_add(json_bytes(value)).saturating_add(4);
        if cost <= room && !kept.contains_key(name) {
            room -= cost;
            kept.insert(name.clone(), value.clone());
        }
    }
    codec::encode(&TruncatedFrame { event, fields: &kept }).unwrap_or_default()
}

fn json_bytes<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

struct TruncatedFrame<'a> {
    event: &'a Event,
    fields: &'a Fields,
}

impl Serialize for TruncatedFrame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", "truncated")?;
        serialize_envelope(&mut map, self.event)?;
        map.serialize_entry("reason", "frame_too_large")?;
        map.serialize_entry("max_frame_bytes", &MAX_FRAME_BYTES)?;
        let correlation = self
            .event
            .fields
            .get("msg_correlation_id")
            .filter(|id| id.as_str().is_some_and(|id| id.len() <= KEPT_FIELD_BYTES));
        map.serialize_entry("correlation_id", &correlation)?;
        map.serialize_entry("fields", &FieldsFrame { event: self.event, fields: self.fields.iter() })?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::event::tests::record;
    use super::super::event_fields::EventFields;
    use super::super::limits;
    use super::*;

    fn body(frame: &Bytes) -> Value {
        assert_eq!(u32::from_be_bytes(*frame.first_chunk().unwrap()) as usize, frame.len() - codec::PREFIX_BYTES);
        serde_json::from_slice(&frame[codec::PREFIX_BYTES..]).unwrap()
    }

    #[test]
    fn an_event_repeats_its_envelope_in_its_fields() {
        let frame = body(&encode_event(&record(3, "github", &json!({"run_id": 12})).event));
        assert_eq!(frame["kind"], "event");
        assert_eq!(frame["received_at"], 3_000_000);
        assert_eq!(
            frame["fields"],
            json!({"source": "github", "event_type": "finished", "owner": "octo", "repo": "hello",
                   "ingest_method": "emit", "run_id": 12})
        );
    }

    #[test]
    fn an_event_over_the_cap_keeps_its_verdict() {
        let fields = json!({
            "aaa": "\u{1}".repeat(40_000), "conclusion": "failure", "status": "completed", "exit_code": 3,
            "bbb": "x".repeat(70_000), "msg_correlation_id": "c1",
        });
        let frame = encode_event(&record(3, "github", &fields).event);
        let frame = body(&frame);
        assert_eq!(frame["kind"], "truncated");
        assert_eq!(frame["correlation_id"], "c1");
        assert_eq!(frame["fields"]["conclusion"], "failure");
        assert_eq!(frame["fields"]["status"], "completed");
        assert_eq!(frame["fields"]["exit_code"], 3);
        assert_eq!(frame["fields"]["source"], "github");
        assert_eq!(frame["fields"].get("bbb"), None);
    }

    #[test]
    fn columns_full_of_escapes_leave_room_for_the_verdict() {
        let escapes = |bytes: usize| "\u{1}".repeat(bytes);
        let mut record = record(3, "github", &json!({}));
        let event = &mut record.event;
        event.delivery_id = escapes(limits::MAX_DELIVERY_ID_BYTES);
        (event.owner, event.repo) = (escapes(limits::MAX_REPO_BYTES), escapes(limits::MAX_REPO_BYTES));
        (event.source, event.event_type) = (escapes(limits::MAX_NAME_BYTES), escapes(limits::MAX_NAME_BYTES));
        event.ingest_method = escapes(limits::MAX_NAME_BYTES);
        event.summary = escapes(4 * limits::MAX_SUMMARY_CHARS);
        let verdict = "x".repeat(KEPT_FIELD_BYTES - 2);
        for bytes in (0..120_000).step_by(997) {
            event.fields = json!({
                "aaa": "x".repeat(bytes / 2), "bbb": escapes(bytes / 6), "ccc": bytes,
                "conclusion": verdict, "status": verdict, "msg_correlation_id": escapes(KEPT_FIELD_BYTES),
            })
            .as_object()
            .cloned()
            .unwrap()
            .into();
            let frame = encode_event(event);
            assert!(frame.len() <= codec::PREFIX_BYTES + MAX_FRAME_BYTES);
            let frame = body(&frame);
            assert_eq!(
                (&frame["fields"]["conclusion"], &frame["fields"]["status"]),
                (&json!(verdict), &json!(verdict))
            );
        }
    }

    proptest! {
        #[test]
        fn every_event_fits_a_frame(
            fields in prop::collection::btree_map(".{0,40}", prop_oneof![".{0,200}", "[\\x00-\\x1f]{0,30000}", "x{0,60000}"], 0..8),
        ) {
            let fields = json!(fields);
            let frame = encode_event(&record(1, "x", &fields).event);
            prop_assert!(frame.len() > codec::PREFIX_BYTES);
            prop_assert!(frame.len() <= codec::PREFIX_BYTES + MAX_FRAME_BYTES);
            body(&frame);
        }

        #[test]
        fn the_text_of_the_fields_makes_the_frame_that_their_object_makes(
            fields in prop::collection::btree_map("[a-f]{0,3}", prop_oneof![".{0,9}", "x{0,60000}"], 0..5),
        ) {
            let mut record = record(3, "x", &json!(fields));
            let of_object = encode_event(&record.event);
            if let Some(kept) = EventFields::as_printed(&json!(fields).to_string()) {
                record.event.fields = kept;
                prop_assert_eq!(encode_event(&record.event), of_object);
            }
        }

        #[test]
        fn what_an_event_frame_carries_is_read_back_as_it_was(
            texts in prop::collection::vec(".{0,20}", 7),
            received_at in any::<i64>(),
            fields in prop::collection::btree_map("[a-f]{0,3}", prop_oneof![".{0,9}".prop_map(|text| json!(text)), any::<i64>().prop_map(|n| json!(n)), any::<f64>().prop_map(|n| json!(n)), Just(json!(null)), Just(json!([true, {"a": []}]))], 0..5),
        ) {
            let mut record = record(3, &texts[0], &json!(fields));
            let event = &mut record.event;
            [_, event.event_type, event.owner, event.repo, event.ingest_method, event.summary, event.delivery_id] =
                texts.try_into().unwrap();
            event.received_at = received_at;
            let sent = body(&encode_event(event));
            prop_assert_eq!(event_of(sent.as_object().unwrap()), Some(event.clone()));
            prop_assert_eq!(event_of(&event_body(event)), Some(event.clone()));
        }
    }
}
