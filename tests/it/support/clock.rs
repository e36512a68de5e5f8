//! Gives a process a wrong clock, with the library of the package faketime.

use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::Utc;

/// What makes a process believe that it is so many seconds later than this test does, whose own clock may be a
/// faked one. Waits go by the monotonic clock, which stays right.
pub(crate) fn ahead(library: &Path, seconds: i64) -> [(&'static str, String); 3] {
    let real = Command::new("date").arg("+%s").env_remove("LD_PRELOAD").output().unwrap();
    let real: i64 = String::from_utf8(real.stdout).unwrap().trim().parse().unwrap();
    [
        ("LD_PRELOAD", library.to_str().unwrap().to_owned()),
        ("FAKETIME", format!("{:+}", Utc::now().timestamp() - real + seconds)),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// The library, where it is installed; that it is missing is a failure in CI.
pub(crate) fn library() -> Option<PathBuf> {
    let folders =
        std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok).map(|folder| folder.path());
    let mut files = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    let found = files.find(|file| file.exists());
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "the package faketime is missing");
    found
}
