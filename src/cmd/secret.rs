//! `waitbus secret`: the secrets of the sources, which never are an argument, a variable or a word of a message.

use std::fs::File;
use std::io::{self, Read, Stdin};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use super::exit::{Exit, Failure};
use super::output;
use crate::config::directories::Directories;
use crate::config::secret::{KNOWN, Known, Secret};
use crate::model::limits::{MAX_SECRET_BYTES, SHORT_SECRET_BYTES};
use crate::setup::launchd;
use crate::setup::secret::{InUse, Keeper, Rung, Stored};
use crate::sys::manager::{KIND, Kind};
use crate::sys::terminal;

/// Set, list and rotate the secrets of the sources
///
/// A secret is stored encrypted where systemd can do that for this user, else in a file that only you can read; which
/// of these works here is tried. There are: github-webhook-secret, which GitHub signs with, and
/// alertmanager-webhook-secret, which Alertmanager sends.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Store a secret: typed at a prompt, from standard input, from a file, or a new one
    ///
    /// A running listener that has no secret yet is restarted; one that has goes on with it until it is.
    Set(Value),
    /// Say which secrets there are, where, since when, and whether a running service has them
    List {
        /// Print one JSON object for each
        #[arg(long)]
        json: bool,
    },
    /// Replace a secret, and restart the service that uses it
    Rotate(Value),
}

#[derive(Debug, Args)]
struct Value {
    /// Its name: github-webhook-secret or alertmanager-webhook-secret
    name: String,

    /// Read it from this file instead of standard input
    #[arg(long, value_name = "PATH", conflicts_with = "generate")]
    file: Option<PathBuf>,

    /// Make a strong one, and print it once, for the other side
    #[arg(long)]
    generate: bool,

    /// Store it in a file that only you can read, even if it could be encrypted: for a listener that is started by
    /// hand, which nobody hands a secret to
    #[arg(long)]
    plain: bool,
}

pub(super) fn run(arguments: &Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let keeper = Keeper::open(directories)?;
    match &arguments.verb {
        Verb::List { json } => list(&keeper, *json),
        Verb::Set(value) => store(&keeper, value, false),
        Verb::Rotate(value) => store(&keeper, value, true),
    }
}

fn store(keeper: &Keeper, value: &Value, rotate: bool) -> Result<Exit, Failure> {
    let known = known(&value.name)?;
    let before = keeper.stored(known)?;
    if rotate && before.is_none() {
        return Err(Failure::usage(format!(
            "there is no {} to rotate: `waitbus secret set {}` stores one",
            known.name, known.name
        )));
    }
    let Some(secret) = obtain(value)? else { return Ok(Exit::Signal(2)) };
    let rung = if value.plain { Rung::File } else { keeper.best() };
    let reached = keeper.store(known, &secret, rung)?;
    if value.generate {
        // Whoever keeps nobody's output has lost the only copy that they could have given to the other side.
        let _ = output::line(&String::from_utf8_lossy(secret.expose()));
    }
    output::say(&format!("waitbus: {} is stored, {reached}", known.name));
    if reached != rung {
        output::say("waitbus: warning: systemd encrypts here, but its helper unit did not answer with the secret");
    }
    after(keeper, known, rotate, before.as_ref())
}

/// Has the service take the secret, or says what it takes.
fn after(keeper: &Keeper, known: Known, rotate: bool, before: Option<&Stored>) -> Result<Exit, Failure> {
    if KIND == Kind::Launchd {
        // launchd does not tell since when a service runs, so one that may have the old secret goes.
        if rotate && launchd::stop_listener() {
            output::say("waitbus: the listener was stopped, and the next delivery starts one that has it");
        }
        return Ok(Exit::Success);
    }
    let in_use = keeper.in_use(known, before)?;
    if in_use == InUse::Without || (rotate && in_use != InUse::NotRunning) {
        keeper.restart(known)?;
        output::say(&format!("waitbus: {} was restarted and has it", known.service));
    } else if in_use != InUse::NotRunning {
        output::say(&format!(
            "waitbus: {} still uses the one before: `waitbus secret rotate` would have restarted it, and so does \
             `systemctl --user restart {}`",
            known.service, known.service
        ));
    }
    Ok(Exit::Success)
}

