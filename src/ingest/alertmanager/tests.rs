//! The documented body of version 4, and bodies that are not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::limits::{MAX_ALERT_LABELS, MAX_DELIVERY_ID_BYTES, MAX_LABELS_BYTES};

/// The fields of the format, as Alertmanager's documentation lists them.
fn documented() -> Value {
    json!({
        "version": "4",
        "groupKey": "{}:{alertname=\"DiskFull\"}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "waitbus",
        "groupLabels": {"alertname": "DiskFull"},
        "commonLabels": {"alertname": "DiskFull", "severity": "critical"},
        "commonAnnotations": {},
        "externalURL": "http://localhost:9093",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "DiskFull", "instance": "db/1", "severity": "critical"},
                "annotations": {"summary": "the disk of db/1 is full"},
                "startsAt": "2026-01-02T03:04:05.678Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://localhost:9090/graph?g0.expr=x",
                "fingerprint": "a1b2c3d4e5f60718",
            },
            {
                "status": "resolved",
                "labels": {"alertname": "DiskFull", "instance": "db/2"},
                "annotations": {},
                "startsAt": "2026-01-02T03:00:00Z",
                "endsAt": "2026-01-02T03:09:00Z",
                "generatorURL": "",
                "fingerprint": "0011223344556677",
            },
        ],
    })
}

fn read(body: &Value) -> Delivery {
    accept(body.to_string().as_bytes(), "Watchdog").unwrap()
}

#[test]
fn every_alert_of_a_group_is_an_event_with_all_that_is_known_of_it() {
    // The alert route stored only the first alert of a group.
    let delivery = read(&documented());
    let [firing, resolved] = &delivery.changes[..] else { panic!("{delivery:?}") };
    let draft = &firing.draft;
    assert_eq!((&*draft.source, &*draft.event_type), ("alertmanager", "prometheus_alert"));
    assert_eq!(draft.summary, "DiskFull (critical) firing: the disk of db/1 is full");
    let expected = json!({
        "status": "firing", "conclusion": "failure", "alert_name": "DiskFull", "alert_severity": "critical",
        "alert_fingerprint": "a1b2c3d4e5f60718", "starts_at": "2026-01-02T03:04:05.678Z",
        "generator_url": "http://localhost:9090/graph?g0.expr=x", "receiver": "waitbus",
        "group_key": "{}:{alertname=\"DiskFull\"}", "external_url": "http://localhost:9093",
        "labels": {"alertname": "DiskFull", "instance": "db/1", "severity": "critical"},
        "annotations": {"summary": "the disk of db/1 is full"},
    });
    assert_eq!(Value::Object(draft.fields.clone()), expected);
    let payload: Value = serde_json::from_str(draft.payload.as_deref().unwrap()).unwrap();
    assert_eq!(payload, documented()["alerts"][0]);
    assert_eq!((&*firing.of, &*firing.state), ("a1b2c3d4e5f60718", "firing 2026-01-02T03:04:05.678Z"));

    let fields = &resolved.draft.fields;
    assert_eq!((&fields["status"], &fields["conclusion"]), (&json!("resolved"), &json!("success")));
    assert_eq!(fields["ends_at"], "2026-01-02T03:09:00Z");
    assert!(!fields.contains_key("alert_severity") && !fields.contains_key("generator_url"));
    assert_eq!((delivery.heartbeat, delivery.truncated, delivery.unreadable), (None, 0, 0));
}

#[test]
fn the_heartbeat_is_no_verdict_and_no_alert() {
    let mut body = documented();
    body["alerts"][0]["labels"]["alertname"] = json!("Watchdog");
    let delivery = read(&body);
    let heartbeat = delivery.heartbeat.unwrap();
    assert_eq!((&*heartbeat.event_type, heartbeat.fields.get("conclusion")), ("prometheus_heartbeat", None));
    assert_eq!(delivery.changes.len(), 1);
    // That it does not fire any more is news, and still nobody's verdict.
    body["alerts"][0]["status"] = json!("resolved");
    let delivery = read(&body);
    let change = &delivery.changes[0];
    assert_eq!((&*change.draft.event_type, change.draft.fields.get("conclusion")), ("prometheus_heartbeat", None));
    assert_eq!(delivery.heartbeat, None);
    assert!(
        accept(body.to_string().as_bytes(), "DiskFull").unwrap().changes[0].draft.fields.contains_key("conclusion")
    );
}

