//! Maps levels of the Traffic Light Protocol (TLP) to marking definitions of STIX. Sentinel's `TLPLevel`
//! knows only the four markings of TLP 1 (Microsoft, "ThreatIntelIndicators" table reference), so a TLP 2.0
//! level is sent as its counterpart in TLP 1, and a label names the level.

use crate::pure::policy::Tlp;

/// The `marking-definition` id of STIX 2.1, section 7.2.1.4.
pub(super) fn marking(tlp: Tlp) -> &'static str {
    match tlp {
        Tlp::Clear => "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
        Tlp::Green => "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
        Tlp::Amber | Tlp::AmberStrict => "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
        Tlp::Red => "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
    }
}

/// The level that a marking stands for: the stricter one of two that share it. What is no marking of TLP is red.
pub(super) fn level(marking: &str) -> Tlp {
    let mut levels = Tlp::ALL.into_iter().rev();
    levels.find(|tlp| self::marking(*tlp) == marking).unwrap_or(Tlp::Red)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// STIX 2.1, 7.2.1.4 "TLP Marking".
    #[test]
    fn each_level_has_its_marking_of_tlp_1() {
        for (tlp, id) in [
            (Tlp::Clear, "613f2e26-407d-48c7-9eca-b8e91df99dc9"),
            (Tlp::Green, "34098fce-860f-48ae-8e50-ebd3cc5e41da"),
            (Tlp::Amber, "f88d31f6-486f-44da-b317-01333bde0b82"),
            (Tlp::AmberStrict, "f88d31f6-486f-44da-b317-01333bde0b82"),
            (Tlp::Red, "5e57c739-391a-4eb3-b6be-7d15ca92d5ed"),
        ] {
            assert_eq!(marking(tlp), format!("marking-definition--{id}"));
        }
    }
}
