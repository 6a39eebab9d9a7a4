//! Alertmanager: its documented deliveries by hand, those of a real one, and the heartbeat that stays away.
//!
//! The real one is Debian's `prometheus-alertmanager`; where it is not installed, its test skips by name.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use waitbus::ingest::signature::sign;

use crate::harness::{Answer, Bus, PATIENCE, Process, answer_head, exchange, request, skip, works};

const TOKEN: &str = "a token for tests";
const BEARER: &str = "Bearer a token for tests";
/// `prometheus:a token for tests`
const BASIC: &str = "Basic cHJvbWV0aGV1czphIHRva2VuIGZvciB0ZXN0cw==";

fn set_token(bus: &Bus) {
    let directory = bus.state().join("credentials");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("alertmanager-webhook-secret");
    fs::write(&path, TOKEN).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Hub and listener, with the token in place and the listener's lines to be read.
fn serve(bus: &Bus) -> (Process, SocketAddr) {
    set_token(bus);
    let mut process = Process::start(bus.command(&["serve", "--addr", "127.0.0.1:0"]));
    let address = process.ready().split_once("webhook=").unwrap().1.parse().unwrap();
    (process, address)
}

fn alert(name: &str, instance: &str, status: &str) -> Value {
    json!({
        "status": status,
        "labels": {"alertname": name, "instance": instance, "severity": "critical"},
        "annotations": {"summary": format!("{name} on {instance}")},
        "startsAt": "2026-01-02T03:04:05.678Z",
        "endsAt": if status == "firing" { "0001-01-01T00:00:00Z" } else { "2026-01-02T03:09:00Z" },
        "generatorURL": "http://localhost:9090/graph",
        "fingerprint": format!("{instance:0>16}"),
    })
}

fn group(alerts: &[Value]) -> Vec<u8> {
    json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "waitbus",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://localhost:9093",
        "alerts": alerts,
    })
    .to_string()
    .into_bytes()
}

#[track_caller]
fn post(address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    exchange(address, &request("POST", "/alertmanager", headers, body))
}

#[track_caller]
fn say(address: SocketAddr, alerts: &[Value]) -> Value {
    let answer = post(address, &[("authorization", BEARER)], &group(alerts));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The fields of every event of the source, in their order.
fn told(bus: &Bus) -> Vec<Value> {
    let lines = bus.ok(&["replay", "--json", "--source", "alertmanager"]);
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].take()).collect()
}

/// Their names and statuses.
fn states(bus: &Bus) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    told(bus).iter().map(|fields| (text(&fields["labels"]["instance"]), text(&fields["status"]))).collect()
}

#[test]
fn a_sender_is_believed_by_token_password_or_signature_and_by_nothing_else() {
    let bus = Bus::new();
    bus.set_secret();
    let (_serve, address) = serve(&bus);
    let body = group(&[alert("DiskFull", "1", "firing")]);
    let signature = sign(TOKEN.as_bytes(), &body);
    let githubs = sign(crate::harness::SECRET, &body);
    for (headers, reason) in [
        (&[][..], "authorization_missing"),
        (&[("authorization", "Bearer another")], "authorization_wrong"),
        // GitHub's secret is GitHub's.
        (&[("authorization", "Bearer a secret for tests")], "authorization_wrong"),
        (&[("x-hub-signature-256", &*githubs)], "signature_wrong"),
        (&[("authorization", "Basic !")], "authorization_malformed"),
        (&[("authorization", "Bearer another"), ("x-hub-signature-256", &*signature)], "authorization_wrong"),
    ] {
        let answer = post(address, headers, &body);
        assert_eq!((answer.status, &answer.json()["reason"]), (401, &json!(reason)), "{answer:?}");
        assert!(!answer.body.contains(TOKEN), "{answer:?}");
    }
    assert!(told(&bus).is_empty());
    for (n, header) in
        [("authorization", BEARER), ("authorization", BASIC), ("x-hub-signature-256", "")].iter().enumerate()
    {
        let body = group(&[alert("DiskFull", &n.to_string(), "firing")]);
        let signature = sign(TOKEN.as_bytes(), &body);
        let value = if header.1.is_empty() { &*signature } else { header.1 };
        let answer = post(address, &[(header.0, value)], &body);
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("stored")), "{answer:?}");
    }
    // The token opens nothing of GitHub's.
    let push = request("POST", "/webhook", &[("authorization", BEARER), ("x-github-event", "push")], b"{}");
    assert_eq!(exchange(address, &push).status, 401);
}

