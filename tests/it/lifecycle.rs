//! Recorded MISP events through the whole relay.

use super::support::publisher::{Publisher, recorded_frame};
use super::support::relay::{Relay, held};
use super::support::sandbox::{eventually, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_publication_arrives() {
    let sandbox = start().await;
    let publisher = Publisher::bind();
    let mut relay = Relay::start(&sandbox, &publisher, &[]).await;
    publisher.send(&recorded_frame("zmq", "000332_misp_json.bin").frame).await;
    eventually(&sandbox, |sandbox| held(sandbox).len() == 50).await;
    let (code, _) = relay.stop();
    assert_eq!(code, Some(0));
}
