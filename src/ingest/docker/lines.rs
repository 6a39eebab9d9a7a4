//! A stream of lines that comes in pieces of any size. A line has a bound, and what is longer is passed over.

use crate::model::limits::MAX_ENGINE_LINE_BYTES;

/// What has come of a line so far.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    too_long: bool,
}

impl Lines {
    /// The lines that end in this piece, without their ends. `None` stands for one that was too long.
    pub fn feed(&mut self, mut piece: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut lines = Vec::new();
        while let Some(end) = piece.iter().position(|&byte| byte == b'\n') {
            self.add(&piece[..end]);
            piece = &piece[end + 1..];
            let line = std::mem::take(&mut self.begun);
            if std::mem::take(&mut self.too_long) {
                lines.push(None);
            } else if !line.trim_ascii().is_empty() {
                lines.push(Some(line));
            }
        }
        self.add(piece);
        lines
    }

    fn add(&mut self, piece: &[u8]) {
        self.too_long |= self.begun.len() + piece.len() > MAX_ENGINE_LINE_BYTES;
        if self.too_long {
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_takes_no_memory() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1_000];
        for _ in 0..2 * MAX_ENGINE_LINE_BYTES / piece.len() {
            assert_eq!(lines.feed(&piece), []);
            assert!(lines.begun.capacity() <= 2 * MAX_ENGINE_LINE_BYTES);
        }
        assert_eq!(lines.feed(b"end\n{}\n"), [None, Some(b"{}".to_vec())]);
        let longest = [vec![b'y'; MAX_ENGINE_LINE_BYTES], vec![b'\n']].concat();
        assert_eq!(lines.feed(&longest)[0].as_ref().map(Vec::len), Some(MAX_ENGINE_LINE_BYTES));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(text in "[a-c\n]{0,60}", cuts in prop::collection::vec(0..60_usize, 0..6)) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let mut lines = Lines::default();
            let found: Vec<_> = cuts.windows(2).flat_map(|cut| lines.feed(&text.as_bytes()[cut[0]..cut[1]])).collect();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let expected: Vec<_> =
                whole.split('\n').filter(|line| !line.is_empty()).map(|line| Some(line.as_bytes().to_vec())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