#[test]
fn without_its_secret_nothing_is_believed_until_it_is_set_and_one_of_two_is_enough_to_be_well() {
    let bus = Bus::new();
    let mut process = Process::start(bus.command(&["serve", "--addr", "127.0.0.1:0"]));
    let address = process.ready().split_once("webhook=").unwrap().1.parse().unwrap();
    process.said("`waitbus secret set alertmanager-webhook-secret`");
    let body = group(&[alert("DiskFull", "1", "firing")]);
    let health = || exchange(address, &request("GET", "/healthz", &[], b"")).json()["status"].clone();
    let answer = post(address, &[("authorization", "Bearer ")], &body);
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &json!("no_secret")), "{answer:?}");
    assert!(answer.body.contains("`waitbus secret set alertmanager-webhook-secret`"), "{answer:?}");
    assert_eq!(health(), "no_secret");
    set_token(&bus);
    assert_eq!(post(address, &[("authorization", BEARER)], &body).status, 200);
    assert_eq!(health(), "ok");
}

#[test]
fn every_alert_of_a_group_is_an_event_and_a_repetition_is_none() {
    // The alert route stored only the first alert of a group.
    let bus = Bus::new();
    let (_serve, address) = serve(&bus);
    let mut waits = ["1", "2", "3"].map(|n| {
        bus.wait(&[
            "--source",
            "alertmanager",
            "--type",
            "prometheus_alert",
            "--match",
            &format!("labels.instance=\"{n}\""),
        ])
    });
    let firing = [1, 2, 3].map(|n| alert("DiskFull", &n.to_string(), "firing"));
    let answer = say(address, &firing);
    assert_eq!((&answer["status"], &answer["stored"]), (&json!("stored"), &json!(3)), "{answer}");
    for wait in &mut waits {
        assert_eq!(wait.code(), 0, "{}", wait.errors());
    }
    let again = say(address, &firing);
    assert_eq!((&again["status"], &again["stored"]), (&json!("duplicate"), &json!(0)));
    assert_eq!(again["event_ids"], answer["event_ids"]);

    // Another Alertmanager of the cluster says the same of one, and that another has ended.
    say(address, &[alert("DiskFull", "2", "resolved"), firing[0].clone()]);
    say(address, &[alert("DiskFull", "2", "resolved")]);
    let events = |pairs: &[(&str, &str)]| -> Vec<_> { pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect() };
    let mut expected = events(&[("1", "firing"), ("2", "firing"), ("3", "firing"), ("2", "resolved")]);
    assert_eq!(states(&bus), expected);
    // It fires again, since the same time, because its Prometheus could not repeat it in between; and another since a
    // later one, and nobody has said that it was resolved.
    say(address, &firing);
    let mut later = firing[2].clone();
    later["startsAt"] = json!("2026-01-02T09:00:00Z");
    say(address, &[later.clone()]);
    say(address, &[later]);
    expected.extend(events(&[("2", "firing"), ("3", "firing")]));
    assert_eq!(states(&bus), expected);
    let fields = &told(&bus)[3];
    assert_eq!((&fields["conclusion"], &fields["alert_fingerprint"]), (&json!("success"), &json!("0000000000000002")));
}

