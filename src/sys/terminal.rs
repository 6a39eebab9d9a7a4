//! The terminal: reading something there that nobody is to see, and how wide it is.

use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// What Ctrl-C types where it is no signal.
const INTERRUPT: u8 = 3;

/// Whether a person sits there.
#[must_use]
pub fn is_terminal(input: &impl AsFd) -> bool {
    isatty(input)
}

/// How many columns it has; none if it is no terminal, or does not know.
#[must_use]
pub fn columns(output: &impl AsFd) -> Option<usize> {
    tcgetwinsize(output).ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// Reads a line without showing it; `Interrupted` if Ctrl-C was typed. Asks only once nothing is shown any more. While
/// it reads, Ctrl-C is a character that ends the line and not a signal, which would leave the terminal as it is then.
pub fn read_hidden(input: &mut (impl AsFd + Read), line: &mut [u8], ask: impl FnOnce()) -> io::Result<usize> {
    let before = tcgetattr(&*input)?;
    let mut hidden = before.clone();
    hidden.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
    hidden.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
    tcsetattr(&*input, OptionalActions::Flush, &hidden)?;
    ask();
    let read = input.read(line);
    tcsetattr(&*input, OptionalActions::Now, &before)?;
    let length = read?;
    if line[..length].last() == Some(&INTERRUPT) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(length) }
}
