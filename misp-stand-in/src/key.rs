//! Authentication keys, and what the roles of their users may.

/// MISP's number of the role "Read Only".
const READ_ONLY: u64 = 6;

/// A key and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub key: String,
    pub user_id: u64,
    pub org_id: u64,
    pub role_id: u64,
    /// Sees everything; others do not see distribution 0 and sharing groups of other organisations.
    pub site_admin: bool,
    /// The key itself is read-only, whatever the role may.
    pub read_only: bool,
    /// `perm_auth`: whether the role may use keys at all.
    pub may_search: bool,
}

impl Key {
    /// Of the first user, who sees everything.
    #[must_use]
    pub fn site_admin(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            user_id: 1,
            org_id: 1,
            role_id: 1,
            site_admin: true,
            read_only: false,
            may_search: true,
        }
    }

    /// Of a user of another organisation with the role "Read Only".
    #[must_use]
    pub fn read_only(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            user_id: 2,
            org_id: 2,
            role_id: READ_ONLY,
            site_admin: false,
            read_only: true,
            may_search: true,
        }
    }

    /// `perm_sighting`: every role but "Read Only" has it.
    pub(super) fn role_may_sight(&self) -> bool {
        self.role_id != READ_ONLY
    }

    /// Whether it may add sightings.
    pub(super) fn may_sight(&self) -> bool {
        self.role_may_sight() && !self.read_only
    }

    /// Whose eyes an answer is for; `None` sees all.
    pub(super) fn reader(&self) -> Option<u64> {
        (!self.site_admin).then_some(self.org_id)
    }
}
