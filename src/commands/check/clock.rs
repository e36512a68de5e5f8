//! Compares the clock of this machine with the clocks of the servers. Entra refuses assertions that are more
//! than five minutes off, and the relay orders changes by MISP's times. Pure.

use super::diagnosis::{Diagnosis, Subject};

const STEP: &str = "clock";

/// How many seconds a clock may be off without a finding. Slow answers and whole seconds cause that much.
const FINE: u64 = 30;

/// How many seconds make it an error. Entra accepts assertions that are five minutes off at most, and so do
/// others.
const BAD: u64 = 300;

/// The owner of the only clock that is not Microsoft's.
const MISP: &str = "MISP";

/// Judges the clocks of the servers, given as their owners and the seconds that they are ahead of ours.
/// Microsoft's clocks count as right if they agree with each other.
pub(super) fn judge(clocks: &[(&'static str, i64)]) -> Vec<Diagnosis> {
    if clocks.is_empty() {
        return vec![Subject(STEP, "").note("no server told its time")];
    }
    let microsoft: Vec<i64> =
        clocks.iter().filter(|(owner, _)| *owner != MISP).map(|(_, ahead)| *ahead).collect();
    // If Microsoft's clocks agree with each other and not with ours, ours is wrong.
    let right = agreed(&microsoft).filter(|ahead| ahead.unsigned_abs() > FINE).unwrap_or(0);
    let mut findings = Vec::new();
    if right != 0 {
        let seen = format!("this machine's clock is {} Microsoft's", behind(-right));
        findings.push(told("", right, seen, "this machine"));
    }
    for (owner, ahead) in clocks {
        let off = ahead - right;
        if off.unsigned_abs() > FINE {
            let whose = if right == 0 { "this machine's" } else { "Microsoft's" };
            let seen = format!("its clock is {} {whose}", behind(off));
            findings.push(told(owner, off, seen, owner));
        }
    }
    if findings.is_empty() {
        let most = clocks.iter().map(|(_, ahead)| ahead.unsigned_abs()).max().unwrap_or_default();
        let (servers, within) = (clocks.len(), most + 1);
        let words = format!("this machine and {servers} servers agree within {within} s");
        findings.push(Subject(STEP, "").ok(words));
    }
    findings
}

/// Returns by how many seconds all are ahead, if there are at least two and they agree.
fn agreed(ahead: &[i64]) -> Option<i64> {
    let (least, most) = (*ahead.iter().min()?, *ahead.iter().max()?);
    (ahead.len() > 1 && most.abs_diff(least) <= FINE).then_some(least)
}

fn told(subject: &str, ahead: i64, seen: String, whose: &str) -> Diagnosis {
    let remedy = format!(
        "synchronise the clock of {whose} (NTP; `timedatectl` or `chronyc tracking` tells)"
    );
    let subject = Subject(STEP, subject);
    if ahead.unsigned_abs() > BAD {
        subject.error(seen, remedy)
    } else {
        subject.warning(seen, remedy)
    }
}

fn behind(ahead: i64) -> String {
    let time = std::time::Duration::from_secs(ahead.unsigned_abs());
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    format!("{} {side}", humantime::format_duration(time))
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::Severity;
    use super::*;

    #[test]
    fn microsoft_is_right() {
        let all = judge(&[("MISP", -600), ("Entra", -601), ("Sentinel", -598)]);
        assert_eq!((all.len(), all[0].severity), (1, Severity::Error));
        assert_eq!(all[0].evidence, "this machine's clock is 10m 1s ahead of Microsoft's");

        // MISP runs on the same machine here, so its clock is as wrong as ours.
        let both = judge(&[("MISP", 0), ("Entra", -600), ("Sentinel", -600)]);
        let subjects: Vec<&str> = both.iter().map(|one| one.subject.as_str()).collect();
        assert_eq!(subjects, ["", "MISP"]);
        assert_eq!(both[1].evidence, "its clock is 10m ahead of Microsoft's");

        let one = judge(&[("MISP", 610), ("Entra", 0), ("Sentinel", 1)]);
        assert_eq!((one.len(), one[0].subject.as_str()), (1, "MISP"));
        assert_eq!(one[0].evidence, "its clock is 10m 10s ahead of this machine's");
        assert!(one[0].remedy.as_deref().unwrap().contains("of MISP"));
    }

    #[test]
    fn a_little_is_fine_and_some_is_doubtful() {
        assert_eq!(
            judge(&[("MISP", 30), ("Entra", -1), ("Sentinel", 5)])[0].severity,
            Severity::Ok
        );
        assert_eq!(judge(&[("MISP", 90)])[0].severity, Severity::Warning);
        assert_eq!(judge(&[])[0].severity, Severity::Note);
    }
}
