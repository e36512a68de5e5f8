//! Draws faults around the relay from the seed. A fault begins at one step and ends some steps later.

use std::time::Duration;

use misp_sentinel_relay::sandbox::Fault;
use misp_stand_in::RestFault;
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::plan::Plan;

/// Something that begins now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Weather {
    /// The publisher stalls, then sends topic by topic.
    FeedStalls {
        publications_last: bool,
    },
    /// The publisher dies and comes back; what is said meanwhile waits for it, or is lost.
    FeedStops {
        queued: bool,
    },
    /// These happen to the next uploads.
    Uploads(Vec<Fault>),
    /// Sentinel is gone.
    SentinelStops,
    /// Sentinel answers every request so.
    SentinelAnswers(Fault),
    /// Sentinel rejects this observable wherever it stands in a request.
    Rejects(String),
    /// These happen to the next REST requests.
    Rest(Vec<RestFault>),
    /// MISP's web server is gone.
    MispStops,
    ClockJumps(i64),
    /// MISP's clock is wrong by so many seconds.
    ClockIsWrong(i64),
    /// MISP's database is restored.
    NumbersAgain,
    /// The relay's key belongs to another organisation, which sees less.
    KeyIsAnothers,
    /// `kill -9`; started again when it is over.
    Kill,
}

impl Weather {
    /// Draws what begins at this step and how many steps it lasts.
    pub(super) fn draw(plan: &Plan, draw: &mut StdRng) -> Option<(Self, u32)> {
        if plan.kills && draw.random_ratio(1, 20) {
            return Some((Self::Kill, draw.random_range(0..4)));
        }
        if plan.clock_jumps && draw.random_ratio(1, 25) {
            let far = draw.random_range(1..7_200);
            return Some((Self::ClockJumps(if draw.random_bool(0.5) { far } else { -far }), 0));
        }
        if let Some(drawn) = Self::of_plan(plan, draw) {
            return Some(drawn);
        }
        if draw.random_range(0..100) >= plan.weather {
            return None;
        }
        let lasts = draw.random_range(1..6);
        let weather = match draw.random_range(0..100) {
            0..12 => Self::FeedStalls { publications_last: false },
            12..30 => Self::FeedStops { queued: draw.random_bool(0.5) },
            30..50 => Self::Uploads(uploads(plan, draw)),
            50..57 => Self::SentinelStops,
            57..64 => Self::SentinelAnswers(always(draw)),
            64..72 => Self::Rejects(rejected(draw)),
            72..90 => {
                let faults = 0..draw.random_range(1..5);
                Self::Rest(faults.map(|_| rest_fault(plan, draw)).collect())
            }
            _ => Self::MispStops,
        };
        Some((weather, lasts))
    }

    /// What only some plans have; the others draw nothing.
    fn of_plan(plan: &Plan, draw: &mut StdRng) -> Option<(Self, u32)> {
        let lasts = |draw: &mut StdRng| draw.random_range(1..5);
        if plan.misp_clock && draw.random_ratio(1, 15) {
            return Some((Self::ClockIsWrong(wrong(draw)), lasts(draw)));
        }
        if plan.early_frames && draw.random_ratio(1, 12) {
            return Some((Self::FeedStalls { publications_last: true }, lasts(draw)));
        }
        if plan.key_changes && draw.random_ratio(1, 15) {
            return Some((Self::KeyIsAnothers, lasts(draw)));
        }
        (plan.reused_numbers && draw.random_ratio(1, 12)).then_some((Self::NumbersAgain, 0))
    }

    /// Whether a server is down until it ends.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::SentinelStops | Self::MispStops)
    }

    /// Whether it is about a MISP, and not about Sentinel or the relay.
    pub(super) fn is_of_site(&self) -> bool {
        match self {
            Self::FeedStalls { .. }
            | Self::FeedStops { .. }
            | Self::Rest(_)
            | Self::MispStops
            | Self::ClockJumps(_)
            | Self::ClockIsWrong(_)
            | Self::NumbersAgain
            | Self::KeyIsAnothers => true,
            Self::Uploads(_)
            | Self::SentinelStops
            | Self::SentinelAnswers(_)
            | Self::Rejects(_)
            | Self::Kill => false,
        }
    }

    /// How the report counts it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::FeedStalls { publications_last: true } => "weather: publications come last",
            Self::FeedStalls { .. } | Self::FeedStops { .. } => "weather: feed",
            Self::Uploads(_) => "weather: upload faults",
            Self::SentinelStops | Self::SentinelAnswers(_) => "weather: Sentinel outages",
            Self::Rejects(_) => "weather: partial errors",
            Self::Rest(_) => "weather: REST faults",
            Self::MispStops => "weather: MISP outages",
            Self::ClockJumps(_) => "clock jumps",
            Self::ClockIsWrong(_) => "clocks of MISP that are wrong for a while",
            Self::NumbersAgain => "numbers given again",
            Self::KeyIsAnothers => "keys of another organisation for a while",
            Self::Kill => "kills",
        }
    }
}

