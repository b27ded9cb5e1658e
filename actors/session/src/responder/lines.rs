//! Cuts a stream of bytes into lines, however the bytes are chopped, and bounds what it holds.

use super::ResponderError;

/// Longest line of a stream, in bytes; a model's part of a reply has a few hundred.
pub(super) const MAX_LINE_BYTES: usize = 256 * 1024;

/// Bytes on their way to becoming lines.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// Up to here the lines were taken out. What is left moves to the front only once no line is, so that many short lines
    /// cost no more than one long one.
    taken: usize,
    /// Up to here there is no line end.
    searched: usize,
}

impl LineBuffer {
    /// Takes bytes as they came. Take out all lines before the next ones are put in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its end; none until more bytes come.
    pub(super) fn next_line(&mut self) -> Result<Option<String>, ResponderError> {
        match self.bytes[self.searched..].iter().position(|&b| b == b'\n') {
            Some(at) => {
                let end = self.searched + at + 1;
                let line = text(&self.bytes[self.taken..end]);
                (self.taken, self.searched) = (end, end);
                line.map(Some)
            }
            None => {
                self.bytes.drain(..std::mem::take(&mut self.taken));
                self.searched = self.bytes.len();
                if self.bytes.len() > MAX_LINE_BYTES {
                    return Err(too_long());
                }
                Ok(None)
            }
        }
    }

    /// What is left when the stream has ended: its last line may lack an end.
    pub(super) fn last_line(self) -> Result<String, ResponderError> {
        text(&self.bytes[self.taken..])
    }
}

fn too_long() -> ResponderError {
    ResponderError::Malformed(format!("a line of more than {MAX_LINE_BYTES} bytes"))
}

fn text(mut line: &[u8]) -> Result<String, ResponderError> {
    if line.len() > MAX_LINE_BYTES {
        return Err(too_long());
    }
    while let Some((b'\n' | b'\r', rest)) = line.split_last() {
        line = rest;
    }
    let text = std::str::from_utf8(line);
    text.map(str::to_owned)
        .map_err(|_| ResponderError::Malformed("a line is not UTF-8".to_owned()))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_any_chopping() {
        let bytes = "data: é🙂\r\n\nlast".as_bytes();
        for size in 1..=bytes.len() {
            let mut buffer = LineBuffer::default();
            let mut lines = Vec::new();
            for chunk in bytes.chunks(size) {
                buffer.push(chunk);
                while let Some(line) = buffer.next_line().expect("sound") {
                    lines.push(line);
                }
            }
            lines.push(buffer.last_line().expect("sound"));
            assert_eq!(lines, ["data: é🙂", "", "last"], "chunks of {size}");
        }
    }

    #[test]
    fn endless_lines_and_foreign_bytes_are_refused() {
        let mut buffer = LineBuffer::default();
        buffer.push(&vec![b'x'; MAX_LINE_BYTES + 1]);
        assert!(buffer.next_line().is_err());
        let mut buffer = LineBuffer::default();
        buffer.push(&[0xff, b'\n']);
        assert!(buffer.next_line().is_err());
    }
}