fn known(name: &str) -> Result<Known, Failure> {
    KNOWN.into_iter().find(|known| known.name == name).ok_or_else(|| {
        let names: Vec<_> = KNOWN.iter().map(|known| known.name).collect();
        Failure::usage(format!("there is no secret of that name; there is: {}", names.join(", ")))
    })
}

/// The secret; `None` if whoever was asked for it typed Ctrl-C.
fn obtain(value: &Value) -> Result<Option<Secret>, Failure> {
    let unreadable = |what: &str, error: io::Error| Failure::usage(format!("{what} cannot be read: {error}"));
    if value.generate {
        return Secret::generate().map(Some).map_err(|error| Failure::bus(format!("no randomness: {error}")));
    }
    let mut stdin = io::stdin();
    let bytes = if let Some(path) = &value.file {
        from_file(path).map_err(|error| unreadable(&path.display().to_string(), error))?
    } else if terminal::is_terminal(&stdin) {
        match typed(&value.name, &mut stdin) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            read => read.map_err(|error| unreadable("the terminal", error))?,
        }
    } else {
        whole(stdin).map_err(|error| unreadable("standard input", error))?
    };
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(Failure::usage(format!("the secret has more than {MAX_SECRET_BYTES} bytes")));
    }
    let secret = Secret::new(bytes.to_vec()).ok_or_else(|| {
        Failure::usage("the secret is empty, and anybody can sign with an empty one: --generate makes a strong one")
    })?;
    if secret.expose().len() < SHORT_SECRET_BYTES {
        output::say("waitbus: warning: the secret is short enough to be guessed; --generate makes a strong one");
    }
    Ok(Some(secret))
}

fn from_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        output::say(&format!("waitbus: warning: others can read {}: remove it when this is done", path.display()));
    }
    whole(file)
}

fn whole(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(MAX_SECRET_BYTES + 2).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn typed(name: &str, stdin: &mut Stdin) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(vec![0; usize::try_from(MAX_SECRET_BYTES).unwrap_or_default() + 2]);
    let ask = || output::say(&format!("{name} (it is not shown; end with Enter):"));
    let length = terminal::read_hidden(stdin, &mut line, ask)?;
    Ok(Zeroizing::new(line[..length].to_vec()))
}

fn list(keeper: &Keeper, json: bool) -> Result<Exit, Failure> {
    for known in KNOWN {
        let stored = keeper.stored(known)?;
        let in_use = keeper.in_use(known, stored.as_ref())?;
        let _ =
            output::line(&if json { as_json(known, stored.as_ref(), in_use) } else { as_line(known, stored, in_use) });
    }
    Ok(Exit::Success)
}

fn as_json(known: Known, stored: Option<&Stored>, in_use: InUse) -> String {
    let since = stored.and_then(|stored| jiff::Timestamp::try_from(stored.since).ok());
    json!({
        "name": known.name,
        "stored": stored.map(|stored| stored.rung.name()),
        "path": stored.map(|stored| &stored.path),
        "since": since.map(|since| since.to_string()),
        "service": match in_use {
            InUse::NotRunning => "not_running",
            InUse::Current => "current",
            InUse::Older => "older",
            InUse::Without => "without",
        },
    })
    .to_string()
}

fn as_line(known: Known, stored: Option<Stored>, in_use: InUse) -> String {
    let place = match stored {
        None => format!("not set; `waitbus secret set {}` stores it", known.name),
        Some(stored) => {
            let since = jiff::Timestamp::try_from(stored.since).map(|since| format!("{since:.0}")).unwrap_or_default();
            format!("{}, since {since} ({})", stored.rung, stored.path.display())
        }
    };
    let service = match in_use {
        InUse::NotRunning => String::new(),
        InUse::Current => format!("; {} has it", known.service),
        InUse::Older => {
            format!("; {} still uses an older one: `systemctl --user restart {}`", known.service, known.service)
        }
        InUse::Without => format!("; {} has none: `systemctl --user restart {}`", known.service, known.service),
    };
    format!("{}: {place}{service}", known.name)
}
