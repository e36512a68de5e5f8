//! Decides whether the log names an event by its title, and a value. Many more people read a log than may see what is
//! above TLP:GREEN. Pure.

use super::policy::Tlp;

/// The most characters of a title in the log.
const SHOWN: usize = 120;

/// Whether the log may name something of this level. `None`: the level is not known.
pub fn may_be_logged(level: Option<Tlp>) -> bool {
    level.is_some_and(|level| level <= Tlp::Green)
}

/// Returns the title of an event of this level, cut; `None`: it is not for the log, or the level is not known.
pub fn for_log(title: &str, level: Option<Tlp>) -> Option<String> {
    if !may_be_logged(level) {
        return None;
    }
    let mut shown: String = title.chars().take(SHOWN).collect();
    if shown.len() < title.len() {
        shown.push('…');
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_green_or_of_no_known_level_has_no_title() {
        let shown = |level| for_log("Title", level);
        assert_eq!(shown(Some(Tlp::Clear)).as_deref(), Some("Title"));
        assert_eq!(shown(Some(Tlp::Green)).as_deref(), Some("Title"));
        for level in [Some(Tlp::Amber), Some(Tlp::AmberStrict), Some(Tlp::Red), None] {
            assert_eq!(shown(level), None, "{level:?}");
        }
    }

    #[test]
    fn a_long_title_is_cut_between_characters() {
        let shown = |length| for_log(&"é".repeat(length), Some(Tlp::Clear)).unwrap();
        assert_eq!(shown(120), "é".repeat(120));
        assert_eq!(shown(121), format!("{}…", "é".repeat(120)));
    }
}
