//! What a seed decides before anything happens.

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
}

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
        };
        if !rest {
            plan.outsider = false;
            (plan.frame_faults, plan.rest_faults, plan.weather) = (0, 0, 0);
        }
        plan
    }
}

/// Whether this relay reads from MISP; `MSR_REST=0` says no.
fn has_rest() -> bool {
    EXAMPLE.contains("[misp.rest]") && std::env::var("MSR_REST").as_deref() != Ok("0")
}