/// By how many seconds a clock is wrong.
pub(super) fn wrong(draw: &mut StdRng) -> i64 {
    const ALL: [i64; 3] = [3_600, 86_400, 400 * 86_400];
    let far = ALL[draw.random_range(0..ALL.len())];
    if draw.random_bool(0.5) { far } else { -far }
}

fn uploads(plan: &Plan, draw: &mut StdRng) -> Vec<Fault> {
    let faults = 0..draw.random_range(1..4);
    let one = |_| {
        if plan.strange_sentinel && draw.random_bool(0.5) { strange(draw) } else { upload(draw) }
    };
    faults.map(one).collect()
}

/// Nulls in Sentinel's answer, or one that another product gives in its place, which processed nothing.
fn strange(draw: &mut StdRng) -> Fault {
    if draw.random_ratio(1, 3) {
        return Fault::NullLists;
    }
    const ALL: [(u16, &str); 7] = [
        (200, r#"{"message":"Sign in to the guest network","url":"http://portal.example/"}"#),
        (200, r#"{"error":{"code":"Blocked","message":"Blocked by policy"}}"#),
        (200, "<html><body>Sign in to the guest network</body></html>"),
        (200, "{}"),
        (200, "[]"),
        (202, ""),
        (204, ""),
    ];
    let (status, body) = ALL[draw.random_range(0..ALL.len())];
    Fault::Answer { status, body: body.to_owned() }
}

fn upload(draw: &mut StdRng) -> Fault {
    match draw.random_range(0..20) {
        0..3 => Fault::Throttled { seconds: None, header: None },
        3..6 => Fault::ServerError,
        6..9 => Fault::ResetBefore,
        9..13 => Fault::ResetAfter,
        13 => Fault::NeverAnswers,
        14 => Fault::TokenRefused,
        15 => Fault::BadRequest,
        16 => Fault::TooLarge,
        17 => Fault::Late(Duration::from_millis(draw.random_range(1..150))),
        18 => Fault::Answer { status: 503, body: "<html>not now</html>".to_owned() },
        _ => Fault::None,
    }
}

fn always(draw: &mut StdRng) -> Fault {
    match draw.random_range(0..5) {
        0 => Fault::Throttled { seconds: None, header: None },
        1 => Fault::ServerError,
        2 => Fault::ResetBefore,
        3 => Fault::Forbidden,
        _ => Fault::ResetAfter,
    }
}

fn rejected(draw: &mut StdRng) -> String {
    let (kind, value) = super::draw::VALUES[draw.random_range(0..super::draw::VALUES.len())];
    let observables = super::observables::observables(kind, value);
    observables.into_iter().next().unwrap_or_default()
}

/// One that MISP's REST API shows now and then.
pub(super) fn rest_fault(plan: &Plan, draw: &mut StdRng) -> RestFault {
    if plan.absent_fields && draw.random_ratio(1, 3) {
        return RestFault::LacksPublication;
    }
    let after = draw.random_range(0..3_000);
    match draw.random_range(0..16) {
        0 => RestFault::Status(500),
        1 => RestFault::Status(502),
        2 => RestFault::Status(503),
        3 => RestFault::Status(504),
        4 => RestFault::RateLimited { reset: 0 },
        5 => RestFault::LoginRedirect,
        6 => RestFault::HtmlPage,
        7 | 8 => RestFault::Truncated { after },
        9 | 10 => RestFault::CutShort { after },
        11 => RestFault::Late(Duration::from_millis(draw.random_range(1..150))),
        12 => RestFault::Stall { after, pause: Duration::from_millis(draw.random_range(1..600)) },
        13 => RestFault::Reset,
        14 => RestFault::Empty,
        _ => RestFault::EndsEarly { missing: draw.random_range(1..3) },
    }
}
