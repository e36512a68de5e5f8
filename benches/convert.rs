//! The hot path, bytes of a publication to claims, on the recorded event of 50,000 attributes.
//! `cargo bench --bench convert`; criterion's `elem/s` are attributes a second, on one core.

use std::hint::black_box;
use std::io::{self, Read};
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use misp_sentinel_relay::pure::convert;
use misp_sentinel_relay::pure::misp::Event;

const RECORDING: &str = "tests/recordings/zmq/010630_misp_json.bin.gz";
const ATTRIBUTES: u64 = 50_000;

fn publication() -> io::Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDING);
    let mut frame = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path)?).read_to_end(&mut frame)?;
    Ok(frame.strip_prefix(b"misp_json ").unwrap_or(&frame).to_vec())
}

fn bytes_to_claims(criterion: &mut Criterion) {
    #[expect(clippy::expect_used, reason = "without the recording there is nothing to measure")]
    let document = publication().expect(RECORDING);
    let mut group = criterion.benchmark_group("50000_attributes");
    group.sample_size(20).throughput(Throughput::Elements(ATTRIBUTES));
    group.bench_function("bytes_to_claims", |bencher| {
        bencher.iter(|| Event::parse(black_box(&document)).map(|event| convert::event(&event)));
    });
    group.bench_function("head_and_list", |bencher| {
        bencher.iter(|| Event::parse(black_box(&document)).map(|event| event.listed()));
    });
    group.bench_function("read_attributes", |bencher| {
        bencher.iter(|| Event::parse(black_box(&document)).map(|event| event.attributes().count()));
    });
    group.bench_function("content_hash", |bencher| {
        bencher.iter(|| {
            Event::parse(black_box(&document)).map(|event| {
                let mut hasher = blake3::Hasher::new();
                event.content(|piece| {
                    hasher.update(piece);
                });
                hasher.finalize()
            })
        });
    });
    group.finish();
}

criterion_group!(benches, bytes_to_claims);
criterion_main!(benches);
