//! Lays out the release of a catalog, and again with one wheel more, for measurements:
//! `layout_bench manifest.json` prints how long it takes and how many bytes of pages change.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a tool for measurements, that reads a file and a clock"
)]

use std::time::Instant;

use wheelfarm_core::release::catalog::{Catalog, FILE_NAME};
use wheelfarm_core::release::layout::Layout;
use wheelfarm_core::release::links::Links;

fn main() {
    let path = std::env::args().nth(1).unwrap();
    let all = Catalog::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut fewer = all.clone();
    fewer.wheels.pop_last();
    let links = Links::Hub {
        endpoint: "https://huggingface.co".to_owned(),
        repository: "farm/wheels".to_owned(),
    };
    let files = |catalog| {
        let layout = Layout {
            catalog,
            links: &links,
            index_url: None,
        };
        layout.files()
    };
    let before = files(&fewer);
    let started = Instant::now();
    let after = files(&all);
    let took = started.elapsed();
    let changed = after
        .iter()
        .filter(|(path, text)| before.get(*path) != Some(text));
    let (mut count, mut bytes) = (0, 0);
    for (path, text) in changed {
        count += 1;
        bytes += if path == FILE_NAME { 0 } else { text.len() };
    }
    println!("layout_ms {}", took.as_millis());
    println!("wheels {}", all.wheels.len());
    println!("files {}", after.len());
    println!("bytes {}", after.values().map(Vec::len).sum::<usize>());
    println!("catalog_bytes {}", after[FILE_NAME].len());
    println!("changed_files {count}");
    println!("changed_page_bytes {bytes}");
}
