//! Whether clocks agree: Entra refuses what is dated minutes off, and MISP's times order its news. Pure.

use super::finding::Finding;

const STEP: &str = "clock";

/// Seconds that a clock may be off: what a slow answer and whole seconds make.
const FINE: u64 = 30;

/// Entra takes assertions that are five minutes off at most, and so do others.
const BAD: u64 = 300;

/// How far the clocks of others are ahead of ours, seconds, each with its owner.
pub(super) fn judge(clocks: &[(&'static str, i64)]) -> Vec<Finding> {
    if clocks.is_empty() {
        return vec![Finding::note(STEP, "", "no server told its time")];
    }
    let off: Vec<_> = clocks.iter().filter(|(_, ahead)| ahead.unsigned_abs() > FINE).collect();
    if off.is_empty() {
        let most = clocks.iter().map(|(_, ahead)| ahead.unsigned_abs()).max().unwrap_or_default();
        return vec![Finding::ok(
            STEP,
            "",
            format!("this machine and {} servers agree within {} s", clocks.len(), most + 1),
        )];
    }
    if let Some(ahead) = common(clocks) {
        let seen =
            format!("this machine's clock is {} the clocks of {}", behind(-ahead), names(clocks));
        return vec![told("", ahead, seen, "this machine")];
    }
    off.into_iter()
        .map(|(owner, ahead)| {
            told(owner, *ahead, format!("its clock is {} this machine's", behind(*ahead)), owner)
        })
        .collect()
}

/// Two or more who agree with each other and not with us are right.
fn common(clocks: &[(&'static str, i64)]) -> Option<i64> {
    let (least, most) =
        (clocks.iter().map(|one| one.1).min()?, clocks.iter().map(|one| one.1).max()?);
    let agree = most.abs_diff(least) <= 2 * FINE && (least > 0) == (most > 0);
    (clocks.len() > 1 && agree).then_some(least)
}

fn told(subject: &str, ahead: i64, seen: String, whose: &str) -> Finding {
    let remedy = format!(
        "synchronise the clock of {whose} (NTP; `timedatectl` or `chronyc tracking` tells)"
    );
    match ahead.unsigned_abs() > BAD {
        true => Finding::error(STEP, subject, seen, remedy),
        false => Finding::warning(STEP, subject, seen, remedy),
    }
}

fn behind(ahead: i64) -> String {
    let time = std::time::Duration::from_secs(ahead.unsigned_abs());
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    format!("{} {side}", humantime::format_duration(time))
}

fn names(clocks: &[(&'static str, i64)]) -> String {
    clocks.iter().map(|(owner, _)| *owner).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn who_is_alone_is_wrong() {
        let all = judge(&[("MISP", -600), ("sign-in", -601), ("upload", -598)]);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].severity, Severity::Error);
        let evidence = &all[0].evidence;
        assert!(evidence.starts_with("this machine's clock is 10m 1s ahead of"), "{evidence}");

        let one = judge(&[("MISP", 610), ("sign-in", 0), ("upload", 1)]);
        assert_eq!((one.len(), one[0].subject.as_str()), (1, "MISP"));
        assert!(one[0].evidence.contains("10m 10s ahead of this machine's"), "{one:?}");
        assert!(one[0].remedy.as_deref().unwrap().contains("of MISP"));
    }

    #[test]
    fn a_little_is_fine_and_some_is_doubtful() {
        assert_eq!(judge(&[("MISP", 30), ("sign-in", -1)])[0].severity, Severity::Ok);
        assert_eq!(judge(&[("MISP", 90)])[0].severity, Severity::Warning);
        assert_eq!(judge(&[])[0].severity, Severity::Note);
    }
}
