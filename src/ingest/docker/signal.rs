//! Signals as engines name them: a container's are Linux's, whatever this machine is.

/// Those with which containers are usually stopped, by number.
const NAMES: [(i32, &str); 10] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (6, "SIGABRT"),
    (9, "SIGKILL"),
    (10, "SIGUSR1"),
    (12, "SIGUSR2"),
    (15, "SIGTERM"),
    (28, "SIGWINCH"),
    // systemd's request to stop, as an image of it has in STOPSIGNAL.
    (37, "SIGRTMIN+3"),
];

/// A signal by its number or its name, with or without `SIG`.
pub(super) fn number(text: &str) -> Option<i32> {
    let named = |name: &str| text == name || name.strip_prefix("SIG") == Some(text);
    text.parse().ok().or_else(|| NAMES.iter().find(|(_, name)| named(name)).map(|(number, _)| *number))
}

/// The name of a signal; one without a name is its number.
pub(super) fn name(number: i32) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// Whether a signal asks any program to end: what a person or an engine sends for that.
pub(super) fn asks_to_end(number: i32) -> bool {
    matches!(number, 2 | 3 | 9 | 15)
}
