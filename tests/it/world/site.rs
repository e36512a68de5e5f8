//! The type `Site`: one MISP of the world, with its REST API, its feed and what must be true of it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use misp_stand_in::{
    AskedFor, Chance, Edit, Event, Frame, Key, Misp, MispServer, MispSettings, NewAttribute,
    NewEvent, RestFault,
};
use rand::rngs::StdRng;
use uuid::Uuid;

use super::plan::Plan;
use super::reference::Reference;
use super::relay::{KEY, Reached};
use super::sent::ANCHOR;
use super::weather;
use super::wire::Wire;
use super::witness;

/// By the order in which the relay first knows them.
pub(super) const NAMES: [&str; 3] = ["national", "own", "sector"];

pub(super) struct Site {
    pub(super) name: &'static str,
    /// The world's, with what this MISP has of its own.
    pub(super) plan: Plan,
    pub(super) misp: Misp,
    pub(super) server: MispServer,
    pub(super) wire: Wire,
    pub(super) reference: Reference,
    pub(super) anchor: Anchor,
}

/// An event of the harness: what is published there last is what the relay heard last.
pub(super) struct Anchor {
    pub(super) event: Uuid,
    attribute: Uuid,
    site: &'static str,
    number: u32,
}

impl Anchor {
    fn of(place: usize) -> Self {
        let named = |number: u128| {
            let place = u128::try_from(place).unwrap() << 64;
            Uuid::from_u128(0xa2c4_0a00_0000_4000_8000_0000_0000_0000 | place | number)
        };
        Self { event: named(1), attribute: named(2), site: NAMES[place], number: 0 }
    }

    pub(super) fn value(&self) -> String {
        format!("{ANCHOR}{}-{}.example", self.site, self.number)
    }
}

impl Site {
    /// The one at this place among [`NAMES`].
    pub(super) async fn new(plan: &Plan, place: usize, began: i64) -> Self {
        let plan = plan.of_site(place);
        let misp = Misp::new(began - 10_000);
        let settings = MispSettings { keys: vec![witness::key(&plan)], listen: lasting_address() };
        let server = MispServer::start(misp.clone(), settings).await.unwrap();
        let reference = Reference::new(&plan, misp.now(), began);
        Self {
            name: NAMES[place],
            plan,
            misp,
            server,
            wire: Wire::new(plan.frame_faults),
            reference,
            anchor: Anchor::of(place),
        }
    }

    pub(super) fn begin(&mut self, draw: &mut StdRng) {
        let attribute = NewAttribute {
            uuid: self.anchor.attribute,
            ..NewAttribute::new("domain", &self.anchor.value())
        };
        let attributes = vec![attribute];
        self.misp.add_event(NewEvent {
            uuid: self.anchor.event,
            attributes,
            ..NewEvent::default()
        });
        if self.plan.rest_faults > 0 {
            let faults = (0..24).map(|_| weather::rest_fault(&self.plan, draw)).collect();
            let probability = f64::from(self.plan.rest_faults) / 100.0;
            self.server.by_chance(Chance { seed: self.plan.seed, probability, faults });
        }
    }

    /// From now on the relay's key is an outsider's, once its own was seen: what a key sees that is seen first fills
    /// the ledger.
    pub(super) fn change_key(&self) {
        let was_seen =
            |asked: &AskedFor| asked.path == "/users/view/me" && asked.fault == RestFault::None;
        if self.server.requests().iter().any(was_seen) {
            self.server.set_keys(vec![Key::read_only(KEY)]);
        }
    }

    pub(super) fn change_key_back(&self) {
        self.server.set_keys(vec![witness::key(&self.plan)]);
    }

    /// How the relay under test reaches it.
    pub(super) fn reached(&self) -> Reached {
        Reached {
            name: self.name,
            endpoint: self.wire.publisher().endpoint(),
            url: self.server.base_url(),
        }
    }

    /// Gives the anchor another value and publishes it.
    pub(super) fn move_anchor(&mut self) -> Vec<Frame> {
        self.anchor.number += 1;
        let value = Edit::Value(self.anchor.value());
        let frames = self.misp.edit_attribute(self.anchor.event, self.anchor.attribute, value);
        [frames, self.misp.publish(self.anchor.event)].concat()
    }

    /// All events but the harness's own.
    pub(super) fn events(&self) -> Vec<Arc<Event>> {
        let mut events = self.misp.events();
        events.retain(|event| event.uuid != self.anchor.event);
        events
    }
}

/// A port that nobody else gets while its server is down: below those that the system gives to
/// whoever connects.
pub(super) fn lasting_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run of the tests at the same time begins elsewhere, most often.
    let first = u16::try_from(std::process::id() % 40).unwrap() * 500;
    loop {
        let port = 12_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
