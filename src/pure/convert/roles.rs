//! Lists the roles in MISP's objects whose attributes are no indicators by default: roles that name the
//! victim, or something that took no part in the attack. The table of roles in `docs/reference/mapping.md` is
//! generated from it.

use super::skipped::Reason;

/// An attribute's role: the template of its object and its relation in it, each with `*` as wildcard.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    pub template: &'static str,
    pub relation: &'static str,
    /// What an operator should know.
    pub note: &'static str,
    /// Why its claims do not count by default.
    pub reason: Reason,
}

impl Role {
    /// As `[convert.roles]` names it.
    pub fn name(&self) -> String {
        format!("{}.{}", self.template, self.relation)
    }
}

const fn victim(template: &'static str, relation: &'static str, note: &'static str) -> Role {
    Role { template, relation, note, reason: Reason::Victim }
}

const fn bystander(template: &'static str, relation: &'static str, note: &'static str) -> Role {
    Role { template, relation, note, reason: Reason::Bystander }
}

/// After the descriptions of relations in MISP's templates (misp-objects).
static ROLES: [Role; 33] = [
    victim("victim", "domain", "the organisation that is the target"),
    victim("victim", "ip-address", "the node that is the target"),
    victim("ddos", "ip-dst", "the address that is flooded"),
    victim("ddos", "domain-dst", "the name that is flooded"),
    victim("ddos-config", "host", "the name that is to be flooded"),
    victim("ddos-config", "ip", "the address that is to be flooded"),
    victim("target-system", "targeted_ip_of_system", "the system that is the target"),
    victim("attack-step", "dst-*", "where the step of the attack goes"),
    victim("authentication-failure-report", "ip-dst", "where somebody tried to sign in"),
    victim("cowrie", "dst_ip", "the honeypot"),
    victim("gtp-attack", "ipDest", "where the attack goes"),
    victim("intelmq_event", "destination.*", "where the connections go"),
    victim("edr-report", "ip", "the machine that reports"),
    victim("bgp-hijack", "subnet-announced", "the network that is hijacked"),
    victim("bgp-hijack", "expected-asn", "the operator whose network is hijacked"),
    victim("rogue-dns", "hijacked-domain", "the name that is hijacked"),
    victim("typosquatting-finder", "research-domain", "the name that is imitated"),
    victim("email", "to", "a recipient"),
    victim("email", "cc", "a recipient"),
    victim("email", "bcc", "a recipient"),
    bystander("email", "received-header-ip", "a mail server on the way, most often one's own"),
    bystander("email", "received-header-hostname", "a mail server on the way"),
    bystander("dns-record", "ns-record", "a name server, most often of a large provider"),
    bystander("dns-record", "mx-record", "a mail server, most often of a large provider"),
    bystander("dns-record", "soa-record", "a name server, most often of a large provider"),
    bystander("typosquatting-finder-result", "ns-record", "as in dns-record"),
    bystander("typosquatting-finder-result", "mx-record", "as in dns-record"),
    bystander("whois", "nameserver", "as in dns-record"),
    bystander("network-profile", "dns-server", "as in dns-record"),
    bystander("x509", "issuing_certificate", "the certificate authority"),
    bystander("x509", "ocsp_server", "the certificate authority"),
    bystander("tracking-id", "hostname", "the template calls it safe"),
    bystander("git-vuln-finder", "author-email", "who wrote a commit"),
];

/// Every role whose claims do not count by default.
pub fn roles() -> &'static [Role] {
    &ROLES
}
