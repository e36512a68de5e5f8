//! Reads and writes the bytes between a ZeroMQ subscriber and its publisher (ZMTP 3.0, RFC 23 and RFC 24).
//! Pure. It does not trust the lengths that a peer announces: it takes memory only as bytes arrive, and never
//! more than for the largest frame that is allowed.

use axum::body::Bytes;

/// Signature and version: enough of a greeting to make the peer send its own. The mechanism follows
/// once the peer has said which one it wants.
pub(super) const OPENING: [u8; 12] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];

/// The first and last byte of a signature. Anything may stand between them (RFC 23).
pub(super) const SIGNATURE_START: u8 = 0xff;
pub(super) const SIGNATURE_END: u8 = 0x7f;
pub(super) const SIGNATURE_LENGTH: usize = 10;

/// The protocol's oldest version that has a greeting of [`GREETING_LENGTH`] and mechanisms.
pub(super) const VERSION: u8 = 3;

pub(super) const GREETING_LENGTH: usize = 64;
const MECHANISM_START: usize = OPENING.len();
const MECHANISM_END: usize = 32;

/// The way in which a peer wants a client to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mechanism {
    Null,
    Plain,
    Other(String),
}

impl Mechanism {
    /// Reads the mechanism from a peer's greeting.
    pub(super) fn of(greeting: &[u8; GREETING_LENGTH]) -> Self {
        let name = greeting.get(MECHANISM_START..MECHANISM_END).unwrap_or_default();
        // Zeros pad the field, so the name ends at the first one (RFC 23).
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        match name {
            b"NULL" => Self::Null,
            b"PLAIN" => Self::Plain,
            other => Self::Other(String::from_utf8_lossy(other).into_owned()),
        }
    }
}

/// Writes the part of a client's greeting after [`OPENING`]: the mechanism, padded with zeros, and zeros.
pub(super) fn rest_of_greeting(mechanism: &str) -> Vec<u8> {
    let mut rest = mechanism.as_bytes().to_vec();
    rest.resize(GREETING_LENGTH - OPENING.len(), 0);
    rest
}

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Writes a command with its data. Neither is ever long.
pub(super) fn command(name: &str, data: &[u8]) -> Vec<u8> {
    let body = [&[length(name.len())], name.as_bytes(), data].concat();
    frame(COMMAND, &body)
}

/// Writes the metadata of a subscriber.
pub(super) fn metadata() -> Vec<u8> {
    const NAME: &[u8] = b"Socket-Type";
    const VALUE: &[u8] = b"SUB";
    // A value's length has four bytes, big endian. The last one is enough for ours.
    [&[length(NAME.len())], NAME, &[0, 0, 0, length(VALUE.len())], VALUE].concat()
}

/// Writes the message that subscribes to all topics that begin with `prefix`.
pub(super) fn subscription(prefix: &str) -> Vec<u8> {
    frame(0, &[&[1], prefix.as_bytes()].concat())
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    match u8::try_from(body.len()) {
        Ok(length) => [&[flags, length], body].concat(),
        Err(_) => {
            let length = (body.len() as u64).to_be_bytes();
            [&[flags | LONG][..], &length, body].concat()
        }
    }
}

/// Returns the length of one of our own names, which are short.
fn length(bytes: usize) -> u8 {
    u8::try_from(bytes).unwrap_or(u8::MAX)
}

/// Returns a command's name and data.
pub(super) fn named(command: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = command.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Returns the status of a refusal, if the command is one: a status behind its length (RFC 27).
///
/// libzmq misspells the name: `"\x5ERROR"` in its source is the byte 0x5e and `RROR` (recorded).
pub(super) fn refusal(command: &[u8]) -> Option<&[u8]> {
    const MISSPELT: &[u8] = b"^RROR";
    let status = match command.strip_prefix(MISSPELT) {
        Some(status) => status,
        None => named(command).filter(|(name, _)| *name == b"ERROR")?.1,
    };
    Some(named(status).map(|(status, _)| status).unwrap_or_default())
}

/// Returns a property of the metadata of a command, by its name in lower case.
pub(super) fn property<'d>(mut data: &'d [u8], wanted: &[u8]) -> Option<&'d [u8]> {
    loop {
        // Lengths beyond the data end the search, so a peer cannot make it read further. Each round takes
        // at least five bytes, so it ends.
        let (name, rest) = named(data)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        data = rest;
    }
}

/// A piece that arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Command(Vec<u8>),
    /// The first frame of a message. MISP sends no others, and further frames of a message are skipped.
    Message(Bytes),
    /// The beginning of a frame that is larger than allowed. Its rest is skipped.
    TooLarge {
        start: Bytes,
        size: u64,
    },
}

/// The reason why nothing that follows can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BrokenWire {
    #[error("it announces a frame of {0} bytes, far more than max_frame allows")]
    Announced(u64),
    #[error("what it sends is no ZeroMQ frame")]
    NoFrame,
}

/// The number of bytes that are kept of a frame that is too large, since its topic stands there.
const START: usize = 64;

/// The size of the longest command in bytes. Those of a publisher have less than a hundred.
const LONGEST_COMMAND: u64 = 4 << 10;