#[test]
fn an_alert_that_is_resolved_takes_back_that_it_fired() {
    let bus = Bus::new();
    let (_serve, address) = serve(&bus);
    let clauses = [1, 2].map(|n| format!("alertmanager[alert_fingerprint=\"{n:0>16}\"]:conclusion=success"));
    let all = ["--all-of", &*clauses[0], "--all-of", &*clauses[1], "--since", "1h"];
    say(address, &[alert("DiskFull", "1", "resolved"), alert("DiskFull", "2", "resolved")]);
    say(address, &[alert("DiskFull", "1", "firing")]);
    let mut wait = bus.wait(&all);
    say(address, &[alert("DiskFull", "1", "resolved")]);
    assert_eq!(wait.code(), 0, "{}", wait.errors());
    let newest: Value = serde_json::from_str(bus.ok(&["replay", "--json"]).lines().last().unwrap()).unwrap();
    assert_eq!(newest["fields"]["status"], "resolved");
}

#[test]
fn what_is_left_out_is_told_and_no_label_of_a_metric_comes_from_an_alert() {
    let bus = Bus::new();
    let (mut serve, address) = serve(&bus);
    let mut body: Value = serde_json::from_slice(&group(&[alert("hostile_d5f1", "1", "firing"), json!(7)])).unwrap();
    body["truncatedAlerts"] = json!(4);
    let answer = post(address, &[("authorization", BEARER)], body.to_string().as_bytes());
    assert_eq!((answer.status, &answer.json()["stored"]), (200, &json!(2)), "{answer:?}");
    serve.said("not all alerts of a group are told");
    let told = told(&bus);
    let named: Vec<_> = told.iter().map(|fields| (&fields["event_type"], &fields["truncated_alerts"])).collect();
    let [alert, truncated] = ["prometheus_alert", "prometheus_truncated"].map(|name| json!(name));
    assert_eq!(named, [(&alert, &json!(4)), (&truncated, &json!(4))]);

    for (body, reason) in
        [(&b"[1]"[..], "not_a_group"), (br#"{"alerts": [], "version": "9"}"#, "bad_version"), (b"{", "bad_json")]
    {
        let answer = post(address, &[("authorization", BEARER)], body);
        assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!(reason)), "{answer:?}");
    }
    // It was called a duplicate of something.
    for alerts in [&[][..], &[json!(7), json!({"status": "firing"})]] {
        let answer = post(address, &[("authorization", BEARER)], &group(alerts));
        assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!("no_alert")), "{answer:?}");
    }
    assert_eq!(exchange(address, &request("GET", "/alertmanager", &[], b"")).status, 405);
    let metrics = exchange(address, &request("GET", "/metrics", &[], b"")).body;
    assert!(metrics.contains("outcome=\"not_a_group\"") && !metrics.contains("hostile"), "{metrics}");
}

/// What `[source.alertmanager]` says.
fn configure(bus: &Bus, within: &str) {
    configure_heartbeat(bus, "Alive", within);
}

fn configure_heartbeat(bus: &Bus, name: &str, within: &str) {
    let directory = bus.root().join("config");
    fs::create_dir_all(&directory).unwrap();
    let text = format!("[source.alertmanager]\nheartbeat = \"{name}\"\nwithin = \"{within}\"\n");
    fs::write(directory.join("waitbus.toml"), text).unwrap();
}

fn watchdog(bus: &Bus) -> Process {
    let mut process = Process::start(bus.command(&["source", "alertmanager"]));
    assert_eq!(process.ready(), "ready source=alertmanager");
    process
}

const OF_THE_WATCHDOG: [&str; 4] = ["--source", "alertmanager", "--type", "prometheus_watchdog"];

