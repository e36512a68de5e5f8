//! Decides whether a registry key exists on every Windows. Malware writes a value in such a key, or a key
//! below it, so an indicator of the key alone would match on every machine.

use crate::pure::stix::Observable;

/// Below a hive, without `WOW6432Node`: places from which programs are started (MITRE ATT&CK, T1547,
/// T1546, T1543.003, T1037), and others that malware often changes. What lies above them is as common.
const COMMON: [&str; 36] = [
    r"software\microsoft\windows\currentversion\run",
    r"software\microsoft\windows\currentversion\runonce",
    r"software\microsoft\windows\currentversion\runonceex",
    r"software\microsoft\windows\currentversion\runservices",
    r"software\microsoft\windows\currentversion\runservicesonce",
    r"software\microsoft\windows\currentversion\uninstall",
    r"software\microsoft\windows\currentversion\app paths",
    r"software\microsoft\windows\currentversion\internet settings",
    r"software\microsoft\windows\currentversion\policies\explorer\run",
    r"software\microsoft\windows\currentversion\policies\system",
    r"software\microsoft\windows\currentversion\explorer\advanced",
    r"software\microsoft\windows\currentversion\explorer\browser helper objects",
    r"software\microsoft\windows\currentversion\explorer\sharedtaskscheduler",
    r"software\microsoft\windows\currentversion\explorer\shell folders",
    r"software\microsoft\windows\currentversion\explorer\shellexecutehooks",
    r"software\microsoft\windows\currentversion\explorer\user shell folders",
    r"software\microsoft\windows\currentversion\shellserviceobjectdelayload",
    r"software\microsoft\windows nt\currentversion\image file execution options",
    r"software\microsoft\windows nt\currentversion\schedule\taskcache\tree",
    r"software\microsoft\windows nt\currentversion\silentprocessexit",
    r"software\microsoft\windows nt\currentversion\windows",
    r"software\microsoft\windows nt\currentversion\winlogon\notify",
    r"software\microsoft\windows nt\currentversion\winlogon\userinit",
    r"software\microsoft\windows nt\currentversion\winlogon\shell",
    r"software\microsoft\active setup\installed components",
    r"software\microsoft\command processor\autorun",
    r"software\microsoft\windows defender",
    r"software\policies\microsoft\windows defender",
    r"software\classes\clsid",
    r"system\currentcontrolset\services",
    r"system\currentcontrolset\control\lsa",
    r"system\currentcontrolset\control\print\monitors",
    r"system\currentcontrolset\control\session manager\appcertdlls",
    r"system\currentcontrolset\control\terminal server",
    r"control panel\desktop",
    r"environment\userinitmprlogonscript",
];

/// Whether what is observed is such a key alone.
pub(super) fn is_common_key(observable: &Observable) -> bool {
    if observable.path != "windows-registry-key:key" {
        return false;
    }
    let key = below_hive(&observable.value.to_ascii_lowercase());
    key.is_empty() || COMMON.iter().any(|common| is_at_or_above(&key, common))
}

fn is_at_or_above(key: &str, common: &str) -> bool {
    common.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
}

/// A key in lower case, without what names the hive, the user, 32 bits or the set of controls.
fn below_hive(key: &str) -> String {
    let (hive, rest) = key.split_once('\\').unwrap_or((key, ""));
    let key = match hive {
        "hkey_users" => rest.split_once('\\').map_or("", |(_, below)| below).to_owned(),
        "hkey_classes_root" => format!(r"software\classes\{rest}"),
        _ => rest.to_owned(),
    };
    let parts = key.split('\\').filter(|part| *part != "wow6432node");
    let parts: Vec<&str> =
        parts.map(|part| if is_control_set(part) { "currentcontrolset" } else { part }).collect();
    parts.join("\\")
}

fn is_control_set(part: &str) -> bool {
    let digits = part.strip_prefix("controlset");
    digits.is_some_and(|digits| digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_every_windows_has_says_nothing_alone() {
        let common = |key: &str| is_common_key(&Observable::new("windows-registry-key:key", key));
        for key in [
            r"HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Run",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\RunOnce",
            r"HKEY_USERS\S-1-5-21-1-2-3-1001\Software\Microsoft\Windows\CurrentVersion\Run",
            r"HKEY_USERS\.DEFAULT",
            r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services",
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion",
            r"HKEY_LOCAL_MACHINE\Software",
            r"HKEY_CURRENT_USER\Environment",
            r"HKEY_CLASSES_ROOT\CLSID",
        ] {
            assert!(common(key), "{key}");
        }
        for key in [
            r"HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Run\evil",
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\evilsvc",
            r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSetABC\Services",
            r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet1\Services",
            r"HKEY_CURRENT_USER\Software\Evil",
            r"HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\RunEvil",
        ] {
            assert!(!common(key), "{key}");
        }
        assert!(!is_common_key(&Observable::new("file:name", r"HKEY_LOCAL_MACHINE\Software")));
    }
}
