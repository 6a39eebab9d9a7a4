//! A real terminal: a pseudo terminal that is the controlling one of what runs on it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::harness::{Bus, PATIENCE};

/// What keeps a terminal from the processes that other tests start at this moment, where the system has it.
#[cfg(target_os = "linux")]
const ATOMIC: OpenptFlags = OpenptFlags::CLOEXEC;
#[cfg(not(target_os = "linux"))]
const ATOMIC: OpenptFlags = OpenptFlags::empty();

/// A terminal and the program on it, which leads its session.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    /// A shell with job control on a terminal of 30 lines and 90 columns, which has the bus in its environment and the
    /// program as `$waitbus`.
    pub fn shell(bus: &Bus) -> Terminal {
        let bare = bus.command(&[]);
        let mut shell = Command::new("setsid");
        shell.args(["--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"]);
        shell.env_clear().envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("waitbus", bare.get_program()).env("PS1", "ready> ").env("TERM", "dumb").current_dir(bus.root());
        let mut terminal = Terminal::start(shell);
        terminal.shows("ready> ");
        terminal
    }

    fn start(mut command: Command) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | ATOMIC).unwrap();
        fcntl_setfd(&master, FdFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 30, ws_col: 90, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = || Stdio::from(File::options().read(true).write(true).open(&path).unwrap());
        let child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().unwrap();
        let (sender, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // At the end a terminal is an error, not an end of file.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { child, keyboard, screen, shown: String::new() }
    }

    /// Types a line.
    pub fn line(&mut self, text: &str) {
        self.keys(&format!("{text}\n"));
    }

    /// Presses keys: `\x03` is Ctrl-C, `\x1a` Ctrl-Z, `\x04` Ctrl-D.
    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows a text, and returns what came before it since the last one.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((before, after)) = self.shown.split_once(text) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.shown = after;
                return before;
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(more) => self.shown += &String::from_utf8_lossy(&more),
                Err(error) => panic!("{error}: it never showed {text:?}; it shows:\n{}", self.shown),
            }
        }
    }

    /// Changes its size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keyboard, size).unwrap();
    }

    /// Ends the shell and returns how it ended.
    pub fn end(mut self) -> ExitStatus {
        self.line("exit");
        self.child.wait().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