#[test]
fn a_heartbeat_that_stays_away_is_an_event_and_so_is_its_return() {
    let bus = Bus::new();
    configure(&bus, "1s");
    let (mut serve, address) = serve(&bus);
    say(address, &[alert("Alive", "1", "firing"), alert("DiskFull", "2", "firing")]);
    let mut missing = bus.wait(&[&OF_THE_WATCHDOG[..], &["--verdict"]].concat());
    let mut source = watchdog(&bus);
    assert_eq!(missing.code(), 1, "{}", missing.errors());
    let fields = told(&bus).pop().unwrap();
    let said = ["status", "conclusion", "alert_name", "within_ms"].map(|name| fields[name].clone());
    assert_eq!(said, [json!("missing"), json!("failure"), json!("Alive"), json!(1000)], "{fields}");
    assert!(fields["last_heard"].is_string(), "it has looked into the log: {fields}");

    // Whoever comes after it was told goes on from there, also after a crash, and says it once.
    source.kill();
    let mut source = watchdog(&bus);
    let mut back = bus.wait(&[&OF_THE_WATCHDOG[..], &["--verdict"]].concat());
    say(address, &[alert("Alive", "1", "firing")]);
    assert_eq!(back.code(), 0, "{}", back.errors());
    // It fires without ever having been resolved, which is a repetition for any other alert.
    let after = bus.ok(&["mark"]);
    let mut missing = bus.wait(&[&OF_THE_WATCHDOG[..], &["--match", "status=missing", "--after", &after]].concat());
    assert_eq!(missing.code(), 0, "{}", missing.errors());
    source.stop();
    serve.stop();
    let states: Vec<_> = told(&bus)
        .iter()
        .filter(|fields| fields["event_type"] == "prometheus_watchdog")
        .map(|fields| fields["status"].clone())
        .collect();
    assert_eq!(states, ["missing", "back", "missing"]);
}

/// The position said that the heartbeat was missing and not which one: one that was set after it counted as told, and
/// nobody was ever told that it stayed away.
#[test]
fn a_heartbeat_of_another_name_is_missed_by_itself() {
    let bus = Bus::new();
    for name in ["Alive", "Dead Man", "Alive"] {
        configure_heartbeat(&bus, name, "1s");
        let after = bus.ok(&["mark"]);
        let missing = ["--match", "status=missing", "--match", &format!("alert_name={name}"), "--after", &after];
        let mut missing = bus.wait(&[&OF_THE_WATCHDOG[..], &missing].concat());
        let mut source = watchdog(&bus);
        assert_eq!(missing.code(), 0, "{name}: {}", missing.errors());
        source.stop();
    }
}

