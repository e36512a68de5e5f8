//! Addresses on which nothing listens.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the system gives to whoever asks for any, so that no other test gets one of these meanwhile.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// How many were given by this process.
static GIVEN: AtomicU16 = AtomicU16::new(0);

/// An address of the loopback interface that nothing listens on. Each call gives another one.
pub(crate) fn free_address() -> SocketAddr {
    // Processes that run at the same time begin at different places.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    let start = u16::try_from(start).unwrap();
    let given = || GIVEN.fetch_add(1, Ordering::Relaxed);
    let addresses = (0..COUNT).map(|_| {
        let port = FIRST + (start + given() % COUNT) % COUNT;
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    });
    let is_free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    addresses.into_iter().find(is_free).unwrap()
}
