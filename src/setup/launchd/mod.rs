//! launchd: the agents in this user's own directory, and what launchd has to be told about them.
//!
//! Only [`Session::find`] asks a launchd. What follows from its answer is worked out, and tested, on every platform.

pub mod agents;

use std::path::{Path, PathBuf};

use super::request::Request;
use super::{Plan, SetupError, Step, Wanted, files};
use crate::config::directories::Directories;
use crate::config::secret::KNOWN;
use agents::{Agent, HUB, WEBHOOK};

/// The part of launchd that serves this user at the screen, and which of our agents it knows.
#[derive(Clone, Debug)]
struct Session {
    domain: String,
    loaded: Vec<Agent>,
}

impl Session {
    fn find() -> Result<Session, SetupError> {
        let domain = domain();
        launchctl(&["print", &domain]).run().map_err(|refused| SetupError::NoManager {
            problem: format!("launchd has no session of this user at the screen ({})", refused.problem),
            remedy: "Log in there, and run this again.".to_owned(),
        })?;
        let is_known = |agent: &Agent| launchctl(&["print", &target(&domain, *agent)]).run().is_ok();
        Ok(Session { loaded: [HUB, WEBHOOK].into_iter().filter(is_known).collect(), domain })
    }

    fn knows(&self, agent: Agent) -> bool {
        self.loaded.contains(&agent)
    }

    fn ask(&self, verb: &str, agent: Agent) -> Step {
        Step::Ask(launchctl(&[verb, &target(&self.domain, agent)]))
    }
}

/// What leads from what is there to agents as they are wanted, whose sockets launchd has opened.
pub fn install(wanted: &Wanted<'_>) -> Result<Plan, SetupError> {
    steps_to_install(wanted, &Session::find()?, &place()?)
}

/// Whether the hub's agent is installed, loaded or not.
#[must_use]
pub fn is_installed() -> bool {
    Directories::agents().is_some_and(|place| HUB.file(&place).exists())
}

/// Stops the webhook listener, if launchd runs it, and tells whether it did. The next delivery starts another one, which
/// reads the secret anew.
#[must_use]
pub fn stop_listener() -> bool {
    let target = target(&domain(), WEBHOOK);
    launchctl(&["kill", "SIGTERM", &target]).run().is_ok()
}

/// What leads from what is there to a launchd that has never heard of us.
pub fn uninstall(directories: &Directories) -> Result<Plan, SetupError> {
    steps_to_uninstall(directories, &Session::find()?, &place()?)
}

fn place() -> Result<PathBuf, SetupError> {
    Directories::agents().ok_or_else(|| SetupError::NoManager {
        problem: "there is no home directory, where launchd looks for agents".to_owned(),
        remedy: "Set HOME, and run this again.".to_owned(),
    })
}

fn steps_to_install(wanted: &Wanted<'_>, session: &Session, place: &Path) -> Result<Plan, SetupError> {
    let directories = wanted.directories;
    let missing = [&directories.state, &directories.runtime].into_iter().filter(|path| !path.is_dir());
    let mut plan: Plan = missing.cloned().map(Step::Directory).collect();
    for agent in [HUB, WEBHOOK] {
        let path = agent.file(place);
        if agent == WEBHOOK && !wanted.webhook && files::ours(&path)?.is_none() {
            continue;
        }
        let change = files::difference(&files::Wanted { path: path.clone(), text: agent.render(wanted)? })?;
        let known = session.knows(agent);
        if change.is_none() && known {
            continue;
        }
        // launchd does not look at the file again: what it knows of a changed one has to go first.
        plan.extend(known.then(|| session.ask("bootout", agent)));
        plan.extend(change.map(Step::Change));
        // It remembers for ever that somebody has disabled an agent, and does not say so when it refuses it.
        plan.push(session.ask("enable", agent));
        let path = path.to_str().ok_or_else(|| SetupError::NotText(path.clone()))?;
        plan.push(Step::Ask(launchctl(&["bootstrap", &session.domain, path])));
    }
    Ok(plan)
}

fn steps_to_uninstall(directories: &Directories, session: &Session, place: &Path) -> Result<Plan, SetupError> {
    let mut plan = Plan::new();
    for agent in [WEBHOOK, HUB] {
        plan.extend(session.knows(agent).then(|| session.ask("bootout", agent)));
        plan.extend(files::removal(&agent.file(place))?.map(Step::Change));
    }
    let mut leftovers: Vec<_> = KNOWN.map(|known| directories.credentials().join(known.name)).into();
    leftovers.extend([directories.hub_log(), directories.listen_log()]);
    if session.knows(HUB) {
        // launchd closes its sockets and leaves the files. Otherwise they may be those of a hub that a client started.
        leftovers.extend([directories.broadcast()?, directories.doorbell()?]);
    }
    plan.extend(leftovers.into_iter().filter(|path| path.symlink_metadata().is_ok()).map(Step::Remove));
    Ok(plan)
}

fn domain() -> String {
    format!("gui/{}", rustix::process::geteuid().as_raw())
}

fn target(domain: &str, agent: Agent) -> String {
    format!("{domain}/{}", agent.label)
}