#[test]
fn a_heartbeat_is_stored_now_and_again_and_is_no_verdict() {
    let bus = Bus::new();
    configure(&bus, "1h");
    let (_serve, address) = serve(&bus);
    let mut verdict = bus.wait(&["--source", "alertmanager", "--verdict"]);
    assert_eq!(say(address, &[alert("Alive", "1", "firing")])["status"], "stored");
    for n in 0..20 {
        assert_eq!(say(address, &[alert("Alive", &n.to_string(), "firing")])["status"], "heartbeat");
    }
    say(address, &[alert("DiskFull", "1", "resolved")]);
    assert_eq!(verdict.code(), 0, "{}", verdict.errors());
    let told = told(&bus);
    let types: Vec<_> = told.iter().map(|fields| fields["event_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["prometheus_heartbeat", "prometheus_alert"]);
    assert_eq!(told[0].get("conclusion"), None);
}

#[test]
fn a_configuration_that_makes_no_sense_is_named_and_alerts_come_in_all_the_same() {
    let bus = Bus::new();
    configure(&bus, "soon");
    let output = bus.run(&["source", "alertmanager"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("[source.alertmanager] within"), "{said}");
    configure(&bus, "1m");
    let (mut serve, address) = serve(&bus);
    configure(&bus, "soon");
    assert_eq!(say(address, &[alert("DiskFull", "1", "firing")])["stored"], 1);
    serve.said("the heartbeat is taken to be the usual one");
}

/// A real one that delivers to `address`; what it sends to prove itself is `proof`, in its configuration's words.
fn alertmanager(bus: &Bus, address: SocketAddr, proof: &str) -> (Process, SocketAddr) {
    let config = format!(
        "route: {{receiver: waitbus, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1s, routes: [{{receiver: waitbus, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1s}}]}}\n\
         receivers: [{{name: waitbus, webhook_configs: [{{url: 'http://{address}/alertmanager', http_config: {{{proof}}}}}]}}]\n"
    );
    let path = bus.root().join("alertmanager.yml");
    fs::write(&path, config).unwrap();
    let mut command = std::process::Command::new("prometheus-alertmanager");
    command.arg(format!("--config.file={}", path.display()));
    command.arg(format!("--storage.path={}", bus.root().join("alertmanager").display()));
    command.args(["--cluster.listen-address=", "--web.listen-address=127.0.0.1:0"]);
    let mut process = Process::start(command);
    let line = process.said("Listening on");
    let address = line.split("address=").nth(1).unwrap().split(' ').next().unwrap().trim().parse().unwrap();
    (process, address)
}

/// Tells it alerts, as Prometheus does.
fn fire(address: SocketAddr, alerts: &Value) {
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    let headers = [("content-type", "application/json")];
    let request = request("POST", "/api/v2/alerts", &headers, alerts.to_string().as_bytes());
    stream.get_mut().write_all(&request).unwrap();
    let head = answer_head(&mut stream);
    assert!(head.starts_with("http/1.1 200 "), "{head}");
}

#[test]
fn a_real_alertmanager_is_heard_with_each_way_that_it_can_prove_itself() {
    let name = "a_real_alertmanager_is_heard_with_each_way_that_it_can_prove_itself";
    if !works(&["prometheus-alertmanager", "--version"]) {
        return skip(name, "it takes prometheus-alertmanager");
    }
    for proof in [
        format!("authorization: {{credentials: '{TOKEN}'}}"),
        format!("basic_auth: {{username: prometheus, password: '{TOKEN}'}}"),
    ] {
        let bus = Bus::new();
        configure(&bus, "1h");
        let (mut serve, address) = serve(&bus);
        let (_alertmanager, api) = alertmanager(&bus, address, &proof);
        let labels = |instance: &str| json!({"alertname": "DiskFull", "instance": instance, "severity": "critical"});
        let waits = ["db/1", "db/2"].map(|instance| {
            let condition = format!("labels.instance={instance}");
            bus.wait(&["--source", "alertmanager", "--verdict", "--match", &condition, "--match", "status=firing"])
        });
        let mut heartbeat = bus.wait(&["--source", "alertmanager", "--type", "prometheus_heartbeat"]);
        let about = json!({"summary": "the disk is full"});
        let (url, since) = ("http://localhost:9090/graph", "2026-01-02T03:04:05Z");
        fire(
            api,
            &json!([
                {"labels": labels("db/1"), "annotations": about, "generatorURL": url, "startsAt": since},
                {"labels": labels("db/2"), "annotations": about},
                {"labels": {"alertname": "Alive", "severity": "none"}},
            ]),
        );
        for mut wait in waits {
            assert_eq!(wait.code(), 1, "{proof}: {}", wait.errors());
        }
        assert_eq!(heartbeat.code(), 0, "{proof}: {}", heartbeat.errors());

        // What is repeated is no event, and what ends is.
        serve.said("outcome=\"duplicate\"");
        let resolved = ["--source", "alertmanager", "--verdict", "--match", "status=resolved"];
        let mut wait = bus.wait(&resolved);
        let ended = json!([{"labels": labels("db/1"), "annotations": about, "startsAt": since, "endsAt": "2026-01-02T04:00:00Z"}]);
        fire(api, &ended);
        assert_eq!(wait.code(), 0, "{proof}: {}", wait.errors());
        let told = told(&bus);
        let alerts: Vec<_> = told.iter().filter(|fields| fields["event_type"] == "prometheus_alert").collect();
        assert_eq!(alerts.len(), 3, "{proof}: {told:#?}");
        let one: Vec<_> = alerts.iter().filter(|fields| fields["labels"]["instance"] == "db/1").collect();
        assert_eq!(one[0]["alert_fingerprint"], one[1]["alert_fingerprint"]);
        assert_eq!((&one[0]["starts_at"], &one[1]["starts_at"]), (&json!(since), &json!(since)));
        assert_eq!((&one[0]["generator_url"], &one[0]["alert_severity"]), (&json!(url), &json!("critical")));
        assert!(one[0].get("ends_at").is_none() && one[1]["ends_at"].is_string(), "{one:#?}");
        assert_eq!(one[0]["annotations"], about);
    }
}
