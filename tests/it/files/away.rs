//! What happens while the source is away.

use std::fs;

use super::{Watched, source};

#[test]
fn what_changed_while_it_was_away_is_told_once_and_says_so() {
    let mut watched = Watched::with("", |directory| {
        fs::write(directory.join("old"), "x").unwrap();
        fs::write(directory.join("untouched"), "x").unwrap();
    });
    fs::write(watched.path("before"), "x").unwrap();
    assert_eq!(watched.told(), ["create before"]);
    watched.source.kill();
    fs::write(watched.path("old"), "changed").unwrap();
    fs::create_dir(watched.path("new")).unwrap();
    fs::write(watched.path("new/f"), "x").unwrap();
    fs::rename(watched.path("untouched"), watched.path("moved")).unwrap();
    watched.source = source(&watched.bus);
    let told = watched.fields();
    assert!(told.iter().all(|fields| fields["recovered"] == true), "{told:?}");
    let mut lines: Vec<String> = told.iter().map(|fields| watched.line(fields)).collect();
    lines.sort();
    assert_eq!(lines, ["create moved", "create new", "create new/f", "write old"]);
    watched.source.kill();
    watched.source = source(&watched.bus);
    assert_eq!(watched.told(), [""; 0], "told once");
}

/// Whatever was told or not when it was killed, each file is told exactly once in the end.
#[test]
fn a_source_that_is_killed_at_any_moment_neither_loses_nor_doubles() {
    let mut watched = Watched::new();
    let mut expected = Vec::new();
    for round in 0..12 {
        for n in 0..20 {
            let name = format!("{round}-{n}");
            fs::write(watched.path(&name), "x").unwrap();
            expected.push(format!("create {name}"));
            if n == round {
                watched.source.kill();
            }
        }
        watched.source = source(&watched.bus);
    }
    let mut told = watched.told();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}
