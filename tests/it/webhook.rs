//! What the webhook listener believes: signatures, the secret, the two encodings, pings and duplicates.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use waitbus::ingest::signature::sign;

use crate::harness::{Answer, Bus, Process, SECRET, deliver, exchange, payload, request};

/// A delivery with the given headers besides the event's name and id, whose bytes need not be text.
fn raw(id: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "POST /webhook HTTP/1.1\r\nhost: localhost\r\nx-github-event: push\r\nx-github-delivery: {id}\r\n\
         content-length: {}\r\n",
        body.len()
    )
    .into_bytes();
    for (name, value) in headers {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    [&head, b"\r\n".as_slice(), body].concat()
}

fn stored(bus: &Bus) -> Vec<Value> {
    bus.ok(&["replay", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Hub and listener, with whatever secret there is.
fn serve(bus: &Bus) -> (Process, SocketAddr) {
    let mut process = Process::start(bus.command(&["serve", "--addr", "127.0.0.1:0"]));
    let line = process.ready();
    (process, line.split_once("webhook=").unwrap().1.parse().unwrap())
}

#[test]
fn a_delivery_that_is_not_signed_well_is_refused_with_the_reason_and_not_stored() {
    // A non-ASCII signature header dropped the connection with a traceback.
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let body = payload("push.payload.json");
    let good = sign(SECRET, &body);
    let digits = good.strip_prefix("sha256=").unwrap();
    let other = sign(b"another secret", &body);
    let sha1 = format!("sha1={digits}");
    let no_hex = format!("sha256={}g", &digits[1..]);
    let short = format!("sha256={}", &digits[1..]);
    let long = format!("{good}0");
    let latin = [b"sha256=".as_slice(), &[0xe9; 64]].concat();
    let utf8 = format!("sha256={}", "é".repeat(32));
    let cases: [(Option<&[u8]>, &str); 10] = [
        (None, "signature_missing"),
        (Some(b""), "signature_malformed"),
        (Some(sha1.as_bytes()), "signature_malformed"),
        (Some(no_hex.as_bytes()), "signature_malformed"),
        (Some(short.as_bytes()), "signature_malformed"),
        (Some(long.as_bytes()), "signature_malformed"),
        (Some(&latin), "signature_malformed"),
        (Some(utf8.as_bytes()), "signature_malformed"),
        (Some(digits.as_bytes()), "signature_malformed"),
        (Some(other.as_bytes()), "signature_wrong"),
    ];
    for (header, reason) in cases {
        let headers: Vec<_> = header.into_iter().map(|value| ("x-hub-signature-256", value)).collect();
        let answer = exchange(address, &raw("d1", &headers, &body));
        assert_eq!((answer.status, &answer.json()["reason"]), (401, &json!(reason)), "{answer:?}");
        assert!(answer.json()["error"].as_str().unwrap().contains("X-Hub-Signature-256"), "{answer:?}");
    }
    assert_eq!(stored(&bus), [] as [Value; 0]);
    // The id was not used up by those who had no right to it.
    let answer = exchange(address, &raw("d1", &[("x-hub-signature-256", good.as_bytes())], &body));
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("stored")), "{answer:?}");
    assert_eq!(stored(&bus).len(), 1);
}

#[test]
fn the_digits_of_a_signature_may_be_upper_case() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let body = payload("push.payload.json");
    let upper = format!("sha256={}", sign(SECRET, &body)["sha256=".len()..].to_uppercase());
    let answer = exchange(address, &raw("d1", &[("x-hub-signature-256", upper.as_bytes())], &body));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn the_signature_is_over_the_exact_bytes() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let signature = sign(SECRET, br#"{"a": 1}"#);
    let headers: [(&str, &[u8]); 1] = [("x-hub-signature-256", signature.as_bytes())];
    for same_json in [&br#"{"a":1}"#[..], br#"{"a":  1}"#, b"{\"a\": 1}\n", b"{\"a\":\t1}", br#"{"\u0061": 1}"#] {
        let answer = exchange(address, &raw("d1", &headers, same_json));
        assert_eq!((answer.status, &answer.json()["reason"]), (401, &json!("signature_wrong")), "{answer:?}");
    }
    assert_eq!(exchange(address, &raw("d1", &headers, br#"{"a": 1}"#)).status, 200);
    assert_eq!(stored(&bus).len(), 1);
}

/// The listener is told what is wrong with its secret, and everything else works.
#[track_caller]
fn unavailable_until_set(bus: &Bus, address: SocketAddr, signature: &str, remedy: &[&str]) {
    let body = payload("push.payload.json");
    let answer = exchange(address, &raw("d1", &[("x-hub-signature-256", signature.as_bytes())], &body));
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &json!("no_secret")), "{answer:?}");
    assert!(remedy.iter().all(|part| error.contains(part)), "{error}");
    assert_eq!(stored(bus), [] as [Value; 0]);
    let health = exchange(address, &request("GET", "/healthz", &[], b""));
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("no_secret")), "{health:?}");

    let mut wait = bus.wait(&["--source", "deploy"]);
    bus.emit("deploy", 1);
    assert_eq!(wait.code(), 0, "the rest of the bus works");

    let mut wait = bus.wait(&["--source", "github"]);
    bus.set_secret();
    assert_eq!(deliver(address, "push", "d1", &body).status, 200, "setting it needs no restart");
    assert_eq!(wait.code(), 0);
    let health = exchange(address, &request("GET", "/healthz", &[], b""));
    assert_eq!(health.json()["status"], "ok");
}

