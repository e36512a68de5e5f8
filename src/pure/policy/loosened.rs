//! Finds tags to which the operator's table `[policy.tlp_tags]` gives a less strict level than the tags themselves say,
//! so that the relay can warn the operator.

use std::collections::BTreeMap;

use super::Tlp;
use super::marks::{Decided, Mark, Marks};

/// The other taxonomies of MISP with tags that name a level of the protocol: the text before and after the level.
const OTHER_TAXONOMIES: [(&str, &str); 3] = [
    ("ais-marking:TLPMarking=\"", "\""),
    ("iep:traffic-light-protocol=\"", "\""),
    ("iep2-policy:tlp=\"", "\""),
];

const WILDCARDS: [char; 2] = ['*', '?'];

/// Lists the tags to which the table gives a less strict level than their own: all such tags of the taxonomy `tlp`, and
/// for each line that decides none of these, the strictest other tag that it loosens.
pub fn loosened(table: &BTreeMap<String, Option<Mark>>) -> Vec<Decided> {
    let marks = Marks::new(table);
    let levels = Tlp::ALL.map(Mark::Level).into_iter();
    let own = levels.chain([Mark::HidesSource]).map(Mark::tag);
    let decided = own.filter_map(|tag| marks.decided(&tag));
    let mut told: Vec<Decided> = decided.filter(Decided::is_loosened).collect();
    for line in table.keys() {
        if told.iter().all(|one| one.line != *line) {
            told.extend(strictest(&marks, line));
        }
    }
    told
}

/// Returns the strictest tag that a line loosens.
fn strictest(marks: &Marks, line: &str) -> Option<Decided> {
    let decided = examples(line).into_iter().filter_map(|tag| marks.decided(&tag));
    let loosened = decided.filter(|one| one.line == line && one.is_loosened());
    // Of tags that are as strict, the first: it is the plainest.
    loosened.reduce(|known, other| if level(&other) > level(&known) { other } else { known })
}

fn level(decided: &Decided) -> Option<Tlp> {
    match decided.says? {
        Mark::Level(level) => Some(level),
        Mark::HidesSource => None,
    }
}

/// Returns examples of tags that a line may decide. A line without wildcards decides only its own tag. A line with
/// wildcards may decide tags of the other taxonomies, and its own text with a level, or a part of one, in the place of
/// a wildcard.
fn examples(line: &str) -> Vec<String> {
    if !line.contains(WILDCARDS) {
        return vec![line.to_owned()];
    }
    let names = || Tlp::ALL.map(Tlp::name);
    let of_others = OTHER_TAXONOMIES.iter().flat_map(|(before, behind)| {
        names().map(|name| format!("{before}{}{behind}", name.to_uppercase()))
    });
    let places = line.match_indices('*').map(|(place, _)| place);
    let filled = places.flat_map(|place| {
        let (before, behind) = (line.get(..place), line.get(place + 1..));
        let [before, behind] =
            [before, behind].map(|part| part.unwrap_or_default().replace('*', ""));
        names().into_iter().flat_map(parts).map(move |part| format!("{before}{part}{behind}"))
    });
    let bare = line.replace('*', "");
    of_others.chain([bare]).chain(filled).collect()
}

/// Returns all parts of a text without gaps, the whole text among them.
fn parts(text: &'static str) -> Vec<&'static str> {
    let places = || 0..=text.len();
    let all = places().flat_map(|from| places().rev().filter_map(move |to| text.get(from..to)));
    all.filter(|part| !part.is_empty()).collect()
}