/// The most memory that is taken before any byte of a frame is there.
const FIRST_ROOM: usize = 64 << 10;

/// Cuts the bytes that arrive into pieces.
#[derive(Debug)]
pub(super) struct Frames {
    /// The size of the largest message in bytes.
    most: u64,
    at: At,
    /// The header or the frame, as far as it has come.
    collected: Vec<u8>,
    /// Whether the last frame announced that its message goes on.
    goes_on: bool,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Header,
    /// A command of so many bytes.
    Command(u64),
    /// A message of so many bytes.
    Message(u64),
    /// The start of a frame of so many bytes, which is larger than allowed.
    Large(u64),
    /// The rest of a frame, of so many bytes, which is dropped.
    Skipped(u64),
}

impl Frames {
    pub(super) fn new(most: usize) -> Self {
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        Self { most, at: At::Header, collected: Vec::new(), goes_on: false }
    }

    /// Takes from `input` what belongs to the next piece. `None`: all of `input` was taken, and the piece
    /// is not complete.
    ///
    /// # Errors
    /// [`BrokenWire`]; the connection is of no more use.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Result<Option<Piece>, BrokenWire> {
        loop {
            let piece = match self.at {
                At::Header => {
                    let Some((byte, rest)) = input.split_first() else { return Ok(None) };
                    *input = rest;
                    // The header's length shows only in its first byte. It has at most nine bytes.
                    self.collected.push(*byte);
                    self.header()?;
                    continue;
                }
                At::Skipped(left) => {
                    // `now` is at most the length of `input`, so neither fallback below is reached.
                    let now = left.min(input.len() as u64);
                    *input = input.get(usize::try_from(now).unwrap_or(usize::MAX)..).unwrap_or(&[]);
                    if now < left {
                        self.at = At::Skipped(left - now);
                        return Ok(None);
                    }
                    self.at = At::Header;
                    continue;
                }
                At::Command(size) => self.collect(input, size).map(Piece::Command),
                At::Message(size) => {
                    self.collect(input, size).map(|frame| Piece::Message(frame.into()))
                }
                At::Large(size) => {
                    let start = size.min(START as u64);
                    let start = self.collect(input, start);
                    start.map(|start| Piece::TooLarge { start: start.into(), size })
                }
            };
            let Some(piece) = piece else { return Ok(None) };
            self.at = match &piece {
                Piece::TooLarge { start, size } => {
                    At::Skipped(size.saturating_sub(start.len() as u64))
                }
                Piece::Command(_) | Piece::Message(_) => At::Header,
            };
            return Ok(Some(piece));
        }
    }

    /// Goes on to the frame if its header is complete.
    fn header(&mut self) -> Result<(), BrokenWire> {
        let Some((flags, length)) = self.collected.split_first() else { return Ok(()) };
        let flags = *flags;
        // Other flags are reserved, and a command never goes on (RFC 23).
        let is_sound =
            flags & !(MORE | LONG | COMMAND) == 0 && flags & (MORE | COMMAND) != MORE | COMMAND;
        if !is_sound {
            return Err(BrokenWire::NoFrame);
        }
        let size = match (flags & LONG == 0, length) {
            (true, [size]) => u64::from(*size),
            (false, size) if size.len() == 8 => {
                size.iter().fold(0, |size, byte| (size << 8) | u64::from(*byte))
            }
            // The length is not complete yet.
            _ => return Ok(()),
        };
        // A new vector, so that the frame's room is counted from zero.
        self.collected = Vec::new();
        self.at = self.frame(flags, size)?;
        Ok(())
    }

    fn frame(&mut self, flags: u8, size: u64) -> Result<At, BrokenWire> {
        // A command is no part of a message, so it leaves `goes_on` as it is.
        if flags & COMMAND != 0 {
            return if size <= LONGEST_COMMAND {
                Ok(At::Command(size))
            } else {
                Err(BrokenWire::NoFrame)
            };
        }
        // Skipping more than that takes longer than connecting anew.
        if size > self.most.saturating_mul(2) {
            return Err(BrokenWire::Announced(size));
        }
        let is_first = !self.goes_on;
        self.goes_on = flags & MORE != 0;
        Ok(match (is_first, size > self.most) {
            (false, _) => At::Skipped(size),
            (true, true) => At::Large(size),
            (true, false) => At::Message(size),
        })
    }

    /// Returns the frame of `size` bytes once all of it has come.
    fn collect(&mut self, input: &mut &[u8], size: u64) -> Option<Vec<u8>> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        while self.collected.len() < size && !input.is_empty() {
            let missing = size - self.collected.len();
            // The room doubles with what has come: a peer that announces much and sends little takes
            // little.
            if self.collected.capacity() == self.collected.len() {
                self.collected.reserve_exact(missing.min(FIRST_ROOM.max(self.collected.len())));
            }
            let room = self.collected.capacity() - self.collected.len();
            let now = missing.min(room).min(input.len());
            let (taken, rest) = input.split_at_checked(now)?;
            self.collected.extend_from_slice(taken);
            *input = rest;
        }
        (self.collected.len() >= size).then(|| std::mem::take(&mut self.collected))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 1_000;

    /// What comes of `input` in pieces of `step` bytes.
    fn cut(input: &[u8], step: usize) -> Result<Vec<Piece>, BrokenWire> {
        let mut frames = Frames::new(MOST);
        let mut found = Vec::new();
        for mut part in input.chunks(step) {
            while let Some(piece) = frames.take(&mut part)? {
                found.push(piece);
            }
            assert!(frames.collected.capacity() <= FIRST_ROOM.max(2 * MOST));
        }
        Ok(found)
    }

    fn message(body: &[u8]) -> Piece {
        Piece::Message(Bytes::copy_from_slice(body))
    }

    #[test]
    fn the_mechanism_is_read_from_a_greeting() {
        let greeting = |name: &str| {
            let greeting = [&OPENING[..], &rest_of_greeting(name)].concat();
            Mechanism::of(&greeting.try_into().unwrap())
        };
        assert_eq!(greeting("NULL"), Mechanism::Null);
        assert_eq!(greeting("PLAIN"), Mechanism::Plain);
        assert_eq!(greeting("CURVE"), Mechanism::Other("CURVE".to_owned()));
    }

    /// The bytes of RFC 23's own example of a READY command, and of a subscription.
    #[test]
    fn what_is_sent_is_spelt_as_the_specification_has_it() {
        let ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB";
        assert_eq!(command("READY", &metadata()), ready);
        assert_eq!(subscription("misp_json "), b"\x00\x0b\x01misp_json ");
        let long = command("HELLO", &[7; 300]);
        assert_eq!(long[..9], [COMMAND | LONG, 0, 0, 0, 0, 0, 0, 1, 50]);
    }

    /// The second as a libzmq publisher sent it (`zmtp_greeting_plain.log`).
    #[test]
    fn a_refusal_is_known_in_either_spelling() {
        for command in [&b"\x05ERROR\x03400"[..], b"^RROR\x03400"] {
            assert_eq!(refusal(command), Some(&b"400"[..]));
        }
        assert_eq!(refusal(b"\x07WELCOME"), None);
        assert_eq!(refusal(b"\x05ERROR"), Some(&b""[..]));
    }

    #[test]
    fn metadata_is_found_by_name() {
        let data = b"\x08Identity\0\0\0\0\x0bSocket-Type\0\0\0\x04XPUB";
        assert_eq!(property(data, b"socket-type"), Some(&b"XPUB"[..]));
        assert_eq!(property(data, b"other"), None);
        assert_eq!(property(b"\x08Identity\xff\xff\xff\xff", b"socket-type"), None);
    }

    /// Nine bytes that announce a terabyte.
    #[test]
    fn an_announced_length_takes_no_memory() {
        let header = [LONG, 0, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!(cut(&header, 9), Err(BrokenWire::Announced(1 << 40)));
        let mut frames = Frames::new(1 << 30);
        assert_eq!(frames.take(&mut &[LONG, 0, 0, 0, 0, 0x40, 0, 0, 0, b'm'][..]), Ok(None));
        assert!(frames.collected.capacity() <= FIRST_ROOM);
    }

    #[test]
    fn a_frame_that_is_too_large_is_named_and_the_next_is_read() {
        let large = frame(0, &[b"misp_json ", &[b'x'; 1_500][..]].concat());
        let all = [large, frame(0, b"misp_json {}")].concat();
        for step in [1, 7, 64, 4_096] {
            let [Piece::TooLarge { start, size: 1_510 }, next] = &cut(&all, step).unwrap()[..]
            else {
                panic!()
            };
            assert!(start.starts_with(b"misp_json x") && start.len() == START);
            assert_eq!(*next, message(b"misp_json {}"));
        }
    }

    /// A message has one frame in MISP; more of them are never held.
    #[test]
    fn of_several_parts_the_first_is_read() {
        let mut all = frame(MORE, b"first");
        for _ in 0..10_000 {
            all.extend(frame(MORE, &[b'x'; 900]));
        }
        all.extend(frame(0, b"last"));
        all.extend(frame(0, b"next"));
        let expected = vec![message(b"first"), message(b"next")];
        assert_eq!(cut(&all, 1_000).unwrap(), expected);
    }

    #[test]
    fn what_is_no_frame_ends_the_connection() {
        for input in [
            &[0x08, 0][..],
            &[0xff, 0],
            &[COMMAND | MORE, 1],
            &[COMMAND | LONG, 0, 0, 0, 0, 0, 1, 0, 0],
        ] {
            assert_eq!(cut(input, 9), Err(BrokenWire::NoFrame), "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..8),
            step in 1_usize..600,
        ) {
            let all: Vec<u8> = bodies.iter().flat_map(|body| frame(0, body)).collect();
            let expected: Vec<Piece> = bodies.iter().map(|body| message(body)).collect();
            prop_assert_eq!(cut(&all, step).unwrap(), expected);
        }

        #[test]
        fn no_bytes_break_it(
            input in prop::collection::vec(any::<u8>(), 0..4_000),
            step in 1_usize..600,
        ) {
            cut(&input, step).ok();
        }
    }
}