#[test]
fn without_a_secret_nothing_is_believed_until_it_is_set() {
    let bus = Bus::new();
    let (mut process, address) = serve(&bus);
    process.said("github-webhook-secret is not set");
    let signature = sign(SECRET, &payload("push.payload.json"));
    unavailable_until_set(&bus, address, &signature, &["`waitbus secret set github-webhook-secret`"]);
}

#[test]
fn an_empty_secret_is_none_although_anybody_could_sign_with_it() {
    for empty in ["", "\n", "\r\n\n"] {
        let bus = Bus::new();
        bus.set_secret();
        fs::write(bus.state().join("credentials/github-webhook-secret"), empty).unwrap();
        let (_process, address) = serve(&bus);
        let signature = sign(empty.as_bytes(), &payload("push.payload.json"));
        unavailable_until_set(&bus, address, &signature, &["`waitbus secret set github-webhook-secret`"]);
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    for mode in [0o640, 0o604, 0o620] {
        let bus = Bus::new();
        bus.set_secret();
        let path = bus.state().join("credentials/github-webhook-secret");
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let (mut process, address) = serve(&bus);
        process.said("chmod 600");
        let signature = sign(SECRET, &payload("push.payload.json"));
        unavailable_until_set(
            &bus,
            address,
            &signature,
            &[path.to_str().unwrap(), "chmod 600", &format!("mode {mode:o}")],
        );
    }
}

#[test]
fn under_a_service_manager_the_secret_is_its_credential_and_nothing_else() {
    let bus = Bus::new();
    bus.set_secret();
    let credentials = bus.state().join("manager");
    fs::create_dir_all(&credentials).unwrap();
    fs::write(credentials.join("github-webhook-secret"), "the manager's\n").unwrap();
    let mut command = bus.command(&["listen", "--addr", "127.0.0.1:0"]);
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    let mut process = Process::start(command);
    let address = process.ready().split_once("webhook=").unwrap().1.parse().unwrap();
    let body = payload("push.payload.json");
    assert_eq!(deliver(address, "push", "d1", &body).status, 401, "the file is not asked");
    let signature = sign(b"the manager's", &body);
    let answer = exchange(address, &raw("d1", &[("x-hub-signature-256", signature.as_bytes())], &body));
    assert_eq!(answer.status, 200, "{answer:?}");
    process.stop();

    // The unit's default is a line break, and a unit that was not told of one has none: a file that was left over from
    // before must not be believed instead.
    for credential in [Some("\n"), Some(""), None] {
        let path = credentials.join("github-webhook-secret");
        let _ = fs::remove_file(&path);
        if let Some(text) = credential {
            fs::write(&path, text).unwrap();
        }
        let mut command = bus.command(&["listen", "--addr", "127.0.0.1:0"]);
        command.env("CREDENTIALS_DIRECTORY", &credentials);
        let mut process = Process::start(command);
        let address = process.ready().split_once("webhook=").unwrap().1.parse().unwrap();
        let answer = deliver(address, "push", "d2", &body);
        assert_eq!(answer.status, 503, "{credential:?} {answer:?}");
        assert!(answer.body.contains("`waitbus secret set github-webhook-secret`"), "{answer:?}");
        process.stop();
    }
}

#[test]
fn form_encoded_and_json_are_the_same_event() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let names = ["push", "deployment_status", "issue_comment.created", "pull_request.closed"];
    for name in names {
        let event = name.split('.').next().unwrap();
        let json = payload(&format!("{name}.payload.json"));
        assert_eq!(deliver(address, event, &format!("{name}-json"), &json).status, 200);
        let text = String::from_utf8(json).unwrap();
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &text).finish();
        let signature = sign(SECRET, form.as_bytes());
        let id = format!("{name}-form");
        let headers = [
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("x-github-event", event),
            ("x-github-delivery", &id),
            ("x-hub-signature-256", &signature),
        ];
        let answer = exchange(address, &request("POST", "/webhook", &headers, form.as_bytes()));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let events = stored(&bus);
    assert_eq!(events.len(), 2 * names.len());
    for pair in events.chunks(2) {
        for key in ["source", "event_type", "owner", "repo", "summary", "fields"] {
            assert_eq!(pair[0][key], pair[1][key], "{key}");
        }
    }
    // The stored payload is the JSON text, whatever it came in.
    let by_payload = bus.ok(&["replay", "--match", "payload.repository.name=Hello-World", "--json"]);
    assert_eq!(by_payload.lines().count() % 2, 0);
    assert!(by_payload.lines().count() >= 2);
}