fn launchctl(arguments: &[&str]) -> Request {
    Request::new("launchctl", arguments.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A home with nothing in it.
    struct Home {
        root: tempfile::TempDir,
        directories: Directories,
    }

    impl Home {
        fn new() -> Home {
            let root = tempfile::tempdir().unwrap();
            let state = root.path().join("Application Support/waitbus");
            let directories = Directories { runtime: state.join("run"), config: root.path().join("config"), state };
            Home { root, directories }
        }

        fn place(&self) -> PathBuf {
            self.root.path().join("LaunchAgents")
        }

        fn install(&self, webhook: bool, loaded: &[Agent]) -> Plan {
            let wanted = Wanted { directories: &self.directories, program: Path::new("/opt/waitbus"), webhook };
            steps_to_install(&wanted, &session(loaded), &self.place()).unwrap()
        }

        fn uninstall(&self, loaded: &[Agent]) -> Plan {
            steps_to_uninstall(&self.directories, &session(loaded), &self.place()).unwrap()
        }

        /// The same as a person would read it, in the terms of the home.
        fn told(&self, plan: &Plan) -> Vec<String> {
            let told = |step: &Step| match step {
                Step::Directory(path) => format!("make {}", path.display()),
                Step::Change(change) if change.after.is_none() => format!("remove {}", change.path.display()),
                Step::Change(change) => format!("write {}", change.path.display()),
                Step::Remove(path) => format!("remove {}", path.display()),
                Step::Ask(request) => request.to_string(),
            };
            let root = format!("{}/", self.root.path().display());
            plan.iter().map(|step| told(step).replace(&root, "")).collect()
        }
    }

    fn session(loaded: &[Agent]) -> Session {
        Session { domain: "gui/501".into(), loaded: loaded.to_vec() }
    }

    /// Takes all the steps but those that need a launchd.
    fn take(plan: &Plan) {
        for step in plan.iter().filter(|step| !matches!(step, Step::Ask(_))) {
            step.take().unwrap();
        }
    }

    #[test]
    fn an_installation_makes_the_directories_that_launchd_does_not_make_and_is_then_complete() {
        let home = Home::new();
        let plan = home.install(false, &[]);
        assert_eq!(
            home.told(&plan),
            [
                "make Application Support/waitbus",
                "make Application Support/waitbus/run",
                "write LaunchAgents/io.github.waitbus.hub.plist",
                "launchctl enable gui/501/io.github.waitbus.hub",
                "launchctl bootstrap gui/501 LaunchAgents/io.github.waitbus.hub.plist",
            ]
        );
        take(&plan);
        assert!(home.install(false, &[HUB]).is_empty(), "installing twice is installing once");
        assert_eq!(
            home.told(&home.install(true, &[HUB])),
            [
                "write LaunchAgents/io.github.waitbus.webhook.plist",
                "launchctl enable gui/501/io.github.waitbus.webhook",
                "launchctl bootstrap gui/501 LaunchAgents/io.github.waitbus.webhook.plist",
            ]
        );
    }

    #[test]
    fn what_has_drifted_is_written_anew_and_launchd_forgets_what_it_knew() {
        let home = Home::new();
        take(&home.install(true, &[]));
        let path = WEBHOOK.file(&home.place());
        let drifted = fs::read_to_string(&path).unwrap().replace("9000", "9001");
        fs::write(&path, drifted).unwrap();
        // Also when the webhook is not asked for again: it is installed.
        assert_eq!(
            home.told(&home.install(false, &[HUB, WEBHOOK])),
            [
                "launchctl bootout gui/501/io.github.waitbus.webhook",
                "write LaunchAgents/io.github.waitbus.webhook.plist",
                "launchctl enable gui/501/io.github.waitbus.webhook",
                "launchctl bootstrap gui/501 LaunchAgents/io.github.waitbus.webhook.plist",
            ]
        );
    }

    #[test]
    fn somebody_elses_agent_of_our_name_is_neither_overwritten_nor_removed() {
        let home = Home::new();
        let path = HUB.file(&home.place());
        fs::create_dir_all(home.place()).unwrap();
        fs::write(&path, "<plist/>").unwrap();
        let wanted = Wanted { directories: &home.directories, program: Path::new("/opt/waitbus"), webhook: false };
        let error = steps_to_install(&wanted, &session(&[]), &home.place()).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(home.uninstall(&[]).is_empty());
    }

    #[test]
    fn uninstalling_leaves_the_log_and_what_a_hub_of_its_own_has_bound() {
        let home = Home::new();
        take(&home.install(true, &[]));
        fs::create_dir(home.directories.credentials()).unwrap();
        let secret = "credentials/github-webhook-secret";
        for file in ["events.db", secret, "hub.log", "run/broadcast.sock", "run/doorbell.sock"] {
            fs::write(home.directories.state.join(file), "").unwrap();
        }
        assert_eq!(
            home.told(&home.uninstall(&[HUB, WEBHOOK])),
            [
                "launchctl bootout gui/501/io.github.waitbus.webhook",
                "remove LaunchAgents/io.github.waitbus.webhook.plist",
                "launchctl bootout gui/501/io.github.waitbus.hub",
                "remove LaunchAgents/io.github.waitbus.hub.plist",
                "remove Application Support/waitbus/credentials/github-webhook-secret",
                "remove Application Support/waitbus/hub.log",
                "remove Application Support/waitbus/run/broadcast.sock",
                "remove Application Support/waitbus/run/doorbell.sock",
            ]
        );
        let unknown = home.uninstall(&[]);
        take(&unknown);
        assert!(home.directories.broadcast().unwrap().exists());
        assert!(home.directories.state.join("events.db").exists());
        assert!(home.uninstall(&[]).is_empty());
    }
}
