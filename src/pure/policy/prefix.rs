//! Decides whether a network is wider than `policy.min_prefix_ipv4` or `min_prefix_ipv6` allows. An indicator for a
//! very wide network would match the operator's own traffic.

use ipnet::IpNet;

use super::Policy;
use crate::pure::stix::Observable;

/// Whether what is observed is a network with a shorter prefix than policy allows.
pub(super) fn is_too_wide(observable: &Observable, policy: &Policy) -> bool {
    let is_address = matches!(observable.path.as_ref(), "ipv4-addr:value" | "ipv6-addr:value");
    if !is_address || !observable.value.contains('/') {
        return false;
    }
    match observable.value.parse() {
        Ok(IpNet::V4(network)) => network.prefix_len() < policy.min_prefix_ipv4,
        Ok(IpNet::V6(network)) => network.prefix_len() < policy.min_prefix_ipv6,
        Err(_) => false,
    }
}
