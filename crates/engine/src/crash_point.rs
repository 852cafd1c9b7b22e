//! The places at which a test ends the process: before and after whatever must not be half done.
//!
//! Outside of tests they are nothing.

/// A place where a crash must do no harm; `name` is for the one who reads a failed test.
#[cfg(not(test))]
pub(crate) const fn reach(_name: &str) {}

#[cfg(test)]
pub(crate) use test::{DIE_AT, reach, unwinding_at};

#[cfg(test)]
mod test {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Which place the process ends at, the first being 1.
    pub(crate) const DIE_AT: &str = "WHEELFARM_TEST_DIE_AT";

    static LEFT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let at = std::env::var(DIE_AT)
            .ok()
            .and_then(|text| text.parse().ok());
        AtomicU64::new(at.unwrap_or(0))
    });

    thread_local! {
        static UNWIND_AFTER: Cell<u64> = const { Cell::new(0) };
    }

    struct Cut;

    pub(crate) fn reach(name: &str) {
        UNWIND_AFTER.with(|left| {
            if left.get() > 0 {
                left.set(left.get() - 1);
                if left.get() == 0 {
                    // Without the hook, which would print it.
                    resume_unwind(Box::new(Cut));
                }
            }
        });
        let before = LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        if before == Ok(1) {
            eprintln!("cut at {name}");
            // Like kill -9, but for the name of the signal: nothing is flushed, nothing dropped.
            std::process::abort();
        }
    }

    /// Runs `work` up to the place of that number, the first being 1; `None` when it was cut there.
    /// What is on the stack is dropped: for code that leaves nothing to `Drop`.
    pub(crate) fn unwinding_at<T>(place: u64, work: impl FnOnce() -> T) -> Option<T> {
        UNWIND_AFTER.with(|left| left.set(place));
        let res = catch_unwind(AssertUnwindSafe(work));
        UNWIND_AFTER.with(|left| left.set(0));
        match res {
            Ok(done) => Some(done),
            Err(thrown) if thrown.is::<Cut>() => None,
            Err(thrown) => resume_unwind(thrown),
        }
    }
}
