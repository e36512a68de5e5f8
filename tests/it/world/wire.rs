//! Sends MISP's frames through a real publisher. The seed decides which are lost, repeated, delayed or
//! reordered.

use std::collections::BTreeMap;

use axum::body::Bytes;
use misp_stand_in::Frame;
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::support::publisher::Publisher;

/// The order in which MISP's publisher empties its queues after a stall, as recorded.
const PRIORITY: [&str; 5] =
    ["misp_json", "misp_json_event", "misp_json_attribute", "misp_json_object", "misp_json_tag"];

/// The order of a subscriber whose publications come last: they have a connection of their own.
const PUBLICATIONS_LAST: [&str; 5] =
    ["misp_json_event", "misp_json_attribute", "misp_json_object", "misp_json_tag", "misp_json"];

pub(super) struct Wire {
    publisher: Publisher,
    up: bool,
    /// Frames that wait in MISP's queue while the publisher stalls or is down; `None`: it does not
    /// wait, what is said while it is down is lost.
    queue: Option<Vec<Frame>>,
    /// In which order that queue is sent.
    order: [&'static str; 5],
    /// Late frames, with the steps that they still wait.
    late: Vec<(u32, Bytes)>,
    /// Of a hundred.
    faults: u32,
    pub(super) counts: BTreeMap<&'static str, usize>,
}

impl Wire {
    pub(super) fn new(faults: u32) -> Self {
        let publisher = Publisher::bind();
        Self {
            publisher,
            up: true,
            queue: None,
            order: PRIORITY,
            late: Vec::new(),
            faults,
            counts: BTreeMap::new(),
        }
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    pub(super) async fn send(&mut self, frames: Vec<Frame>, draw: &mut StdRng) {
        for frame in frames {
            if let Some(queue) = &mut self.queue {
                queue.push(frame);
                continue;
            }
            let (fault, how) = (draw.random_range(0..100), draw.random_range(0..4));
            if fault >= self.faults {
                self.put(&frame.bytes).await;
                continue;
            }
            match how {
                0 | 1 => self.count("frames dropped"),
                2 => {
                    self.count("frames duplicated");
                    self.put(&frame.bytes).await;
                    self.put(&frame.bytes).await;
                }
                _ => {
                    self.count("frames delayed");
                    self.late.push((draw.random_range(1..8), frame.bytes));
                }
            }
        }
    }

    /// One step later.
    pub(super) async fn step(&mut self) {
        for (steps, _) in &mut self.late {
            *steps -= 1;
        }
        let due = self.late.extract_if(.., |(steps, _)| *steps == 0).collect::<Vec<_>>();
        for (_, frame) in due {
            self.put(&frame).await;
        }
    }

    /// The publisher stalls: what MISP says waits, and leaves topic by topic.
    pub(super) fn stall(&mut self, publications_last: bool) {
        if self.queue.is_none() {
            self.order = if publications_last { PUBLICATIONS_LAST } else { PRIORITY };
            self.count("feed stalls (topics reordered)");
            self.queue = Some(Vec::new());
        }
    }

    /// The publisher dies; what MISP says meanwhile waits in its queue, or is lost.
    pub(super) fn stop(&mut self, queued: bool) {
        if self.up {
            self.count("feed restarts");
            self.up = false;
            self.publisher.stop();
            if queued && self.queue.is_none() {
                self.queue = Some(Vec::new());
            }
        }
    }

    /// All is well again: what waited is sent, to whoever listens by now.
    pub(super) async fn go_on(&mut self) {
        if !self.up {
            self.up = true;
            self.publisher.start();
            self.put(&Frame::heartbeat(1).bytes).await;
        }
        let mut waiting = self.queue.take().unwrap_or_default();
        let order = std::mem::replace(&mut self.order, PRIORITY);
        waiting.sort_by_key(|frame| order.iter().position(|topic| *topic == frame.topic));
        for frame in waiting {
            self.put(&frame.bytes).await;
        }
    }

    /// No more faults, and nothing is held back.
    pub(super) async fn heal(&mut self) {
        self.faults = 0;
        self.go_on().await;
        for (_, frame) in std::mem::take(&mut self.late) {
            self.put(&frame).await;
        }
    }

    /// Past all faults.
    pub(super) async fn put(&mut self, frame: &[u8]) {
        if self.up {
            self.publisher.send(frame).await;
        } else {
            self.count("frames lost in feed restarts");
        }
    }

    fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }
}
