//! Names that no event has had: a warning at once, with the nearest known one, and never a wrong one.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Bus, PATIENCE};

fn notes(bus: &Bus, frame: &Value) -> Vec<String> {
    let (_, ack) = bus.subscribe_with_ack(frame);
    serde_json::from_value(ack["notes"].clone()).unwrap_or_else(|error| panic!("{error}: {ack}"))
}

/// A mistyped source or field used to wait for ever without a word.
#[test]
fn a_mistyped_name_draws_a_warning_at_once_with_the_nearest_known_one() {
    let bus = Bus::new();
    let _hub = bus.hub();
    bus.emit("deploy", 1);
    for (arguments, told) in [
        (["--source", "gihtub"], "waitbus: no event so far has the source `gihtub`; did you mean `github`?"),
        (["--source", "depoly"], "waitbus: no event so far has the source `depoly`; did you mean `deploy`?"),
        (["--type", "finihsed"], "waitbus: no event so far has the type `finihsed`; did you mean `finished`?"),
        (
            ["--match", "conclusoin=success"],
            "waitbus: no event so far has a field `conclusoin`; did you mean `conclusion`?",
        ),
        (["--where", "source == 'depoly'"], "waitbus: no event so far has the source `depoly`; did you mean `deploy`?"),
    ] {
        let mut wait = crate::harness::Process::start(bus.command(&[&["wait"], &arguments[..]].concat()));
        assert_eq!(wait.said("no event"), told);
    }
    for known in ["source=deploy", "n=1", "source=github", "conclusion=success", "payload.x=1"] {
        assert_eq!(notes(&bus, &json!({"match": known})), Vec::<String>::new(), "{known}");
    }
}

/// The README's own wait for a run warned of its source, its type and its field.
#[test]
fn what_the_protocol_says_of_runs_is_no_mistake_before_the_first_run() {
    let bus = Bus::new();
    let _hub = bus.hub();
    bus.emit("deploy", 1);
    let said = notes(&bus, &json!({"match": "source=run", "event_types": ["started", "finished"]}));
    assert_eq!(said, Vec::<String>::new());
    let protocol = include_str!("../../PROTOCOL.md");
    let (_, section) = protocol.split_once("### Source `run`").unwrap();
    let section = section.split("\n#").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let first_cells = rows.map(|row| row.split(" | ").next().unwrap());
    let fields: Vec<_> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(fields.contains(&"junit_problem"), "{fields:?}");
    for field in fields {
        assert_eq!(notes(&bus, &json!({"match": format!("{field}?")})), Vec::<String>::new(), "{field}");
    }
}

#[test]
fn before_the_first_event_nobody_is_scolded_for_a_new_name() {
    let bus = Bus::new();
    let _hub = bus.hub();
    assert_eq!(notes(&bus, &json!({"match": ["source=deploy", "env=prod"]})), Vec::<String>::new());
    assert_eq!(notes(&bus, &json!({"match": "source=gihtub"})).len(), 1);
}

#[test]
fn names_outlive_pruning_and_the_hub() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    bus.ok(&["emit", "--source", "rare", "--type", "unusual", "--field", "peculiar=1"]);
    let connection = Connection::open(bus.database()).unwrap();
    connection.execute("INSERT INTO events (source, event_type) VALUES ('foreign', 'strange')", []).unwrap();
    let asked =
        json!({"match": ["source=rare", "source=foreign", "peculiar=1"], "event_types": ["unusual", "strange"]});
    assert_eq!(notes(&bus, &asked), Vec::<String>::new(), "also of a row for which nobody has rung");
    // They are written down in their own time.
    let deadline = std::time::Instant::now() + PATIENCE;
    let written = || {
        let count = "SELECT count(*) FROM names WHERE name IN ('rare', 'foreign', 'unusual', 'strange', 'peculiar')";
        connection.query_row(count, [], |row| row.get(0)).unwrap_or(0)
    };
    bus.emit("other", 1);
    while written() < 5 {
        assert!(std::time::Instant::now() < deadline, "they never are");
    }
    hub.stop();
    bus.ok(&["prune", "--keep-rows", "0"]);
    let _hub = bus.hub();
    assert_eq!(notes(&bus, &asked), Vec::<String>::new());
    assert_eq!(notes(&bus, &json!({"match": "source=rear"})).len(), 1);
}

/// A log of an earlier version has many rows and no names; a hub that read them all before it is ready would be late.
#[test]
fn the_names_of_a_log_that_has_none_are_read_beside_and_nobody_is_warned_wrongly_until_then() {
    let bus = Bus::new();
    bus.emit("first", 1);
    bus.emit_batch("deploy", 0..20_000);
    let version = || -> i64 {
        Connection::open(bus.database()).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    let before = version();
    let _hub = bus.hub();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        assert_eq!(notes(&bus, &json!({"match": "source=first"})), Vec::<String>::new());
        if notes(&bus, &json!({"match": "source=frist"}))
            == ["no event so far has the source `frist`; did you mean `first`?"]
        {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "they are never read");
    }
    assert_eq!(version(), before, "older programs leave the names alone");
}

#[test]
fn a_foreign_hand_in_the_names_harms_nobody() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    bus.emit("deploy", 1);
    hub.stop();
    let connection = Connection::open(bus.database()).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS names (kind TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS names_read (one INTEGER PRIMARY KEY, seq INTEGER);
             INSERT OR REPLACE INTO names VALUES ('source', CAST(x'ff' AS TEXT)), ('nonsense', 'x'), (x'00', x'01');
             INSERT OR REPLACE INTO names_read VALUES (1, 999999);",
        )
        .unwrap();
    let _hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({}));
    bus.emit("deploy", 2);
    assert_eq!(subscriber.numbers(1), [2]);
}