#[test]
fn what_is_left_out_is_told() {
    let mut body = documented();
    body["truncatedAlerts"] = json!(3);
    let delivery = read(&body);
    assert_eq!((delivery.truncated, delivery.changes.len()), (3, 3));
    assert!(delivery.changes.iter().all(|change| change.draft.fields["truncated_alerts"] == 3));
    let told = &delivery.changes[2];
    assert_eq!((&*told.draft.event_type, &*told.state), ("prometheus_truncated", "3"));
    assert!(told.draft.summary.contains("3 alerts"), "{}", told.draft.summary);

    let many: Vec<_> = std::iter::repeat_n(body["alerts"][0].clone(), MAX_ALERTS + 5).collect();
    body["alerts"] = many.into();
    let delivery = read(&body);
    assert_eq!((delivery.truncated, delivery.changes.len()), (8, MAX_ALERTS + 1));
}

#[test]
fn what_is_no_alert_harms_none_that_is_one() {
    let mut body = documented();
    let alerts = body["alerts"].as_array_mut().unwrap();
    alerts.splice(
        0..0,
        [json!(null), json!("x"), json!({}), json!({"status": "firing"}), json!({"status": 1, "labels": {}})],
    );
    let delivery = read(&body);
    assert_eq!((delivery.unreadable, delivery.changes.len()), (5, 2));
    // A status that is newer than this program is told, and is no verdict.
    body["alerts"][5]["status"] = json!("suppressed");
    let fields = &read(&body).changes[0].draft.fields;
    assert_eq!((&fields["status"], fields.get("conclusion")), (&json!("suppressed"), None));
}

#[test]
fn what_is_no_group_is_refused_with_the_reason() {
    for (body, reason) in [
        ("", "bad_json"),
        ("{", "bad_json"),
        ("[]", "not_a_group"),
        ("{}", "not_a_group"),
        (r#"{"alerts": {}}"#, "not_a_group"),
        (r#"{"alerts": []}"#, "bad_version"),
        (r#"{"alerts": [], "version": 4}"#, "bad_version"),
        (r#"{"alerts": [], "version": "5"}"#, "bad_version"),
        (r#"{"alerts": [], "version": "4"}"#, "no_alert"),
        (r#"{"alerts": [7, {"status": "firing"}], "version": "4"}"#, "no_alert"),
    ] {
        assert_eq!(accept(body.as_bytes(), "").unwrap_err().reason(), reason, "{body}");
    }
    assert_eq!(accept(b"\xff", "").unwrap_err().reason(), "bad_json");
}

#[test]
fn labels_are_bounded_and_what_was_left_out_is_counted() {
    let mut body = documented();
    let labels = &mut body["alerts"][0]["labels"];
    for n in 0..200 {
        labels[format!("label_{n:03}")] = json!("x".repeat(5_000));
    }
    let fields = &read(&body).changes[0].draft.fields;
    let kept = fields["labels"].as_object().unwrap();
    assert!(Value::Object(kept.clone()).to_string().len() < 2 * MAX_LABELS_BYTES);
    assert_eq!(fields["omitted"], 203 - kept.len());
    assert_eq!((&fields["alert_name"], &fields["alert_severity"]), (&json!("DiskFull"), &json!("critical")));

    let labels = &mut body["alerts"][0]["labels"];
    for n in 0..200 {
        labels[format!("label_{n:03}")] = json!("x");
    }
    assert_eq!(read(&body).changes[0].draft.fields["labels"].as_object().unwrap().len(), MAX_ALERT_LABELS);
}

/// JSON that has the names of the format and anything else at their places.
fn odd() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(json!("firing")),
        Just(json!("4")),
        "[\\x00-\\x1f/ ]{0,600}".prop_map(Value::from),
    ];
    let keys =
        ["status", "labels", "annotations", "startsAt", "fingerprint", "alertname", "groupKey", "alerts", "version"];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(keys.to_vec()), inner), 0..8).prop_map(|pairs| Value::Object(
                pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_comes_keeps_the_rules_of_the_log(alerts in prop::collection::vec(odd(), 0..4), mut body in odd()) {
        let mut group = documented();
        group["alerts"] = alerts.into();
        if let Some(body) = body.as_object_mut() {
            body.insert("version".into(), json!("4"));
        }
        for body in [group, body] {
            let Ok(delivery) = accept(body.to_string().as_bytes(), "Watchdog") else { continue };
            for change in &delivery.changes {
                prop_assert_eq!(change.draft.check(), Ok(()));
                prop_assert!(!change.of.contains('/') && !change.state.contains('/'));
                let key = format!("{}/{}/{}", change.of, u64::MAX, change.state);
                let draft = Draft { delivery_id: Some(key), ..change.draft.clone() };
                prop_assert_eq!(draft.check(), Ok(()));
                prop_assert!(draft.delivery_id.unwrap().len() <= MAX_DELIVERY_ID_BYTES);
            }
        }
    }
}
