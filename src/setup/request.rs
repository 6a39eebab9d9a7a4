//! What a service manager's own tool is asked to do: a command that can be shown, and run.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A command. None of its arguments is ever a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    program: &'static str,
    arguments: Vec<String>,
    /// A variable that has to be set for it, as the session's runtime directory.
    variable: Option<(&'static str, PathBuf)>,
}

/// It could not be run, or said no.
#[derive(Debug, thiserror::Error)]
#[error("`{request}` failed: {problem}")]
pub struct Refused {
    /// What was asked.
    pub request: Request,
    /// What it said.
    pub problem: String,
}

impl Request {
    /// A command with its arguments.
    pub fn new<A: Into<String>>(program: &'static str, arguments: impl IntoIterator<Item = A>) -> Request {
        Request { program, arguments: arguments.into_iter().map(Into::into).collect(), variable: None }
    }

    /// The same with a variable of its environment set.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: PathBuf) -> Request {
        self.variable = Some((name, value));
        self
    }

    /// Runs it, and returns what it printed.
    pub fn run(&self) -> Result<Vec<u8>, Refused> {
        self.run_with(b"")
    }

    /// Runs it with this on its standard input, and returns what it printed.
    pub fn run_with(&self, input: &[u8]) -> Result<Vec<u8>, Refused> {
        let refused = |problem: String| Refused { request: self.clone(), problem };
        let mut command = Command::new(self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some((name, value)) = &self.variable {
            command.env(name, value);
        }
        let mut child = command.spawn().map_err(|error| refused(error.to_string()))?;
        // What is written is shorter than a pipe's buffer, so this does not wait. Whoever does not read it fails below.
        let _ = child.stdin.take().map(|mut pipe| pipe.write_all(input));
        let output = child.wait_with_output().map_err(|error| refused(error.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        Err(refused(if said.is_empty() { output.status.to_string() } else { said.replace('\n', "; ") }))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program, self.arguments.join(" "))
    }
}
