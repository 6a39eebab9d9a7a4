//! Running a command as if it had been started directly.
//!
//! The command stays in our process group, so the terminal, the shell and its jobs see what they would see without us.
//! What the terminal sends reaches the command by itself; what somebody sends to us alone is passed on. We end only
//! after the command, stop when it stops, and never because of a signal of our own.

use std::io;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, getsid, kill_process, waitpid};
use signal_hook::consts::{SIGALRM, SIGCHLD, SIGHUP, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::{Origin, WithOrigin};

use super::signals::ASK_TO_END;
use super::{Ended, NotStarted, asks_to_end};
use crate::sys::signals::{is_ignored, stop_by};

/// What else somebody may send to a command. Not SIGCONT: a shell sends that to the whole group, and passed on late it
/// would undo the next stop. Whether the command has to be continued by us is seen when we are.
const TELLING: [i32; 6] = [SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH];

/// This process, hearing what is sent to it.
#[derive(Debug)]
pub struct Foreground {
    signals: SignalsInfo<WithOrigin>,
    asked_to_end: bool,
}

impl Foreground {
    /// Starts to hear what asks for the end, so that nothing of it is lost before the command can hear it. A signal
    /// that is ignored stays so, here and for the command.
    pub fn listen() -> io::Result<Foreground> {
        let heard = ASK_TO_END.into_iter().filter(|&signal| !is_ignored(signal));
        let signals = SignalsInfo::with_exfiltrator(heard, WithOrigin::default())?;
        Ok(Foreground { signals, asked_to_end: false })
    }

    /// Runs a command to its end. From now on no signal but SIGKILL ends this process before the command. One that is
    /// no longer wanted when this is called is not started.
    pub fn run(&mut self, mut command: Command) -> Result<Ended, NotStarted> {
        for signal in TELLING.into_iter().filter(|&signal| !is_ignored(signal)).chain([SIGCHLD]) {
            self.signals.add_signal(signal).map_err(NotStarted::CannotExecute)?;
        }
        let ending = self.signals.pending().map(|origin| origin.signal).find(|&signal| asks_to_end(signal));
        if let Some(signal) = ending {
            self.asked_to_end = true;
            return Ok(Ended::Signal(signal));
        }
        let child = command.spawn()?;
        self.until_end(&child).map_err(NotStarted::CannotExecute)
    }

    /// Whether somebody wanted the command to end before it did.
    #[must_use]
    pub fn was_asked_to_end(&self) -> bool {
        self.asked_to_end
    }

    fn until_end(&mut self, child: &Child) -> io::Result<Ended> {
        let pid = Pid::from_child(child);
        loop {
            for origin in self.signals.wait() {
                self.asked_to_end |= asks_to_end(origin.signal);
                if is_for_us_alone(&origin, pid)
                    && let Some(signal) = Signal::from_named_raw(origin.signal)
                {
                    // It may have ended; whoever sent the signal could not have known either.
                    let _ = kill_process(pid, signal);
                }
            }
            // Asked for after every signal: any number of SIGCHLD may have become one.
            let mut change = changed(pid, WaitOptions::UNTRACED)?;
            while let Some(signal) = change.and_then(WaitStatus::stopping_signal) {
                stop_by(signal);
                change = changed(pid, WaitOptions::UNTRACED | WaitOptions::CONTINUED)?;
                if change.is_none() {
                    // Whoever has continued us has not continued the command.
                    let _ = kill_process(pid, Signal::CONT);
                }
            }
            if let Some(status) = change.filter(|status| !status.continued()) {
                return Ok(ended(status));
            }
        }
    }
}

/// What has become of the command since the last look, if anything.
fn changed(command: Pid, kinds: WaitOptions) -> rustix::io::Result<Option<WaitStatus>> {
    Ok(waitpid(Some(command), WaitOptions::NOHANG | kinds)?.map(|(_, status)| status))
}

/// Whether the command has not received a signal by itself. A terminal sends to the whole group, and so does a command
/// that signals us, its parent of no interest.
fn is_for_us_alone(origin: &Origin, command: Pid) -> bool {
    match &origin.process {
        _ if origin.signal == SIGCHLD => false,
        Some(sender) => sender.pid != command.as_raw_nonzero().get(),
        // A terminal that goes away tells the leader of its session only.
        None => origin.signal == SIGHUP && getsid(None) == Ok(getpid()),
    }
}

fn ended(status: WaitStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Code(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    }
}
