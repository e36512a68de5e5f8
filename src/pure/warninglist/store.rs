//! Writes all warninglists as bytes for a file and reads them again, so that they survive a restart while
//! MISP is away. A checksum in the last line shows damage.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use super::head::ListHead;
use super::list::Builder;
use super::lists::Lists;

/// The first line; another layout gets another number.
const TITLE: &str = "misp-sentinel-relay warninglists 1";

/// The bytes are not lists as this version writes them, or are damaged.
#[derive(Debug, thiserror::Error)]
#[error("no warninglists of this version, or damaged: {0}")]
pub struct NotOurs(String);

impl Lists {
    /// Writes a line per list and per entry, and a last line by which damage shows.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, to: impl Write) -> io::Result<()> {
        let mut lines = Lines { to, hasher: blake3::Hasher::new() };
        lines.put(TITLE)?;
        for list in self.iter() {
            let count = list.entries().count();
            lines.put(&serde_json::to_string(&(&list.head, count))?)?;
            for entry in list.entries() {
                lines.put(&serde_json::to_string(&entry)?)?;
            }
        }
        let end = lines.hasher.finalize().to_hex();
        writeln!(lines.to, "{end}")?;
        lines.to.flush()
    }

    /// Reads what [`Lists::write`] wrote.
    ///
    /// # Errors
    /// [`NotOurs`]
    pub fn read(from: impl BufRead) -> Result<Self, NotOurs> {
        let mut lines = ReadLines { from, hasher: blake3::Hasher::new(), line: String::new() };
        if lines.next()? != TITLE {
            return Err(NotOurs("another title".to_owned()));
        }
        let mut lists = Vec::new();
        loop {
            let before = lines.hasher.clone();
            let line = lines.next()?;
            if !line.starts_with('[') {
                let whole = line == before.finalize().to_hex().as_str();
                return if whole {
                    Ok(Self::new(lists))
                } else {
                    Err(NotOurs("it was not written to its end".to_owned()))
                };
            }
            let (head, count): (ListHead, usize) = parse(line)?;
            let mut builder = Builder::new(head);
            for _ in 0..count {
                let entry: String = parse(lines.next()?)?;
                builder.push(&entry);
            }
            lists.push(Arc::new(builder.finish().map_err(NotOurs)?));
        }
    }
}

struct Lines<W> {
    to: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Lines<W> {
    fn put(&mut self, line: &str) -> io::Result<()> {
        self.hasher.update(line.as_bytes()).update(b"\n");
        self.to.write_all(line.as_bytes())?;
        self.to.write_all(b"\n")
    }
}

struct ReadLines<R> {
    from: R,
    hasher: blake3::Hasher,
    line: String,
}

impl<R: BufRead> ReadLines<R> {
    fn next(&mut self) -> Result<&str, NotOurs> {
        self.line.clear();
        self.from.read_line(&mut self.line).map_err(|error| NotOurs(error.to_string()))?;
        self.hasher.update(self.line.as_bytes());
        self.line.strip_suffix('\n').ok_or_else(|| NotOurs("it ends too early".to_owned()))
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(line: &'a str) -> Result<T, NotOurs> {
    serde_json::from_str(line).map_err(|error| NotOurs(error.to_string()))
}
