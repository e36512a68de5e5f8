//! Decides which tags are markings of the Traffic Light Protocol, and of which level. Anybody can type a tag
//! in MISP, so every tag that names the protocol counts as a marking, and as red if its level is not known.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Tlp;
use super::lists::Ranked;
use super::words::{names_the_protocol, words};

/// What a tag means as a marking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    Level(Tlp),
    /// The Chatham House rule, `tlp:ex:chr`: the source must not be named. It comes beside a level and
    /// is none itself.
    HidesSource,
}

impl Mark {
    /// Returns the tag of the taxonomy `tlp` with this meaning.
    pub fn tag(self) -> String {
        match self {
            Self::Level(level) => format!("tlp:{}", level.name()),
            Self::HidesSource => format!("tlp:{CHATHAM_HOUSE}"),
        }
    }

    /// Reads a name of the taxonomy `tlp`.
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case(CHATHAM_HOUSE) {
            Some(Self::HidesSource)
        } else {
            Tlp::from_name(name).map(Self::Level)
        }
    }
}

/// The name in the taxonomy of the tag that forbids naming the source.
pub const CHATHAM_HOUSE: &str = "ex:chr";

/// A tag that a line of the operator's table decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    pub tag: String,
    /// The line's tag, with its wildcards.
    pub line: String,
    /// `None`: it is no marking.
    pub counts_as: Option<Mark>,
    /// The marking that the tag itself spells, if it is known.
    pub says: Option<Mark>,
}

impl Decided {
    /// Whether the line makes the tag less strict than the tag itself says.
    pub fn is_loosened(&self) -> bool {
        match (self.says, self.counts_as) {
            (Some(Mark::Level(says)), Some(Mark::Level(level))) => level < says,
            (Some(Mark::Level(says)), Some(Mark::HidesSource) | None) => says > Tlp::Clear,
            // What is red goes to nobody else, with or without its source.
            (Some(Mark::HidesSource), counts_as) => {
                !matches!(counts_as, Some(Mark::HidesSource | Mark::Level(Tlp::Red)))
            }
            (None, _) => false,
        }
    }

    /// The marking as which it counts, in words.
    pub fn counts_as(&self) -> String {
        self.counts_as.map_or_else(|| "no marking".to_owned(), Mark::tag)
    }
}

/// Reads tags as markings: by the operator's table first, and otherwise by what they spell. `None` in the table: the
/// tag is no marking.
#[derive(Debug, Clone)]
pub(super) struct Marks(Ranked<Option<Mark>>);

impl Marks {
    pub(super) fn new(table: &BTreeMap<String, Option<Mark>>) -> Self {
        Self(Ranked::new(table))
    }

    /// Returns the marking that the tag is. `None`: it is no marking.
    pub(super) fn read(&self, tag: &str) -> Option<Mark> {
        // The operator's line decides also where it says that the tag is no marking.
        self.0.says(tag).unwrap_or_else(|| spelled_out(tag).or_else(|| folded(tag)))
    }

    /// Returns the marking as which the tag counts only because of its words. The tag is neither in the operator's
    /// table nor one of the taxonomy `tlp`.
    pub(super) fn guess(&self, tag: &str) -> Option<Mark> {
        let is_known = self.0.says(tag).is_some() || spelled_out(tag).is_some();
        if is_known { None } else { folded(tag) }
    }

    /// Returns what the operator's table decides about the tag. `None`: no line decides it.
    pub(super) fn decided(&self, tag: &str) -> Option<Decided> {
        let line = self.0.find(tag)?;
        Some(Decided {
            tag: tag.to_owned(),
            line: line.key.clone(),
            counts_as: line.says,
            says: spelled_out(tag).or_else(|| named(tag).flatten()),
        })
    }
}

/// Reads a tag of the taxonomy `tlp` whose name the taxonomy has.
fn spelled_out(tag: &str) -> Option<Mark> {
    let (taxonomy, name) = tag.split_once(':')?;
    let is_tlp = taxonomy.trim().eq_ignore_ascii_case("tlp");
    Mark::from_name(name.trim().trim_matches('"')).filter(|_| is_tlp)
}

/// Words that say no more than that a level follows: `TLPMarking="AMBER"`, `TLP version 2: RED`.
const EMPTY_WORDS: [&str; 7] = ["marking", "level", "color", "colour", "version", "ver", "v"];

