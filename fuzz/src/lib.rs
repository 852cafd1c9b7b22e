//! The checks of `checks.rs` under libFuzzer, with an allocator that stops what takes too much
//! memory. The sanitizers would do that too, but they need a nightly compiler.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

pub mod checks;

/// No input of a fuzz target may make the readers hold more than this. The caps of `checks.rs` are
/// chosen so that honest work stays below a quarter of it.
const LIVE_CAP_BYTES: usize = 128 << 20;

struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static CAP_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);

fn taken(bytes: usize) {
    let live = LIVE_BYTES.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if live > CAP_BYTES.load(Ordering::Relaxed) {
        // The message and the stack need memory of their own.
        CAP_BYTES.store(usize::MAX, Ordering::Relaxed);
        let trace = std::backtrace::Backtrace::force_capture();
        eprintln!("the input made the readers hold {live} bytes, the last {bytes} here:\n{trace}");
        std::process::abort();
    }
}

// SAFETY: everything is the system's allocator's; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs a check with the memory bounded.
pub fn run(check: checks::Check, bytes: &[u8]) {
    let before = LIVE_BYTES.load(Ordering::Relaxed);
    CAP_BYTES.store(before.saturating_add(LIVE_CAP_BYTES), Ordering::Relaxed);
    check(bytes);
    CAP_BYTES.store(usize::MAX, Ordering::Relaxed);
}
