//! Cuts the document of one large event, piece by piece, into its head and into parts of its long lists, so
//! that it need not be in memory as a whole. It looks only at strings and brackets: whoever reads the head and
//! the parts finds what is broken in them.

use std::ops::Range;

use serde_json::value::RawValue;

use super::document::NotAnEvent;
use super::event::Event;
use super::lenient::TolerantList;

/// The most bytes of a head. Those of MISP hold galaxies and related events, and have far less.
const MOST_HEAD: usize = 4 << 20;

/// A list of an event that may be long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LongList {
    Attributes,
    Objects,
}

/// Some whole elements of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub list: LongList,
    /// Its bytes in the document, with the bracket or comma before it and the one behind it.
    pub place: Range<u64>,
}

/// What a large document was cut into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutEvent {
    /// The document with both lists empty.
    pub head: Vec<u8>,
    /// In the order in which [`Event::attributes`] goes through them: the objects come last.
    pub parts: Vec<Part>,
    /// The number of elements in the list of attributes.
    pub attributes: usize,
}

/// The document is no `{"Event": {…}}` with its lists in square brackets, or its head is too long. It has to be
/// read as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotToBeCut;

/// The number of open brackets in the document, in its event, and in a list of the event.
const IN_DOCUMENT: usize = 1;
const IN_EVENT: usize = 2;
const IN_LIST: usize = 3;

/// The state between two pieces.
#[derive(Debug)]
pub struct EventCutter {
    /// A part ends behind the first element that makes it longer than so many bytes.
    part: u64,
    cut: Pieces,
    /// The number of bytes that have been read.
    at: u64,
    /// The number of open brackets.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The place of the last string in the head.
    text: Range<usize>,
    /// The list whose key and colon were read last.
    announced: Option<LongList>,
    open: Option<OpenList>,
}

#[derive(Debug, Default)]
struct Pieces {
    head: Vec<u8>,
    parts: Vec<Part>,
    attributes: usize,
}

/// The list that is being read.
#[derive(Debug, Clone)]
struct OpenList {
    list: LongList,
    /// The place of the bracket or comma before the current part.
    begin: u64,
    /// Whether nothing but blanks stands in the current part.
    is_blank: bool,
    commas: usize,
}

impl EventCutter {
    /// Makes a cutter whose parts are at least `part` bytes long, but for the last one of a list.
    pub fn new(part: u64) -> Self {
        Self {
            part,
            cut: Pieces::default(),
            at: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            text: 0..0,
            announced: None,
            open: None,
        }
    }

    /// Takes the next piece of the document.
    ///
    /// # Errors
    /// [`NotToBeCut`]
    pub fn take(&mut self, mut piece: &[u8]) -> Result<(), NotToBeCut> {
        while let Some((byte, behind)) = piece.split_first() {
            if self.in_string {
                piece = self.string(piece);
                continue;
            }
            match self.open.take() {
                Some(open) => self.open = self.in_list(open, *byte)?,
                None => self.in_head(*byte)?,
            }
            self.at += 1;
            piece = behind;
        }
        if self.cut.head.len() > MOST_HEAD { Err(NotToBeCut) } else { Ok(()) }
    }

    /// Returns what the document was cut into.
    pub fn finish(self) -> CutEvent {
        let Pieces { head, mut parts, attributes } = self.cut;
        parts.sort_by_key(|part| part.list);
        CutEvent { head, parts, attributes }
    }