/// Reads a tag that names the protocol, in any case and width of letters, and with any invisible characters, quotes and
/// separators. The level follows the name. A level that we do not know counts as red.
fn folded(tag: &str) -> Option<Mark> {
    named(tag).map(|mark| mark.unwrap_or(Mark::Level(Tlp::Red)))
}

/// Returns the marking after the protocol's name. `None`: the tag does not name the protocol. `Some(None)`: it does,
/// but no level that we know follows.
fn named(tag: &str) -> Option<Option<Mark>> {
    if tag.is_ascii() && !names_the_protocol(tag.bytes()) {
        return None;
    }
    // A capital may begin a word, as in `TLPMarking`, or not: so both readings are tried.
    let readings = [false, true].map(|by_case| words(tag, by_case).behind());
    let mut named = readings.into_iter().flatten().peekable();
    named.peek()?;
    Some(named.find_map(|behind| known(&behind)))
}

/// Reads the words after the protocol's name. `None`: they are no level that we know.
fn known(behind: &[String]) -> Option<Mark> {
    let told: Vec<&str> =
        behind.iter().map(String::as_str).filter(|word| !is_empty_word(word)).collect();
    match told.as_slice() {
        ["ex", "chr"] => Some(Mark::HidesSource),
        ["amber", "strict"] | ["amberstrict"] => Some(Mark::Level(Tlp::AmberStrict)),
        [name] => Tlp::from_name(name).map(Mark::Level),
        _ => None,
    }
}

