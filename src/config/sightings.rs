//! Reads whether and how a MISP is told of hits (`misp.sightings`).

use super::Secret;
use super::mistake::Problem;
use super::reader::Reader;
use super::section::section;
use crate::pure::policy::Reach;

section! {
    /// How a MISP is told that alerts named what its attributes claim.
    #[derive(Debug, Clone)]
    pub struct Telling at "misp.sightings" {
        /// The auth key of a user who may add sightings. Their organisation is that of the sightings.
        key: Secret = Reader::secret,
        /// What sightings name as their source; `{target}` stands for the target's name.
        said_by at "misp.sightings.source": String = |reader, key| {
            // MISP takes the blanks at both ends away.
            let text = reader.required(key, "without it the relay would not know its own sightings again");
            text.trim().to_owned()
        },
        /// Of which attributes hits are told.
        reach at "misp.sightings.audience": Reach = audience,
    }
}

/// The longest source of a sighting that MISP takes, in bytes: at 300 a MISP 2.5.1 answers 500.
pub const LONGEST_SOURCE: usize = 255;

const KEY: &str = "misp.sightings.key";
const SOURCE: &str = "misp.sightings.source";

impl Telling {
    /// What sightings of hits of a target name as their source.
    pub fn said_by(&self, target: &str) -> String {
        self.said_by.replace("{target}", target)
    }
}

/// Reads how a MISP is told of hits. `None`: no key is set, and it is told nothing.
pub(super) fn read(reader: &mut Reader) -> Option<Telling> {
    let telling = Telling::read(reader);
    telling.key.is_given().then_some(telling)
}

fn audience(reader: &mut Reader, key: &str) -> Reach {
    const ALLOWED: &str = "own, distribution<=N with N from 0 to 3, or all";
    let read = |text: &str| Reach::read(text).ok_or_else(|| Problem::new("no such audience"));
    reader.read(key, ALLOWED, read).unwrap_or(Reach::Own)
}

/// Checks what concerns other keys: MISP must be known, and no target's name may make the source too long.
pub(super) fn check<'t>(
    telling: &Telling,
    has_rest: bool,
    targets: impl Iterator<Item = &'t str>,
    reader: &mut Reader,
) {
    if !has_rest && reader.sound("misp.key") {
        reader.missing(
            "misp.key",
            "misp.sightings.key is set, and who sees an attribute is known only by reading it",
        );
    }
    let plain = telling.key.expose().chars().all(|character| character.is_ascii_graphic());
    if !plain && reader.sound(KEY) {
        let problem = Problem::new("holds characters that no key has");
        reader.fault(KEY, problem.hint("the key alone, without \"Bearer\" or line breaks"));
    }
    let of_targets = targets.map(|target| telling.said_by(target));
    let longest = of_targets.chain([telling.said_by("")]).map(|said_by| said_by.len()).max();
    if longest.is_some_and(|longest| longest > LONGEST_SOURCE) && reader.sound(SOURCE) {
        let problem = Problem::new("too long for MISP, with the longest name of a target");
        reader.fault(SOURCE, problem.allowed(format!("at most {LONGEST_SOURCE} bytes")));
    }
}