    /// Reads what `piece` holds of a string, and returns what stands behind it.
    fn string<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let length = if std::mem::take(&mut self.escaped) {
            1
        } else {
            let found = memchr::memchr2(b'"', b'\\', piece);
            let sign = found.and_then(|index| piece.get(index));
            self.escaped = sign == Some(&b'\\');
            self.in_string = sign != Some(&b'"');
            found.map_or(piece.len(), |index| index + 1)
        };
        let (taken, behind) = piece.split_at_checked(length).unwrap_or((piece, &[]));
        self.at += taken.len() as u64;
        if self.open.is_none() {
            self.cut.head.extend_from_slice(taken);
            if !self.in_string {
                self.text.end = self.cut.head.len() - 1;
            }
        }
        behind
    }

    /// Reads a byte outside of strings and lists.
    fn in_head(&mut self, byte: u8) -> Result<(), NotToBeCut> {
        self.cut.head.push(byte);
        if byte.is_ascii_whitespace() {
            return Ok(());
        }
        let announced = self.announced.take();
        match byte {
            b'"' => {
                self.in_string = true;
                self.text.start = self.cut.head.len();
            }
            b':' => self.announced = self.key()?,
            b'{' | b'[' => {
                self.depth += 1;
                self.open = announced.filter(|_| byte == b'[').map(|list| OpenList {
                    list,
                    begin: self.at,
                    is_blank: true,
                    commas: 0,
                });
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        Ok(())
    }

    /// Returns the list whose key the last string is.
    fn key(&self) -> Result<Option<LongList>, NotToBeCut> {
        match (self.depth, self.cut.head.get(self.text.clone()).unwrap_or_default()) {
            (IN_DOCUMENT, b"Event") => Ok(None),
            // What stands beside the event can replace its lists.
            (IN_DOCUMENT, _) => Err(NotToBeCut),
            (IN_EVENT, b"Attribute") => Ok(Some(LongList::Attributes)),
            (IN_EVENT, b"Object") => Ok(Some(LongList::Objects)),
            _ => Ok(None),
        }
    }

    /// Reads a byte of a list outside of strings. Returns `None` if it ends the list.
    fn in_list(&mut self, mut open: OpenList, byte: u8) -> Result<Option<OpenList>, NotToBeCut> {
        match byte {
            b'}' | b']' if self.depth == IN_LIST => {
                self.depth -= 1;
                self.cut.head.push(byte);
                return self.close(&open).map(|()| None);
            }
            b',' if self.depth == IN_LIST => {
                open.commas += 1;
                // Only at a comma of the list itself, so no element is ever cut.
                if self.at - open.begin > self.part {
                    self.end_part(&open)?;
                    (open.begin, open.is_blank) = (self.at, true);
                }
                return Ok(Some(open));
            }
            b'}' | b']' => self.depth -= 1,
            b'{' | b'[' => self.depth += 1,
            b'"' => self.in_string = true,
            _ => {}
        }
        open.is_blank &= byte.is_ascii_whitespace();
        Ok(Some(open))
    }

    fn close(&mut self, open: &OpenList) -> Result<(), NotToBeCut> {
        if open.is_blank && open.commas == 0 {
            return Ok(());
        }
        self.end_part(open)?;
        if open.list == LongList::Attributes {
            self.cut.attributes += open.commas + 1;
        }
        Ok(())
    }

    fn end_part(&mut self, open: &OpenList) -> Result<(), NotToBeCut> {
        // Nothing stands before or behind a comma. A part of blanks would hide that.
        if open.is_blank {
            return Err(NotToBeCut);
        }
        self.cut.parts.push(Part { list: open.list, place: open.begin..self.at + 1 });
        Ok(())
    }
}

impl Part {
    /// Reads the part as an event that holds only it, with the audience of the event whose `head` it is.
    /// `text`: the bytes of its place, whose first and last one become brackets.
    ///
    /// # Errors
    /// [`NotAnEvent`]
    pub fn read<'t>(&self, head: &Event<'_>, text: &'t mut [u8]) -> Result<Event<'t>, NotAnEvent> {
        if let [first, .., last] = text {
            (*first, *last) = (b'[', b']');
        }
        let TolerantList(elements): TolerantList<&'t RawValue> =
            serde_json::from_str(std::str::from_utf8(text)?)?;
        Ok(match self.list {
            LongList::Attributes => head.with_attributes(elements),
            LongList::Objects => head.with_objects(elements),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "62724408-1cb5-4198-8ceb-3e542ad28bcd";

    /// What an event tells: the pieces that count, and how each attribute was read.
    type Told = (Vec<Vec<u8>>, Vec<String>);

    fn whole(document: &[u8]) -> Result<Told, String> {
        let event = Event::parse(document).map_err(|refusal| refusal.to_string())?;
        let mut pieces = Vec::new();
        event.content(|piece| pieces.push(piece.to_vec()));
        Ok((pieces, attributes(&event)))
    }

    fn attributes(event: &Event<'_>) -> Vec<String> {
        let told = event.attributes().map(|read| match read {
            Ok((attribute, object)) => {
                let object = object.map(|object| (object.uuid, object.audience()));
                format!("{attribute:?} {object:?}")
            }
            Err(malformed) => format!("{malformed:?}"),
        });
        told.collect()
    }

    /// The same of a document that comes in pieces of `step` bytes. `None`: it has to be read as a whole.
    fn in_parts(document: &[u8], step: usize, part: u64) -> Option<Told> {
        let mut cutter = EventCutter::new(part);
        document.chunks(step).try_for_each(|piece| cutter.take(piece)).ok()?;
        let cut = cutter.finish();
        let head = Event::parse(&cut.head).ok()?;
        let (mut pieces, mut read) = (Vec::new(), Vec::new());
        head.content_of_head(cut.attributes, |piece| pieces.push(piece.to_vec()));
        for part in &cut.parts {
            let place = part.place.start.try_into().unwrap()..part.place.end.try_into().unwrap();
            let mut text = document[place].to_vec();
            let event = part.read(&head, &mut text).ok()?;
            assert_eq!(event.audience(), head.audience());
            event.content_of_lists(|piece| pieces.push(piece.to_vec()));
            read.extend(attributes(&event));
        }
        Some((pieces, read))
    }

    fn attribute(number: usize) -> String {
        format!(
            r#"{{"uuid":"62724408-1cb5-4198-8ceb-{number:012}","type":"domain","value":"a] }} \" \\ {number}.example","Tag":[{{"name":"x"}}]}}"#
        )
    }

    fn event(attributes: &str, objects: &str) -> String {
        format!(
            r#" {{ "Event" : {{"uuid":"{UUID}","info":"\"Attribute\":[","Galaxy":[{{"Attribute":[1]}}],
            "Attribute" : [{attributes}],"ShadowAttribute":[],"Object":[{objects}],"Tag":[{{"name":"tlp:red"}}],"distribution":"3"}} }} "#
        )
    }

    fn sound() -> String {
        let attributes: Vec<String> = (0..6).map(attribute).collect();
        let object = |number: usize| {
            let (one, two) = (attribute(10 * number), attribute(10 * number + 1));
            format!(r#"{{"uuid":"{UUID}","name":"file","Attribute":[{one}, {two}]}}"#)
        };
        let objects: Vec<String> = (1..4).map(object).collect();
        event(&attributes.join(" ,\n"), &objects.join(","))
    }

    #[test]
    fn an_event_in_parts_tells_what_it_tells_as_a_whole() {
        let document = sound();
        let expected = whole(document.as_bytes()).unwrap();
        assert_eq!(expected.1.len(), 12);
        for step in [1, 2, 7, 64, document.len()] {
            for part in [1, 150, 300, 100_000] {
                let told = in_parts(document.as_bytes(), step, part);
                assert_eq!(told.as_ref(), Some(&expected), "{step} {part}");
            }
        }
    }

    #[test]
    fn only_whole_elements_are_in_a_part_and_the_head_has_none() {
        let document = sound();
        let mut cutter = EventCutter::new(1);
        cutter.take(document.as_bytes()).unwrap();
        let cut = cutter.finish();
        assert_eq!((cut.parts.len(), cut.attributes), (9, 6));
        let head = String::from_utf8(cut.head).unwrap();
        assert!(
            head.contains(r#""Attribute" : [],"#) && head.contains(r#""Object":[],"#),
            "{head}"
        );
        assert!(cut.parts.is_sorted_by_key(|part| part.list));
    }

    /// An error is told of the whole document, whose places it names.
    #[test]
    fn what_is_unusual_or_broken_is_not_cut() {
        let one = attribute(1);
        for document in [
            format!(r#"{{"Event":{{"uuid":"{UUID}","Attribute":[]}},"Attribute":[{one}]}}"#),
            format!(r#"{{"\u0045vent":{{"uuid":"{UUID}","Attribute":[{one}]}}}}"#),
            format!(r#"{{"Event":{{"uuid":"{UUID}","Attribute":[{one}],"Attribute":[]}}}}"#),
            format!(r#"[{}]"#, event(&one, "")),
            event(&format!("{one},"), ""),
            event(&format!(",{one}"), ""),
            event(&format!("{one},,{one}"), ""),
            event(" , ", ""),
            event(one.strip_prefix('{').unwrap(), ""),
            event(one.strip_suffix('}').unwrap(), ""),
            event(&one, "}"),
            event(&format!("{one} {one}"), ""),
        ] {
            for part in [1, 1_000_000] {
                assert_eq!(in_parts(document.as_bytes(), 5, part), None, "{document}");
            }
        }
        let long = " ".repeat(MOST_HEAD);
        assert_eq!(in_parts(event("", "").replace("tlp", &long).as_bytes(), 4_096, 1), None);
    }

    proptest! {
        /// Whatever is cut is read as it would be as a whole.
        #[test]
        fn no_damage_is_hidden_by_cutting(
            damages in prop::collection::vec((0_usize..3_000, prop::option::of(any::<u8>())), 0..4),
            signs in prop::collection::vec((0_usize..3_000, prop::sample::select(&br#"{}[]",:\ "#[..])), 0..3),
            end in prop::option::weighted(0.2, 0_usize..3_000),
            step in 1_usize..200,
            part in 1_u64..500,
        ) {
            let mut document = sound().into_bytes();
            for (place, byte) in damages {
                let place = place % document.len();
                match byte {
                    Some(byte) => document[place] = byte,
                    None => drop(document.remove(place)),
                }
            }
            for (place, sign) in signs {
                let place = place % document.len();
                document.insert(place, sign);
            }
            document.truncate(end.unwrap_or(document.len()));
            if let Some(told) = in_parts(&document, step, part) {
                prop_assert_eq!(whole(&document), Ok(told));
            }
        }
    }
}
