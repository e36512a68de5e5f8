//! Reads the input of `convert` from a file or standard input, and finds the events in it. The input may
//! begin with the topic of a ZeroMQ frame.

use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};

use crate::intake::frame::{self, PUBLICATION};
use crate::pure::misp::{self, Event};

/// Returns the bytes of the file, or of standard input for `-`.
///
/// # Errors
/// The input cannot be read.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).context("read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("read {}", file.display()))
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The first bytes of gzip (RFC 1952, 2.3.1).
const GZIP: &[u8] = b"\x1f\x8b";

/// Reads each event of the document `input`, and notes in `notes` which have no attributes. `take` gets each
/// event, or the reason why it cannot be read. Returns how many cannot be read.
///
/// # Errors
/// The input is not a document of MISP, or `take` failed.
pub(super) fn each_event<'d>(
    input: &'d [u8],
    notes: &mut impl Write,
    mut take: impl FnMut(Result<&Event<'d>, String>) -> io::Result<()>,
) -> anyhow::Result<u64> {
    let events = misp::events(document(input)?).context("read the document")?;
    let mut broken = 0;
    for (number, event) in (1..).zip(events) {
        match event {
            Ok(event) => {
                if event.attributes().next().is_none() {
                    let event = event.uuid;
                    writeln!(notes, "note: event {event} of the document has no attributes")?;
                }
                take(Ok(&event))?;
            }
            Err(problem) => {
                broken += 1;
                take(Err(format!("event {number} of the document: {problem}")))?;
            }
        }
    }
    Ok(broken)
}

/// Returns the JSON of the input, without the topic at the beginning of a recorded frame.
///
/// # Errors
/// The input is neither JSON nor the frame of a publication. The error shows its beginning.
fn document(input: &[u8]) -> anyhow::Result<&[u8]> {
    let text = input.strip_prefix(BYTE_ORDER_MARK).unwrap_or(input).trim_ascii();
    match text.first() {
        None => bail!("no MISP event: found nothing"),
        Some(b'{' | b'[' | b'"') => return Ok(text),
        Some(_) if text.starts_with(GZIP) => bail!("no MISP event: found gzip; unpack it first"),
        Some(_) => {}
    }
    match frame::topic(text) {
        Ok(PUBLICATION) => Ok(text.get(PUBLICATION.len()..).unwrap_or_default()),
        // The frames of attributes, objects and tags hold no whole event.
        Ok(topic) if topic.starts_with(PUBLICATION) => {
            bail!("no MISP event: found a frame of the topic `{topic}`, which is no publication")
        }
        _ => {
            let beginning = String::from_utf8_lossy(text.get(..48).unwrap_or(text));
            bail!("no MISP event: found neither a JSON document nor a frame, but {beginning:?}")
        }
    }
}
