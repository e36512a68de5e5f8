//! The type `Plan`: what the seed decides before anything happens, such as the settings and the kinds of
//! faults.

use std::time::Duration;

use misp_sentinel_relay::config::EXAMPLE;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// One seed's world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) operations: usize,
    /// The built binary, killed with signal 9 at any point.
    pub(super) kills: bool,
    /// The built binary, killed or not.
    pub(super) binary: bool,
    /// Whether the relay can ask MISP. Without, nothing heals what is lost, so nothing is broken.
    pub(super) rest: bool,
    /// The key is one of another organisation, which does not see distribution 0.
    pub(super) outsider: bool,
    /// MISP's clock jumps, also back.
    pub(super) clock_jumps: bool,
    /// How many of a hundred frames are lost, repeated or late.
    pub(super) frame_faults: u32,
    /// How many of a hundred REST requests fail by chance.
    pub(super) rest_faults: u32,
    /// How many of a hundred steps begin some bad weather.
    pub(super) weather: u32,
    /// Two more relays live through the same: one hears and reads everything, one only reads.
    pub(super) witnesses: bool,
    /// Tags are put on and taken off again at once.
    pub(super) blinks: bool,
    /// Other frames overtake publications.
    pub(super) early_frames: bool,
    /// MISP is restored, and gives numbers to new things that others had before.
    pub(super) reused_numbers: bool,
    /// MISP's clock is wrong for some steps: by an hour, a day or 400 days, ahead or back.
    pub(super) misp_clock: bool,
    /// So is the relay's, from one start of the process to the next.
    pub(super) relay_clock: bool,
    /// Attributes have a `first_seen`, also one in the future.
    pub(super) first_seen: bool,
    /// Event, object and attribute each have a distribution of their own.
    pub(super) audiences: Option<Audiences>,
    /// REST answers lack `published` and `publish_timestamp` now and then.
    pub(super) absent_fields: bool,
    /// Sentinel's answers hold nulls, or come from somebody else.
    pub(super) strange_sentinel: bool,
    pub(super) token_lifetime: Duration,
    /// The key belongs to another organisation for some steps, where it is not an outsider's anyway.
    pub(super) key_changes: bool,
    /// How many MISPs there are. They pull events from one another.
    pub(super) sites: usize,
    /// A bit for each of several MISPs whose key is an outsider's.
    pub(super) outsiders: u32,
}

/// What policy admits; empty lists admit all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Audiences {
    pub(super) distributions: &'static [u8],
    /// By their numbers.
    pub(super) groups: &'static [u64],
}

const AUDIENCES: [Audiences; 5] = [
    Audiences { distributions: &[], groups: &[] },
    Audiences { distributions: &[1, 2, 3], groups: &[] },
    Audiences { distributions: &[1, 2, 3, 4], groups: &[1] },
    Audiences { distributions: &[3], groups: &[] },
    Audiences { distributions: &[], groups: &[2] },
];

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        // The operations draw from another generator: a change here leaves them as they are.
        let mut draw = StdRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
        let rest = has_rest();
        let kills = rest && seed.is_multiple_of(4);
        let mut one_of = |choices: &[u32]| choices[draw.random_range(0..choices.len())];
        let mut plan = Self {
            seed,
            operations: one_of(&[40, 60, 90]) as usize,
            kills,
            binary: kills || std::env::var_os("MSR_BINARY").is_some(),
            rest,
            outsider: one_of(&[0, 0, 0, 0, 0, 0, 0, 1]) == 1,
            clock_jumps: one_of(&[0, 0, 0, 1]) == 1,
            frame_faults: one_of(&[0, 5, 20, 60]),
            rest_faults: one_of(&[0, 10, 30]),
            weather: one_of(&[0, 10, 25]),
            witnesses: has("witnesses", one_of(&[0, 0, 1])),
            blinks: has("blinks", one_of(&[0, 1])),
            early_frames: has("early_frames", one_of(&[0, 1])),
            reused_numbers: has("reused_numbers", one_of(&[0, 0, 1])),
            misp_clock: has("misp_clock", one_of(&[0, 0, 0, 1])),
            relay_clock: has("relay_clock", one_of(&[0, 1])),
            first_seen: has("first_seen", one_of(&[0, 0, 1])),
            audiences: None,
            absent_fields: has("absent_fields", one_of(&[0, 0, 1])),
            strange_sentinel: has("strange_sentinel", one_of(&[0, 0, 1])),
            token_lifetime: Duration::from_secs(3599),
            key_changes: false,
            sites: 1,
            outsiders: 0,
        };
        let audiences = AUDIENCES[one_of(&[0, 1, 2, 3, 4]) as usize];
        plan.audiences = has("audiences", one_of(&[0, 0, 1])).then_some(audiences);
        let lifetime = u64::from(one_of(&[240, 60]));
        if has("short_tokens", one_of(&[0, 0, 1])) {
            plan.token_lifetime = Duration::from_secs(lifetime);
        }
        plan.outsiders = one_of(&[0, 0, 0, 1, 2, 4, 7]);
        plan.sites = sites(one_of(&[1, 1, 2, 3]));
        plan.key_changes = has("key_changes", one_of(&[0, 0, 1]));
        plan.relay_clock &= plan.binary && crate::support::clock::library().is_some();
        plan.rest &= kills || !has("keyless", one_of(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        // The reference knows of no expiry, and a wrong clock of the relay is looked at with one.
        plan.misp_clock &= !plan.relay_clock;
        if plan.rest { plan } else { plan.keyless() }
    }

    /// What holds for one of the MISPs.
    pub(super) fn of_site(&self, place: usize) -> Self {
        let outsider =
            if self.sites == 1 { self.outsider } else { self.outsiders >> place & 1 == 1 };
        Self { outsider: outsider && self.rest, ..*self }
    }

    /// Without a key nothing heals what is lost, nor tells that a clock was set back.
    fn keyless(self) -> Self {
        Self {
            outsider: false,
            clock_jumps: false,
            frame_faults: 0,
            rest_faults: 0,
            weather: 0,
            witnesses: false,
            reused_numbers: false,
            misp_clock: false,
            absent_fields: false,
            key_changes: false,
            ..self
        }
    }
}

fn has(what: &str, drawn: u32) -> bool {
    let forced = std::env::var("MSR_WITH").unwrap_or_default();
    forced.split(',').any(|one| one == what) || drawn == 1
}

/// `MSR_SOURCES` says how many MISPs each seed has.
fn sites(drawn: u32) -> usize {
    let asked = std::env::var("MSR_SOURCES").map(|text| text.parse().expect("MSR_SOURCES"));
    asked.unwrap_or(drawn as usize)
}

/// Whether this relay reads from MISP; `MSR_REST=0` says no.
fn has_rest() -> bool {
    EXAMPLE.contains("[misp.rest]") && std::env::var("MSR_REST").as_deref() != Ok("0")
}
