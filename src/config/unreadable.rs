//! Words the mistake for a file that cannot be read.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;

/// Says why a file cannot be read. If its rights are in the way, it names the user and the remedy: in a
/// container that user is not the one who made the file.
pub(super) fn why_unreadable(error: &Error) -> String {
    // Linux makes the folder of a process its user's.
    match fs::metadata("/proc/self").map(|process| process.uid()) {
        Ok(user) if error.kind() == ErrorKind::PermissionDenied => format!(
            "cannot read the file: {error}: this program runs as the user id {user}, which must be able to read it and to enter its folders; `chown {user}` and mode 0400 do for the file"
        ),
        Ok(_) | Err(_) => format!("cannot read the file: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_in_the_way_name_the_user_and_the_remedy() {
        // What this process makes belongs to its user.
        let user = tempfile::tempfile().unwrap().metadata().unwrap().uid();
        let told = why_unreadable(&Error::from_raw_os_error(13));
        assert!(told.contains("Permission denied (os error 13)"), "{told}");
        assert!(told.contains(&format!("the user id {user},")), "{told}");
        assert!(told.contains(&format!("`chown {user}` and mode 0400")), "{told}");
    }

    #[test]
    fn a_missing_file_has_nothing_to_do_with_a_user() {
        let told = why_unreadable(&Error::from_raw_os_error(2));
        assert_eq!(told, "cannot read the file: No such file or directory (os error 2)");
    }
}
