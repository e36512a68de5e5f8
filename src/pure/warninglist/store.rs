//! Writes all warninglists as bytes for a file and reads them again, so that they survive a restart while
//! MISP is away. A checksum in the last line shows damage.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use super::head::ListHead;
use super::list::List;
use super::lists::Lists;
use super::texts::Texts;

/// The first line; another layout gets another number.
const TITLE: &str = "misp-sentinel-relay warninglists 1";

/// The bytes are not what this version writes, or are damaged.
#[derive(Debug, thiserror::Error)]
#[error("these are no warninglists of this version, or they are damaged: {0}")]
pub struct NotOurs(String);

impl Lists {
    /// Writes a line per list and per entry. A checksum in the last line shows damage.
    ///
    /// # Errors
    /// An error of `to`.
    pub fn write(&self, to: impl Write) -> io::Result<()> {
        let mut lines = Lines { stream: to, hasher: blake3::Hasher::new() };
        lines.put(TITLE)?;
        for list in self.iter() {
            let count = list.entries().count();
            lines.put(&serde_json::to_string(&(&list.head, count))?)?;
            for entry in list.entries() {
                lines.put(&serde_json::to_string(&entry)?)?;
            }
        }
        let end = lines.hasher.finalize().to_hex();
        writeln!(lines.stream, "{end}")?;
        lines.stream.flush()
    }

    /// Reads what [`Lists::write`] wrote.
    ///
    /// # Errors
    /// [`NotOurs`].
    pub fn read(from: impl BufRead) -> Result<Self, NotOurs> {
        let mut lines = Lines { stream: from, hasher: blake3::Hasher::new() };
        if lines.next()? != TITLE {
            return Err(NotOurs("the first line is another".to_owned()));
        }
        let mut lists = Vec::new();
        loop {
            let before = lines.hasher.clone();
            let line = lines.next()?;
            if !line.starts_with('[') {
                let is_whole = line == before.finalize().to_hex().as_str();
                let cut = || NotOurs("the last line is no checksum of the others".to_owned());
                return is_whole.then(|| Self::new(lists)).ok_or_else(cut);
            }
            let (head, count): (ListHead, usize) = parse(&line)?;
            let mut entries = Texts::default();
            for _ in 0..count {
                let entry: String = parse(&lines.next()?)?;
                entries.push(&entry).map_err(|error| NotOurs(error.to_string()))?;
            }
            lists.push(Arc::new(List::new(head, entries).map_err(NotOurs)?));
        }
    }
}

/// The lines of a file, and the checksum of those so far.
struct Lines<S> {
    stream: S,
    hasher: blake3::Hasher,
}

impl<W: Write> Lines<W> {
    fn put(&mut self, line: &str) -> io::Result<()> {
        self.hasher.update(line.as_bytes()).update(b"\n");
        writeln!(self.stream, "{line}")
    }
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<String, NotOurs> {
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(|error| NotOurs(error.to_string()))?;
        self.hasher.update(line.as_bytes());
        match line.pop() {
            Some('\n') => Ok(line),
            _ => Err(NotOurs("it ends too early".to_owned())),
        }
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(line: &'a str) -> Result<T, NotOurs> {
    serde_json::from_str(line).map_err(|error| NotOurs(error.to_string()))
}
