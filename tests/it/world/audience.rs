//! Decides to whom MISP shows an attribute and whether the policy admits it. The test expects what this file
//! says, so it does not use the relay's code.

use misp_stand_in::{Attribute, Event, Object, Tag, sharing_group_uuid};

use super::plan::{Audiences, Plan};

/// What decides besides the attributes themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The key is another organisation's.
    outsider: bool,
    /// There is no key, and the feed shows what only a site administrator may see.
    keyless: bool,
    audiences: Option<Audiences>,
}

impl Rules {
    pub(super) fn of(plan: &Plan) -> Self {
        Self { outsider: plan.outsider, keyless: !plan.rest, audiences: plan.audiences }
    }

    /// Whether an attribute may leave: MISP shows it to the key, and nothing of event, object and
    /// attribute forbids it.
    pub(super) fn admits(&self, event: &Event, object: Option<&Object>, one: &Attribute) -> bool {
        !one.deleted
            && one.to_ids
            && !is_red_in(&event.tags)
            && !is_red_in(&one.tags)
            && self.admits_audience_of(event)
            && object.is_none_or(|object| self.admits_object(object))
            && self.may(one.distribution, one.sharing_group)
    }

    pub(super) fn admits_audience_of(&self, event: &Event) -> bool {
        self.may(event.distribution, event.sharing_group)
    }

    pub(super) fn admits_object(&self, object: &Object) -> bool {
        self.may(object.distribution, object.sharing_group)
    }

    /// Whether MISP shows the key what the attribute says, also that it is deleted.
    pub(super) fn shows(&self, event: &Event, object: Option<&Object>, one: &Attribute) -> bool {
        let may = |distribution| self.may_see(distribution);
        may(event.distribution)
            && object.is_none_or(|object| may(object.distribution))
            && may(one.distribution)
            && !(one.deleted && (self.outsider || self.keyless))
    }

    fn may_see(&self, distribution: u8) -> bool {
        !(self.outsider || self.keyless) || !matches!(distribution, 0 | 4)
    }

    /// Of one level; what is inherited (5) says nothing by itself.
    fn may(&self, distribution: u8, group: u64) -> bool {
        const INHERITED: u8 = 5;
        const GROUP: u8 = 4;
        if distribution == INHERITED {
            return true;
        }
        let is_shown = self.may_see(distribution);
        let Some(Audiences { distributions, groups }) = self.audiences else { return is_shown };
        is_shown
            && (distributions.is_empty() || distributions.contains(&distribution))
            && (distribution != GROUP || groups.is_empty() || groups.contains(&group))
    }
}

/// The relay's settings for what a plan admits.
pub(super) fn settings(plan: &Plan) -> Vec<(String, String)> {
    // Nobody's distribution 0 leaves without a key.
    let mut settings = vec![("MSR_POLICY__ORG_WITHOUT_KEY".to_owned(), String::new())];
    if let Some(Audiences { distributions, groups }) = plan.audiences {
        let list = |all: Vec<String>| all.join(",");
        let distributions = distributions.iter().map(ToString::to_string).collect();
        let groups = groups.iter().map(|group| sharing_group_uuid(*group).to_string()).collect();
        settings.push(("MSR_POLICY__DISTRIBUTIONS".to_owned(), list(distributions)));
        settings.push(("MSR_POLICY__SHARING_GROUPS".to_owned(), list(groups)));
    }
    settings
}

pub(super) fn is_red_in(tags: &[Tag]) -> bool {
    tags.iter().any(|tag| is_red(&tag.name))
}

/// TLP:RED stays home, and what is no TLP that anyone knows counts as red.
fn is_red(tag: &str) -> bool {
    const KNOWN: [&str; 4] = ["clear", "green", "amber", "amber+strict"];
    tag.strip_prefix("tlp:").is_some_and(|colour| !KNOWN.contains(&colour))
}
