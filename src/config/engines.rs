//! Where container engines listen: what the docker client would talk to, and where Docker and Podman are usually found.

use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::directories::Directories;
use super::environment;
use crate::model::limits::{MAX_DOCKER_CONFIG_BYTES, MAX_SOCKET_PATH_BYTES};
use crate::model::text::escaped;

/// A host that cannot be watched: which, who named it, why, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadHost(String);

/// The path of the socket that a host names: `unix:///path`, or the path alone.
pub fn socket(host: &str) -> Result<PathBuf, BadHost> {
    let bad = |problem: &str| Err(BadHost(format!("{:?} {problem}", escaped(host))));
    let path = match host.split_once("://") {
        None => host,
        Some(("unix", path)) => path,
        // Whoever gets hold of the port could tell of containers what they like, and other users could be watched.
        Some(("tcp" | "http" | "https" | "ssh", _)) => {
            return bad(
                "is not on this machine's file system, and only UNIX sockets are watched, because their owner is known: \
                 for an engine elsewhere, forward its socket (ssh -L /path/to.sock:/var/run/docker.sock HOST)",
            );
        }
        Some(_) => return bad("is no address of an engine: name its socket, as in unix:///var/run/docker.sock"),
    };
    let path = Path::new(path);
    if !path.is_absolute() {
        return bad("does not name a socket by an absolute path, as in unix:///var/run/docker.sock");
    }
    if path.as_os_str().as_bytes().len() > MAX_SOCKET_PATH_BYTES {
        return bad(&format!("is longer than a socket's path may be ({MAX_SOCKET_PATH_BYTES} bytes)"));
    }
    Ok(path.to_owned())
}

/// The sockets at which engines of this machine and this user may answer.
pub fn usual() -> Result<Vec<PathBuf>, BadHost> {
    find(&environment::get, env::home_dir(), Directories::session().as_deref())
}

/// `docker` goes by `DOCKER_HOST`, then by the context that is in use, and so does this; where neither says anything,
/// the engine is the machine's or the user's own. Podman has no client that could be asked.
fn find(
    get: &dyn Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
    session: Option<&Path>,
) -> Result<Vec<PathBuf>, BadHost> {
    let text = |name: &str| get(name).and_then(|value| value.into_string().ok());
    let of_session = |path: &str| session.map(|session| session.join(path));
    let client = get("DOCKER_CONFIG").map(PathBuf::from).or_else(|| home.map(|home| home.join(".docker")));
    let mut found = Vec::new();
    if let Some(host) = text("DOCKER_HOST") {
        found.push(socket(&host).map_err(|bad| BadHost(format!("DOCKER_HOST: {bad}; or name a socket with --host")))?);
    } else if let Some(host) = client.and_then(|client| in_context(&client, text("DOCKER_CONTEXT"))) {
        let (name, host) = host?;
        let named =
            |bad| BadHost(format!("the docker context {:?}: {bad}; or name a socket with --host", escaped(&name)));
        found.push(socket(&host).map_err(named)?);
    } else {
        found.push(PathBuf::from("/var/run/docker.sock"));
        found.extend(of_session("docker.sock"));
    }
    found.extend(of_session("podman/podman.sock"));
    found.push(PathBuf::from("/run/podman/podman.sock"));
    Ok(found)
}

/// The name and the host of the context in use; none if that is the default one.
fn in_context(client: &Path, chosen: Option<String>) -> Option<Result<(String, String), BadHost>> {
    let name = chosen.or_else(|| {
        let config = json(&client.join("config.json")).ok()?;
        config.get("currentContext")?.as_str().map(str::to_owned)
    })?;
    if name.is_empty() || name == "default" {
        return None;
    }
    let path = client.join("contexts/meta").join(directory_of(&name)).join("meta.json");
    let host = json(&path).and_then(|meta| {
        let host = meta.pointer("/Endpoints/docker/Host").and_then(Value::as_str);
        host.map(str::to_owned).ok_or_else(|| io::Error::other("it names no Host"))
    });
    let unreadable =
        |error| BadHost(format!("the docker context {:?} is in use, and {}: {error}", escaped(&name), path.display()));
    Some(host.map(|host| (name.clone(), host)).map_err(unreadable))
}

/// The docker client keeps a context in a directory that is named by the SHA-256 of its name.
fn directory_of(name: &str) -> String {
    let mut directory = String::new();
    for byte in Sha256::digest(name) {
        let _ = write!(directory, "{byte:02x}");
    }
    directory
}

fn json(path: &Path) -> io::Result<Value> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_DOCKER_CONFIG_BYTES).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)], home: &Path) -> Result<Vec<String>, String> {
        let get = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        let found = find(&get, Some(home.to_owned()), Some(Path::new("/run/user/7")));
        found.map(|paths| paths.iter().map(|path| path.display().to_string()).collect()).map_err(|bad| bad.to_string())
    }

    fn context(home: &Path, name: &str, host: &str) {
        let client = home.join(".docker");
        let meta = client.join("contexts/meta").join(directory_of(name));
        std::fs::create_dir_all(&meta).unwrap();
        let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
        std::fs::write(meta.join("meta.json"), text).unwrap();
        std::fs::write(client.join("config.json"), format!(r#"{{"auths":{{}},"currentContext":"{name}"}}"#)).unwrap();
    }

    #[test]
    fn the_variable_wins_over_the_context_and_the_context_over_the_usual_places() {
        let home = tempfile::tempdir().unwrap();
        let podman = ["/run/user/7/podman/podman.sock", "/run/podman/podman.sock"];
        let usual = ["/var/run/docker.sock", "/run/user/7/docker.sock", podman[0], podman[1]];
        assert_eq!(found(&[], home.path()).unwrap(), usual);
        context(home.path(), "rootless", "unix:///run/user/7/docker.sock");
        assert_eq!(found(&[], home.path()).unwrap(), ["/run/user/7/docker.sock", podman[0], podman[1]]);
        assert_eq!(found(&[("DOCKER_CONTEXT", "default")], home.path()).unwrap(), usual);
        let host = ("DOCKER_HOST", "unix:///d.sock");
        assert_eq!(found(&[host], home.path()).unwrap(), ["/d.sock", podman[0], podman[1]]);
    }

    #[test]
    fn an_engine_that_cannot_be_watched_is_named_with_who_named_it() {
        let home = tempfile::tempdir().unwrap();
        let refused = |variables: &[(&str, &str)], words: &[&str]| {
            let message = found(variables, home.path()).unwrap_err();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        };
        refused(
            &[("DOCKER_HOST", "tcp://127.0.0.1:2375")],
            &["DOCKER_HOST", "tcp://127.0.0.1:2375", "ssh -L", "--host"],
        );
        refused(&[("DOCKER_HOST", "relative.sock")], &["absolute"]);
        refused(&[("DOCKER_HOST", "npipe:////./pipe/x")], &["no address"]);
        refused(&[("DOCKER_HOST", &format!("unix:///{}", "x".repeat(200)))], &["longer"]);
        refused(&[("DOCKER_CONTEXT", "gone")], &["the docker context \"gone\" is in use", "meta.json"]);
        context(home.path(), "far\u{1b}", "ssh://me@far");
        refused(&[("DOCKER_CONTEXT", "far\u{1b}")], &["meta.json"]);
        context(home.path(), "far", "ssh://me@far");
        refused(&[], &["the docker context \"far\"", "ssh://me@far", "forward its socket"]);
    }
}
