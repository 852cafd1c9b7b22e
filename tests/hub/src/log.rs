//! The log of requests: what arrived on which port, in which order, and what became of it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{Fault, Planted, What};

/// Which of the Hub's servers a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// The Hub itself: API and resolve.
    Hub,
    /// The content delivery network, where contents are uploaded to and downloaded from.
    Cdn,
    /// The content-addressed storage of Xet.
    Cas,
    /// The static Spaces.
    Spaces,
}

/// One request of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its number; the first request of a Hub has 1.
    pub number: u64,
    /// Where it arrived.
    pub door: Door,
    /// The method, in capitals.
    pub method: String,
    /// The path as it was on the wire, without the query.
    pub path: String,
    /// The query, without its question mark; empty where there is none.
    pub query: String,
    /// Whether it had an `Authorization` header. What stood in it is not kept.
    pub authorized: bool,
    /// The status of the answer, whole or cut; none while there is none, and none where a fault lets no
    /// byte of it out.
    pub status: Option<u16>,
    /// The fault that hit it.
    pub fault: Option<What>,
    /// Bytes of its body that the Hub has read, without the transfer encoding.
    pub body_bytes: u64,
}

/// What the log says of a request when it arrives.
pub(crate) struct Arrival {
    pub(crate) number: u64,
    pub(crate) fault: Option<What>,
    pub(crate) body_bytes: Arc<AtomicU64>,
}

/// All requests, and the faults, which are matched under the same lock so that numbers cannot race.
#[derive(Debug, Default)]
pub(crate) struct Log {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    requests: Vec<(Request, Arc<AtomicU64>)>,
    planted: Planted,
}

impl Log {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("no code panics while it holds the log")
    }

    pub(crate) fn arrive(
        &self,
        door: Door,
        method: &str,
        uri: &hyper::Uri,
        authorized: bool,
    ) -> Arrival {
        let mut inner = self.lock();
        let number = u64::try_from(inner.requests.len())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let fault = inner.planted.hit(number, method, uri.path());
        let body_bytes = Arc::new(AtomicU64::new(0));
        let request = Request {
            number,
            door,
            method: method.to_owned(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            authorized,
            status: None,
            fault: fault.clone(),
            body_bytes: 0,
        };
        inner.requests.push((request, Arc::clone(&body_bytes)));
        Arrival {
            number,
            fault,
            body_bytes,
        }
    }

    pub(crate) fn answered(&self, number: u64, status: u16) {
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        if let Some((request, _)) = self.lock().requests.get_mut(index) {
            request.status = Some(status);
        }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock()
            .requests
            .iter()
            .map(|(request, bytes)| Request {
                body_bytes: bytes.load(Ordering::Relaxed),
                ..request.clone()
            })
            .collect()
    }

    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.lock().requests.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn plant(&self, fault: Fault) {
        self.lock().planted.plant(fault);
    }

    pub(crate) fn clear_faults(&self) {
        self.lock().planted.clear();
    }
}