#[test]
fn a_ping_is_answered_and_not_stored() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let answer = deliver(address, "ping", "d1", &payload("ping.payload.json"));
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("pong")), "{answer:?}");
    let unsigned = request("POST", "/webhook", &[("x-github-event", "ping"), ("x-github-delivery", "d1")], b"{}");
    assert_eq!(exchange(address, &unsigned).status, 401, "a ping proves the secret too");
    assert_eq!(stored(&bus), [] as [Value; 0]);
}

#[test]
fn a_redelivery_is_reported_under_the_same_id_and_stored_and_delivered_once() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let mut tail = Process::start(bus.command(&["tail", "-v", "--count", "2", "--json"]));
    tail.attached();
    let body = payload("push.payload.json");
    let first = deliver(address, "push", "d1", &body).json();
    assert_eq!(first["status"], "stored");
    for _ in 0..3 {
        let again = deliver(address, "push", "d1", &body);
        assert_eq!((again.status, &again.json()["status"]), (200, &json!("duplicate")), "{again:?}");
        assert_eq!(again.json()["event_id"], first["event_id"]);
    }
    // Two at once, as a sender with a short timeout makes them.
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let body = &body;
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(move || deliver(address, "push", "d2", body))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let statuses: Vec<Value> = answers.iter().map(|answer| answer.json()["status"].clone()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == "stored").count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == "duplicate").count(), 3, "{statuses:?}");
    assert!(answers.iter().all(|answer| answer.json()["event_id"] == answers[0].json()["event_id"]));

    let ids: Vec<String> = stored(&bus).iter().map(|event| event["delivery_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["d1", "d2"]);
    let heard = [tail.line(), tail.line()].map(|line| serde_json::from_str::<Value>(&line).unwrap());
    assert_eq!(heard.each_ref().map(|event| &event["delivery_id"]), ["d1", "d2"]);
    assert_eq!(tail.code(), 0);
}
