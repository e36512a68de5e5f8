//! Cuts the bytes of a restSearch answer, `{"response": [{"Event": …}, …]}`, into its elements as they
//! arrive. Pure. It looks only at strings and brackets; the caller parses the elements.

use axum::body::Bytes;
use uuid::Uuid;

use crate::pure::misp;

/// The position of the next byte in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListPosition {
    /// Before the first element. The number counts the parts of [`OPENING`] that have been read.
    Opening(usize),
    /// After `[` or a comma. `first`: the list may still be empty.
    Before {
        first: bool,
    },
    Inside,
    /// After an element, where a comma or the end of the list follows.
    Behind,
    /// After `]`.
    Closing,
    End,
}

/// The parts with which every answer begins. Whitespace may stand between them.
const OPENING: [&[u8]; 4] = [b"{", b"\"response\"", b":", b"["];

/// The part of a piece, in bytes, in which the uuid of a too large event is searched.
const HEAD: usize = 64 << 10;

/// The most bytes of an element that are collected where it comes in parts. Nearly every event is smaller, and
/// is never written to a disk.
pub(super) const FIRST_PART: usize = 8 << 20;

/// The bytes of each further part.
const NEXT_PART: usize = 1 << 20;

/// One element of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// The element `{"Event": …}`, as it arrived.
    Whole(Bytes),
    /// The next part of an element that is larger than `FIRST_PART`. Another one follows, or
    /// [`Element::TooLarge`], after which the earlier parts are of no use.
    Part(Bytes),
    LastPart(Bytes),
    /// The uuid, if it was found, of an element that is longer than allowed. The element is dropped.
    TooLarge(Option<Uuid>),
}

/// The reason why the bytes are no answer of restSearch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAnswer {
    #[error("it ends in the middle")]
    Truncated,
    #[error("no list of events")]
    Other,
    #[error("blanks without end")]
    Blanks,
    #[error("the relay failed at reading it: this is a fault of the relay, please report it")]
    Failed,
}

/// The state of the parser between two pieces.
#[derive(Debug)]
pub struct Elements {
    at: ListPosition,
    /// The number of bytes of the current part of [`OPENING`] that have been read.
    matched: usize,
    /// The number of open brackets in the current element.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The bytes of the current element from earlier pieces. Empty while an element is skipped.
    collected: Vec<u8>,
    /// Whether large elements come in parts.
    in_parts: bool,
    /// The bytes of the current element in the parts that were returned.
    parted: usize,
    skipping: bool,
    /// The longest element that is accepted, in bytes.
    most: usize,
    /// The whitespace outside of elements that is still accepted, in bytes.
    blanks: usize,
}

/// The most whitespace outside of elements, in bytes. MISP writes only a line break between two events.
const MOST_BLANKS: usize = 1 << 20;

