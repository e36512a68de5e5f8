//! Lists the STIX object paths that Sentinel's built-in rules ("TI map …") compare, so that an analyst knows
//! which indicators can raise an alert. The list was read from the 54 rules of Azure/Azure-Sentinel,
//! `Solutions/Threat Intelligence (NEW)`, solution 3.0.17. `tests/it/rules.rs` checks it against a model of
//! each rule.

use super::Observable;

/// The rules that compare the values at an object path.
#[derive(Debug, Clone, Copy)]
pub struct Compared {
    /// As in a pattern, e.g. `url:value`.
    pub path: &'static str,
    /// The logs that the rules read: tables of Sentinel, or schemas of ASIM.
    pub logs: &'static str,
    /// In which spelling a value meets them.
    pub spelling: &'static str,
}

/// Every path that a rule compares with success. No rule compares anything else.
pub static COMPARED: &[Compared] = &[
    Compared {
        path: "url:value",
        logs: "EmailUrlInfo, UrlClickEvents, DeviceNetworkEvents, CommonSecurityLog (Palo Alto), \
               Syslog, CloudAppEvents, SecurityAlert, ASIM web sessions",
        spelling: "The whole URL is compared. Scheme and host are in small letters, a default port is \
                   left out, path and query stay as MISP has them. Mails, clicks and texts hold a URL \
                   as somebody wrote it; firewalls and proxies hold what was requested. \
                   EmailUrlInfo and SecurityAlert meet no URL with a capital letter. Behind a Palo Alto \
                   that decrypts, an https URL is compared as http.",
    },
    Compared {
        path: "domain-name:value",
        logs: "DeviceNetworkEvents, CommonSecurityLog (Palo Alto; other vendors from rule version \
               1.4.6 on), DnsEvents, ASIM DNS queries, EmailEvents (sender), EmailUrlInfo, \
               SecurityAlert, Syslog, ASIM web sessions",
        spelling: "The exact host is compared, in small letters, in punycode and without a dot at its \
                   end: neither a parent nor a subdomain matches. Syslog meets no punycode.",
    },
    Compared {
        path: "ipv4-addr:value",
        logs: "AWSCloudTrail, AzureActivity, Azure Firewall, Azure Key Vault, \
               AzureNetworkAnalytics, Azure SQL, CommonSecurityLog, DnsEvents, VMConnection, \
               W3CIISLog, AppServiceHTTPLogs (confidence above 50), sign-ins, OfficeActivity, \
               DeviceNetworkEvents, CloudAppEvents, Duo, Workday, GitHub, ASIM network sessions, \
               ASIM web sessions (clients), ASIM DNS answers",
        spelling: "The whole address is compared. A network equals no address of a log. Most of these \
                   rules pass over the private ranges of RFC 1918.",
    },
    Compared {
        path: "ipv6-addr:value",
        logs: "sign-ins, OfficeActivity, DeviceNetworkEvents, CloudAppEvents, Duo, Workday, GitHub, \
               ASIM network sessions",
        spelling: "The rules compare in capitals what logs hold in small letters, so only addresses \
                   without the letters a to f match, whatever we send.",
    },
    Compared {
        path: "email-addr:value",
        logs: "EmailEvents (sender and recipients), AzureActivity, CommonSecurityLog (Palo Alto), \
               SecurityAlert, SecurityEvent, sign-ins, OfficeActivity, CloudAppEvents",
        spelling: "The whole address is compared, in small letters. All but EmailEvents compare users \
                   of your own organisation.",
    },
    Compared { path: "file:hashes.MD5", logs: "CommonSecurityLog", spelling: "Small letters." },
    Compared {
        path: "file:hashes.'SHA-1'",
        logs: "CommonSecurityLog, DeviceFileEvents",
        spelling: "Small letters.",
    },
    Compared {
        path: "file:hashes.'SHA-256'",
        logs: "CommonSecurityLog, DeviceFileEvents, SecurityEvent (AppLocker)",
        spelling: "Small letters.",
    },
];

/// Why no built-in rule can match the observable; `None` where one can.
pub fn unseen(observable: &Observable) -> Option<&'static str> {
    let Observable { path, value } = observable;
    if !COMPARED.iter().any(|row| row.path == path) {
        return Some("no built-in rule of Sentinel compares it: it serves queries of your own");
    }
    let is_address = matches!(path.as_ref(), "ipv4-addr:value" | "ipv6-addr:value");
    if is_address && value.contains('/') {
        return Some(
            "built-in rules of Sentinel compare whole addresses: a network serves queries of your own",
        );
    }
    let has_letter = value.bytes().any(|byte| byte.is_ascii_alphabetic());
    (path == "ipv6-addr:value" && has_letter).then_some(
        "built-in rules of Sentinel compare IPv6 addresses in capitals with logs in small letters: \
         this one serves queries of your own",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_rule_can_match_is_told() {
        for (path, value, is_seen) in [
            ("url:value", "http://evil.example/", true),
            ("domain-name:value", "evil.example", true),
            ("ipv4-addr:value", "198.51.100.7", true),
            ("ipv4-addr:value", "198.51.100.0/24", false),
            ("ipv6-addr:value", "2001:470::1", true),
            ("ipv6-addr:value", "2001:db8::a", false),
            ("ipv6-addr:value", "2001:470::/32", false),
            ("email-addr:value", "a@evil.example", true),
            ("file:hashes.'SHA-256'", "00", true),
            ("file:hashes.SSDEEP", "3:a:b", false),
            ("file:name", "evil.exe", false),
            ("mutex:name", "x", false),
            ("x509-certificate:hashes.'SHA-1'", "00", false),
            ("network-traffic:dst_port", "443", false),
            ("yara", "rule a {}", false),
        ] {
            let observable = Observable::new(path, value);
            assert_eq!(unseen(&observable).is_none(), is_seen, "{path} {value}");
        }
    }
}
