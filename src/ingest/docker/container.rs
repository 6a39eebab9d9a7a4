//! What an engine answers when it is asked: which containers there are, and how one is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Senseless, check_id, signal};

/// A container as the engine describes it when asked for it by its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name, without the slash that Docker puts before it.
    pub name: String,
    /// The image as it was named when the container was made.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs, paused or not.
    pub running: bool,
    /// When it last began, in nanoseconds since the epoch; none if it never has.
    pub started: Option<i64>,
    /// When it last ended.
    pub finished: Option<i64>,
    /// The exit code of its last end.
    pub exit_code: i64,
    /// Whether the kernel has killed a process of it for want of memory.
    pub oom_killed: bool,
    /// The signal with which it wants to be stopped.
    pub stop_signal: Option<i32>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Id")]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    name: String,
    state: State,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    #[serde(default)]
    paused: bool,
    exit_code: i64,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default)]
    started_at: String,
    #[serde(default)]
    finished_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    image: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    /// Docker has the name of a signal here, Podman its number.
    #[serde(default)]
    stop_signal: Value,
}

/// The ids of an answer to `GET /containers/json`.
pub fn list(body: &[u8]) -> Result<Vec<String>, Senseless> {
    let listed: Vec<Listed> = serde_json::from_slice(body)?;
    listed.into_iter().map(|listed| check_id(&listed.id).map(|()| listed.id)).collect()
}

/// The time of the engine in an answer to `GET /info`, in nanoseconds since the epoch.
pub fn time(body: &[u8]) -> Result<i64, Senseless> {
    #[derive(Deserialize)]
    struct Info {
        #[serde(rename = "SystemTime")]
        time: String,
    }
    let info: Info = serde_json::from_slice(body)?;
    nanoseconds(&info.time).ok_or_else(|| Senseless("an engine that does not know what time it is".into()))
}

impl Container {
    /// Reads an answer to `GET /containers/ID/json`.
    pub fn read(body: &[u8]) -> Result<Container, Senseless> {
        let Inspected { name, state, config } = serde_json::from_slice(body)?;
        let stop_signal = match &config.stop_signal {
            Value::String(text) => signal::number(text),
            other => other.as_i64().and_then(|number| number.try_into().ok()),
        };
        Ok(Container {
            name: name.strip_prefix('/').unwrap_or(&name).to_owned(),
            image: config.image,
            labels: config.labels.unwrap_or_default(),
            running: state.running || state.paused,
            started: nanoseconds(&state.started_at),
            finished: nanoseconds(&state.finished_at),
            exit_code: state.exit_code,
            oom_killed: state.oom_killed,
            stop_signal,
        })
    }
}

/// A time as engines write it. What has not happened yet was in the year 1.
fn nanoseconds(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok().filter(|time| *time > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_and_podman_answer_alike_but_for_the_signal() {
        let answer = |name: &str, signal: &str| {
            format!(
                r#"{{"Id":"ab","Name":"{name}","State":{{"Running":false,"Paused":false,"OOMKilled":true,"ExitCode":137,
                "StartedAt":"2026-11-27T09:34:06.857756935Z","FinishedAt":"0001-01-01T00:00:00Z"}},
                "Config":{{"Image":"box:1","Labels":{{"a":"b"}}{signal}}}}}"#
            )
        };
        let docker = Container::read(answer("/web-1", r#","StopSignal":"SIGQUIT""#).as_bytes()).unwrap();
        let podman = Container::read(answer("web-1", r#","StopSignal":3"#).as_bytes()).unwrap();
        assert_eq!(docker, podman);
        assert_eq!((docker.name.as_str(), docker.exit_code, docker.oom_killed), ("web-1", 137, true));
        assert_eq!((docker.started, docker.finished), (Some(1_795_772_046_857_756_935), None));
        assert_eq!(docker.stop_signal, Some(3));
        assert_eq!(Container::read(answer("x", "").as_bytes()).unwrap().stop_signal, None);
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        assert_eq!(list(br#"[{"Id":"ab","Names":["/a"]},{"Id":"cd"}]"#).unwrap(), ["ab", "cd"]);
        list(br#"[{"Id":"../../images"}]"#).unwrap_err();
        list(br#"{"message":"no"}"#).unwrap_err();
        Container::read(br#"{"message":"no such container"}"#).unwrap_err();
        assert_eq!(time(br#"{"SystemTime":"2026-11-27T09:34:12.51944655Z"}"#).unwrap(), 1_795_772_052_519_446_550);
        time(br#"{"SystemTime":""}"#).unwrap_err();
    }
}