impl Elements {
    /// Makes a parser that accepts elements of at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Self {
            at: ListPosition::Opening(0),
            matched: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            collected: Vec::new(),
            in_parts: false,
            parted: 0,
            skipping: false,
            most,
            blanks: MOST_BLANKS,
        }
    }

    /// Returns large elements in parts from now on.
    pub fn in_parts(self) -> Self {
        Self { in_parts: true, ..self }
    }

    /// Takes the bytes of the next element from `piece`. `None`: the whole piece was taken, and the element
    /// continues in the next piece.
    ///
    /// # Errors
    /// [`NotAnAnswer`]. The rest of the answer cannot be parsed then.
    pub fn take(&mut self, piece: &mut Bytes) -> Result<Option<Element>, NotAnAnswer> {
        while !piece.is_empty() {
            if self.at != ListPosition::Inside {
                self.between(piece)?;
                continue;
            }
            let end = self.end_of_element(piece);
            let part = piece.split_to(end.unwrap_or(piece.len()));
            if let Some(element) = self.collect(part, end.is_some()) {
                return Ok(Some(element));
            }
        }
        Ok(None)
    }

    /// Checks at the end of the bytes that the answer is complete.
    ///
    /// # Errors
    /// [`NotAnAnswer::Truncated`] unless the answer was complete.
    pub fn finish(&self) -> Result<(), NotAnAnswer> {
        if self.at == ListPosition::End { Ok(()) } else { Err(NotAnAnswer::Truncated) }
    }

    /// Reads one byte outside of elements.
    fn between(&mut self, piece: &mut Bytes) -> Result<(), NotAnAnswer> {
        let Some(&byte) = piece.first() else { return Ok(()) };
        // Inside a part of `OPENING` (`matched` > 0) a blank is an error like any other wrong byte.
        if byte.is_ascii_whitespace() && self.matched == 0 {
            self.blanks = self.blanks.checked_sub(1).ok_or(NotAnAnswer::Blanks)?;
            drop(piece.split_to(1));
            return Ok(());
        }
        self.at = match (self.at, byte) {
            (ListPosition::Opening(part), _) => {
                self.opening(part, byte).ok_or(NotAnAnswer::Other)?
            }
            (ListPosition::Before { .. }, b'{') => {
                // The bracket stays in the piece, because it is the first byte of the element.
                self.at = ListPosition::Inside;
                return Ok(());
            }
            (ListPosition::Before { first: true } | ListPosition::Behind, b']') => {
                ListPosition::Closing
            }
            (ListPosition::Behind, b',') => ListPosition::Before { first: false },
            (ListPosition::Closing, b'}') => ListPosition::End,
            _ => return Err(NotAnAnswer::Other),
        };
        drop(piece.split_to(1));
        Ok(())
    }

    fn opening(&mut self, part: usize, byte: u8) -> Option<ListPosition> {
        let expected = OPENING.get(part)?;
        if *expected.get(self.matched)? != byte {
            return None;
        }
        self.matched += 1;
        if self.matched < expected.len() {
            return Some(ListPosition::Opening(part));
        }
        self.matched = 0;
        if part + 1 < OPENING.len() {
            Some(ListPosition::Opening(part + 1))
        } else {
            Some(ListPosition::Before { first: true })
        }
    }

    /// Returns how many bytes of the piece belong to the current element. `None`: it does not end here.
    fn end_of_element(&mut self, piece: &[u8]) -> Option<usize> {
        for (index, byte) in piece.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn collect(&mut self, part: Bytes, ends: bool) -> Option<Element> {
        if ends {
            self.at = ListPosition::Behind;
        }
        if self.skipping {
            self.skipping = !ends;
            return None;
        }
        if self.parted + self.collected.len() + part.len() > self.most {
            self.skipping = !ends;
            return Some(Element::TooLarge(self.too_large(&part)));
        }
        // The usual case: the element lies within one piece, and is not copied.
        if ends && self.collected.is_empty() && self.parted == 0 {
            return Some(Element::Whole(part));
        }
        self.collected.extend_from_slice(&part);
        let enough = if self.parted == 0 { FIRST_PART } else { NEXT_PART };
        let is_enough = self.in_parts && self.collected.len() > enough;
        if !ends && !is_enough {
            return None;
        }
        let bytes = Bytes::from(std::mem::take(&mut self.collected));
        let before = self.parted;
        self.parted = if ends { 0 } else { before + bytes.len() };
        Some(match (ends, before) {
            (false, _) => Element::Part(bytes),
            (true, 0) => Element::Whole(bytes),
            (true, _) => Element::LastPart(bytes),
        })
    }

    /// Drops an element, and returns its uuid if that stands in what was collected. If parts were returned, the
    /// first one holds it.
    fn too_large(&mut self, part: &[u8]) -> Option<Uuid> {
        let mut head = std::mem::take(&mut self.collected);
        if std::mem::take(&mut self.parted) > 0 {
            return None;
        }
        misp::event_uuid(&head).or_else(|| {
            head.extend_from_slice(part.get(..HEAD).unwrap_or(part));
            misp::event_uuid(&head)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 1 << 20;

    /// Feeds `answer` in pieces that end at `cuts`.
    fn split(answer: &[u8], cuts: &[usize], most: usize) -> Result<Vec<Element>, NotAnAnswer> {
        let mut elements = Elements::new(most);
        let mut found = Vec::new();
        let mut begin = 0;
        for end in cuts.iter().copied().chain([answer.len()]) {
            let end = end.clamp(begin, answer.len());
            let mut piece = Bytes::copy_from_slice(&answer[begin..end]);
            while let Some(element) = elements.take(&mut piece)? {
                found.push(element);
            }
            begin = end;
        }
        elements.finish().map(|()| found)
    }

    fn whole(texts: &[&str]) -> Vec<Element> {
        texts.iter().map(|text| Element::Whole(Bytes::copy_from_slice(text.as_bytes()))).collect()
    }

    /// Brackets, quotes and escapes inside of strings are none.
    const FIRST: &str = r#"{"Event":{"info":"a } ] \" { \\","Tag":[{"n":"ü\u007d🦀"}]}}"#;
    const SECOND: &str = r#"{"Event": {"Attribute": [[], {}, "\\\\\""], "x": null}}"#;

    #[test]
    fn every_split_in_two_gives_the_same_elements() {
        let answer = format!(" {{ \"response\" :\n[{FIRST} ,\t{SECOND}\r\n] }}\n");
        let expected = whole(&[FIRST, SECOND]);
        for cut in 0..=answer.len() {
            assert_eq!(split(answer.as_bytes(), &[cut], MOST).unwrap(), expected, "{cut}");
        }
        let every: Vec<usize> = (0..answer.len()).collect();
        assert_eq!(split(answer.as_bytes(), &every, MOST).unwrap(), expected);
    }

    #[test]
    fn no_part_of_an_answer_is_complete() {
        let answer = format!("{{\"response\":[{FIRST},{SECOND}]}}");
        for end in 0..answer.len() {
            let part = split(&answer.as_bytes()[..end], &[], MOST);
            assert_eq!(part, Err(NotAnAnswer::Truncated), "{end}");
        }
        assert_eq!(split(br#"{"response": []}"#, &[], MOST), Ok(Vec::new()));
    }

    #[test]
    fn blanks_have_an_end() {
        let between = |blanks: usize| {
            let answer = format!("{{\"response\":[{FIRST},{}{SECOND}]}}", " ".repeat(blanks));
            split(answer.as_bytes(), &[], MOST)
        };
        assert_eq!(between(MOST_BLANKS).unwrap(), whole(&[FIRST, SECOND]));
        assert_eq!(between(MOST_BLANKS + 1), Err(NotAnAnswer::Blanks));
    }

    #[test]
    fn other_documents_are_refused() {
        for other in [
            "[]",
            "null",
            "\"response\"",
            "<html>",
            r#"{"name":"Invalid","message":"Invalid"}"#,
            r#"{"response":{"Attribute":[]}}"#,
            r#"{"response":null}"#,
            r#"{"response":[1]}"#,
            r#"{"response":["a"]}"#,
            r#"{"response":[[]]}"#,
            r#"{"response":[,]}"#,
            r#"{"response":[{},]}"#,
            r#"{"response":[{}{}]}"#,
            r#"{"response":[{}]]}"#,
            r#"{"response":[]} x"#,
            r#"{"response":[]}{"response":[]}"#,
            r#"{"response ":[]}"#,
            r#"{"respons e":[]}"#,
            r#"{"errors":"x","response":[]}"#,
        ] {
            let found = split(other.as_bytes(), &[], MOST);
            assert_eq!(found, Err(NotAnAnswer::Other), "{other}");
        }
    }

    #[test]
    fn an_element_that_is_too_large_is_named_and_passed_over() {
        let uuid = "62724408-1cb5-4198-8ceb-3e542ad28bcd";
        let long = format!(r#"{{"Event":{{"uuid":"{uuid}","info":"{}"}}}}"#, "}]".repeat(100));
        let answer = format!(r#"{{"response":[{FIRST},{long},{SECOND},{long}]}}"#);
        let too_large = Element::TooLarge(Some(uuid.parse().unwrap()));
        let [first, second] = <[Element; 2]>::try_from(whole(&[FIRST, SECOND])).unwrap();
        let expected = vec![first, too_large.clone(), second, too_large];
        let every: Vec<usize> = (0..answer.len()).collect();
        for cuts in [&[][..], &[150], &[95, 200, 210], &every] {
            let found = split(answer.as_bytes(), cuts, 100).unwrap();
            assert_eq!(found, expected, "{cuts:?}");
        }
        assert_eq!(split(answer.as_bytes(), &[], long.len()).unwrap()[1], whole(&[&long])[0]);
        let cut = &answer.as_bytes()[..200];
        assert_eq!(split(cut, &[], 100), Err(NotAnAnswer::Truncated));
        // The head is not there yet when it is too long already.
        let found = split(answer.as_bytes(), &every, 20).unwrap();
        assert!(found.iter().all(|element| *element == Element::TooLarge(None)), "{found:?}");
    }

    /// One element of `length` bytes between two small ones.
    fn with_a_large_one(length: usize) -> (String, Vec<u8>) {
        let large = format!(r#"{{"Event":{{"info":"{}"}}}}"#, "x".repeat(length - 21));
        assert_eq!(large.len(), length);
        let answer = format!(r#"{{"response":[{FIRST},{large},{SECOND}]}}"#);
        (large, answer.into_bytes())
    }

    fn taken_in_parts(answer: &[u8], most: usize) -> Vec<Element> {
        let mut elements = Elements::new(most).in_parts();
        let mut found = Vec::new();
        for piece in answer.chunks(64 << 10) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(element) = elements.take(&mut piece).unwrap() {
                found.push(element);
            }
        }
        elements.finish().unwrap();
        found
    }

    #[test]
    fn a_large_element_comes_in_parts_and_a_small_one_whole() {
        for length in [FIRST_PART + 140_000, 2 * FIRST_PART, 2 * FIRST_PART + 70_001] {
            let (large, answer) = with_a_large_one(length);
            let found = taken_in_parts(&answer, usize::MAX);
            let [first, parts @ .., Element::LastPart(last), second] = &found[..] else { panic!() };
            assert_eq!([first, second], whole(&[FIRST, SECOND]).iter().collect::<Vec<_>>()[..]);
            let mut joined = Vec::new();
            for part in parts {
                let Element::Part(part) = part else { panic!("{length}") };
                assert!(part.len() <= FIRST_PART + (64 << 10));
                joined.extend_from_slice(part);
            }
            joined.extend_from_slice(last);
            assert!(joined == large.as_bytes(), "{length}");
        }
        let (large, answer) = with_a_large_one(FIRST_PART);
        assert_eq!(taken_in_parts(&answer, usize::MAX), whole(&[FIRST, &large, SECOND]));
    }

    #[test]
    fn an_element_that_grows_too_large_in_parts_is_passed_over() {
        let (_, answer) = with_a_large_one(2 * FIRST_PART);
        let found = taken_in_parts(&answer, 2 * FIRST_PART - 1);
        let [_, Element::Part(_), .., Element::Part(_), Element::TooLarge(None), second] =
            &found[..]
        else {
            panic!()
        };
        assert_eq!(*second, whole(&[SECOND])[0]);
    }

    #[derive(Debug, Clone)]
    struct Json(String);

    fn json() -> impl Strategy<Value = Json> {
        let text = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
        let number = any::<i64>().prop_map(|number| number.to_string());
        let leaf = prop_oneof![text, number, Just("null".to_owned()), Just("true".to_owned())];
        let tree = leaf.prop_recursive(4, 24, 4, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4);
            let map = prop::collection::vec((any::<String>(), inner), 0..4);
            prop_oneof![
                list.prop_map(|items| format!("[{}]", items.join(" , "))),
                map.prop_map(|items| object(&items)),
            ]
        });
        prop::collection::vec((any::<String>(), tree), 0..4).prop_map(|items| Json(object(&items)))
    }

    fn object(items: &[(String, String)]) -> String {
        let pair = |(key, value): &(String, String)| {
            format!("{}: {value}", serde_json::to_string(key).unwrap())
        };
        format!("{{{}}}", items.iter().map(pair).collect::<Vec<_>>().join(","))
    }

    proptest! {
        #[test]
        fn any_split_of_any_list_gives_the_list(
            list in prop::collection::vec(json(), 0..6),
            cuts in prop::collection::vec(0_usize..2000, 0..12),
        ) {
            let texts: Vec<&str> = list.iter().map(|json| json.0.as_str()).collect();
            let answer = format!("{{\"response\": [{}]}}", texts.join(",\n"));
            let mut cuts = cuts;
            cuts.sort_unstable();
            prop_assert_eq!(split(answer.as_bytes(), &cuts, MOST).unwrap(), whole(&texts));
        }

        #[test]
        fn no_bytes_break_it(
            mut answer in prop::collection::vec(any::<u8>(), 0..200),
            behind in any::<bool>(),
            most in 0_usize..50,
            cuts in prop::collection::vec(0_usize..220, 0..8),
        ) {
            if behind {
                answer.splice(0..0, br#"{"response":["#.iter().copied());
            }
            let mut cuts = cuts;
            cuts.sort_unstable();
            let cut = split(&answer, &cuts, most);
            prop_assert_eq!(cut.is_ok(), split(&answer, &[], most).is_ok());
        }
    }
}