fn is_empty_word(word: &str) -> bool {
    EMPTY_WORDS.contains(&word) || word.chars().all(char::is_numeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(table: &[(&str, Option<Mark>)]) -> Marks {
        Marks::new(&table.iter().map(|(tag, mark)| ((*tag).to_owned(), *mark)).collect())
    }

    fn read(tag: &str) -> Option<Mark> {
        marks(&[]).read(tag)
    }

    #[expect(clippy::unnecessary_wraps, reason = "as `read` returns it")]
    fn level(tlp: Tlp) -> Option<Mark> {
        Some(Mark::Level(tlp))
    }

    /// The predicates of the taxonomy, `white` of TLP 1 and `clear`, `amber+strict` of TLP 2.
    #[test]
    fn names_of_both_versions_are_read_in_any_case() {
        for (tag, tlp) in [
            ("tlp:white", Tlp::Clear),
            ("TLP:Clear", Tlp::Clear),
            ("tlp:green", Tlp::Green),
            ("tlp:\"green\"", Tlp::Green),
            ("tlp:amber", Tlp::Amber),
            ("tlp:AMBER+STRICT", Tlp::AmberStrict),
            (" tlp : red ", Tlp::Red),
        ] {
            assert_eq!(read(tag), level(tlp), "{tag}");
            assert_eq!(marks(&[]).guess(tag), None, "{tag} is spelled out");
        }
        assert_eq!(read("tlp:ex:chr"), Some(Mark::HidesSource));
        assert_eq!(read("TLP:EX:CHR"), Some(Mark::HidesSource));
        assert_eq!(marks(&[]).guess("tlp:ex:chr"), None);
        for tag in
            ["tlp:clear", "tlp:green", "tlp:amber", "tlp:amber+strict", "tlp:red", "tlp:ex:chr"]
        {
            assert_eq!(read(tag).unwrap().tag(), tag);
        }
    }

    #[test]
    fn a_tag_that_reads_as_tlp_restricts_however_it_is_spelled() {
        for tag in [
            "TLP RED",
            "TLP-RED",
            "tlp_red",
            "tlp=\"red\"",
            "TLP2:RED",
            "TLP 2.0: RED",
            "TLPv2:RED",
            "\"tlp:red\"",
            "cert-xyz:tlp:red",
            "iep2-policy:tlp=\"red\"",
            "iep:traffic-light-protocol=\"RED\"",
            "Traffic Light Protocol: Red",
            "TLP\u{ff1a}RED",
            "\u{ff34}\u{ff2c}\u{ff30}\u{ff1a}\u{ff32}\u{ff25}\u{ff24}",
            "t\u{200b}lp:red",
            "\u{feff}tlp:r\u{200d}ed",
            "tlp\u{3000}red",
            "tlp\u{a0}red",
            "T.L.P.: RED",
            "tLp RED",
            "TLPRED",
            "TlpRed",
            "TLP/RED",
            "#tlp-red",
            "[TLP:RED]",
            "ais-marking:tlpmarking=\"RED\"",
            "ais-marking:TLPMARKING=\"RED\"",
            "ais-marking:TLPmarking=\"RED\"",
            "TLPLEVEL: RED",
            "TLPCOLOR:RED",
            "TLPv2RED",
            "trafficlightprotocol:red",
            "TrafficLightProtocolRED",
            "traffic-lightprotocol=red",
            "t\u{301}lp:red",
            "tl\u{336}p\u{20dd}:re\u{300}d",
            "TL.P RED",
            "T-LP:RED",
        ] {
            assert_eq!(read(tag), level(Tlp::Red), "{tag}");
            assert_eq!(marks(&[]).guess(tag), level(Tlp::Red), "{tag} is a guess");
        }
    }

    #[test]
    fn every_level_is_read_however_it_is_spelled() {
        for (tag, tlp) in [
            ("ais-marking:TLPMarking=\"AMBER\"", Tlp::Amber),
            ("ais-marking:TLPMarking=\"WHITE\"", Tlp::Clear),
            ("TLP GREEN", Tlp::Green),
            ("tlp:amber strict", Tlp::AmberStrict),
            ("TLP-AMBER-STRICT", Tlp::AmberStrict),
            ("tlpamber+strict", Tlp::AmberStrict),
            ("cert-xyz:tlp:Clear", Tlp::Clear),
            ("tlpGreen", Tlp::Green),
            ("TLPAMBERSTRICT", Tlp::AmberStrict),
            ("tlp:amberstrict", Tlp::AmberStrict),
            ("tlpmarking=\"amber\"", Tlp::Amber),
            ("TLPMarkingAmber", Tlp::Amber),
            ("TL-P green", Tlp::Green),
            ("TrafficLightProtocol: clear", Tlp::Clear),
        ] {
            assert_eq!(read(tag), level(tlp), "{tag}");
        }
        assert_eq!(read("TLP EX:CHR"), Some(Mark::HidesSource));
    }

    #[test]
    fn a_level_that_nobody_knows_is_red() {
        for tag in [
            "tlp:",
            "tlp:ambre",
            "tlp:unclear",
            "TLP",
            "tlp:clear:until=\"2027\"",
            "tlp:not-green",
            "TLP GREEN or AMBER",
            "red tlp",
            "tool:TLP Stealer",
            "tlpmarking",
            "tlpnotgreen",
            "TLPNotGreen",
            "tlpunclear",
        ] {
            assert_eq!(read(tag), level(Tlp::Red), "{tag}");
        }
    }

    #[test]
    fn other_tags_are_no_markings() {
        for tag in [
            "type:OSINT",
            "pap:red",
            "misp-galaxy:tool=\"http bot\"",
            "ransomware:outlpost",
            "adult-pornography",
            "tl;pr",
            "workflow:state=\"complete\"",
            "traffic light",
            "traffic lights protocol",
            "",
            "\u{200b}",
            "catlp red",
        ] {
            assert_eq!(read(tag), None, "{tag}");
        }
    }

    #[test]
    fn the_operators_table_comes_first_and_its_most_telling_row_counts() {
        let marks = marks(&[
            ("internal:*", level(Tlp::Red)),
            ("internal:shared*", level(Tlp::Amber)),
            ("internal:shared-soc", level(Tlp::Green)),
            ("tool:TLP *", None),
            ("tlp:unclear", level(Tlp::Amber)),
            ("iep:provider-attribution=\"MUST NOT\"", Some(Mark::HidesSource)),
        ]);
        assert_eq!(marks.read("Internal:x"), level(Tlp::Red));
        assert_eq!(marks.read("internal:shared-all"), level(Tlp::Amber));
        assert_eq!(marks.read("internal:shared-soc"), level(Tlp::Green));
        assert_eq!(marks.read("tool:tlp Stealer"), None);
        assert_eq!(marks.read("tlp:unclear"), level(Tlp::Amber));
        assert_eq!(marks.read("iep:provider-attribution=\"MUST NOT\""), Some(Mark::HidesSource));
        for known in ["internal:x", "tool:TLP Stealer", "tlp:unclear"] {
            assert_eq!(marks.guess(known), None, "{known} is in the table");
        }
        assert_eq!(marks.read("TLP RED"), level(Tlp::Red));
    }
}
