//! What another program answers, within bounds of time and length.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What a program prints, if it does so in time, in at most this many bytes, and ends well. It reads nothing and complains
/// to nobody, and is gone afterwards.
#[must_use]
pub fn answer(mut command: Command, patience: Duration, most: usize) -> Option<Vec<u8>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let stdout = child.stdout.take()?;
    let (send, receive) = mpsc::channel();
    let reader = thread::Builder::new().name("answer".into()).spawn(move || {
        let mut bytes = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let read = stdout.take(limit).read_to_end(&mut bytes).ok();
        // Nobody may be there to take it any more.
        let _ = send.send(read.map(|_| bytes).filter(|bytes| bytes.len() <= most));
    });
    let bytes = reader.ok().and_then(|_| receive.recv_timeout(patience).ok().flatten());
    if bytes.is_none() {
        let _ = child.kill();
    }
    let ended = child.wait().ok()?;
    bytes.filter(|_| ended.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_late_or_long_is_none_and_its_process_is_gone() {
        let told = |script: &str, patience| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]);
            answer(shell, patience, 1_000)
        };
        let patience = Duration::from_mins(1);
        assert_eq!(told("echo yes", patience).as_deref(), Some(&b"yes\n"[..]));
        assert_eq!(told("echo yes; exit 1", patience), None);
        assert_eq!(told("exec yes", patience), None, "endless");
        assert_eq!(told("exec tail -f /dev/null", Duration::from_millis(1)), None, "silent");
        assert_eq!(answer(Command::new("/no/such/program"), patience, 1_000), None);
    }
}
