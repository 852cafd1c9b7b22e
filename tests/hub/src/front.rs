//! What stands before all servers: takes connections, numbers and logs requests, plays the faults, and
//! hands the rest to the server of the door.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::answer::{Answer, Asked, Counted, Refusal, bytes_answer, full, set};
use crate::fault::What;
use crate::hub::Hub;
use crate::log::Door;
use crate::wire::{Scissors, Wire};
use crate::{api, cas, cdn, spaces};

/// The connection is closed without an answer: hyper does so when a service fails.
#[derive(Debug, thiserror::Error)]
#[error("cut by a planted fault")]
struct Cut;

/// Takes connections until the task is dropped, and all its connections with it.
pub(crate) async fn serve(listener: TcpListener, door: Door, hub: Arc<Hub>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that is gone before it was accepted is the client's affair.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, door, Arc::clone(&hub)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, door: Door, hub: Arc<Hub>) {
    // Without it small answers wait for the client's acknowledgement, 40 ms each.
    stream.set_nodelay(true).ok();
    let scissors = Scissors::default();
    let wire = TokioIo::new(Wire::new(stream, scissors.clone()));
    let service =
        service_fn(move |request| answer(Arc::clone(&hub), door, scissors.clone(), request));
    // An error is a connection that a fault or the client ended; the log of requests has what matters.
    http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(wire, service)
        .await
        .ok();
}

async fn answer(
    hub: Arc<Hub>,
    door: Door,
    scissors: Scissors,
    request: Request<Incoming>,
) -> Result<Answer, Cut> {
    scissors.open();
    let authorized = request.headers().contains_key(AUTHORIZATION);
    let arrival = hub
        .log
        .arrive(door, request.method().as_str(), request.uri(), authorized);
    let number = arrival.number;
    let request = request.map(|body| Counted::new(body, arrival.body_bytes));
    let answer = match arrival.fault {
        None => handled(&hub, door, number, request).await,
        Some(what) => faulted(&hub, door, number, request, &scissors, what).await?,
    };
    hub.log.answered(number, answer.status().as_u16());
    Ok(answer)
}

async fn faulted(
    hub: &Arc<Hub>,
    door: Door,
    number: u64,
    request: Asked,
    scissors: &Scissors,
    what: What,
) -> Result<Answer, Cut> {
    match what {
        What::Status {
            code,
            headers,
            body,
        } => {
            let mut answer = Response::new(full(body));
            *answer.status_mut() = status(code);
            for (name, value) in headers {
                if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                    set(&mut answer, name, &value);
                }
            }
            Ok(answer)
        }
        What::StatusAfter(code) => {
            handled(hub, door, number, request).await;
            Ok(error_page(code))
        }
        What::CutBefore => Err(Cut),
        What::CutAfter => {
            handled(hub, door, number, request).await;
            Err(Cut)
        }
        What::CutAt(bytes) => {
            let answer = handled(hub, door, number, request).await;
            scissors.cut_after(bytes, Duration::ZERO);
            Ok(answer)
        }
        What::CdnErrorPage(code) => Ok(error_page(code)),
        What::Stall {
            after_bytes,
            silence,
        } => {
            let answer = handled(hub, door, number, request).await;
            scissors.cut_after(after_bytes, silence);
            Ok(answer)
        }
        What::WrongBytes => Ok(with_wrong_bytes(handled(hub, door, number, request).await).await),
        What::SlowBy(time) => {
            let answer = handled(hub, door, number, request).await;
            tokio::time::sleep(time).await;
            Ok(answer)
        }
        What::OtherCommit => {
            hub.other_commit(request.uri().path());
            Ok(handled(hub, door, number, request).await)
        }
    }
}

/// Carries a request out in a task of its own: what was begun goes on when the client hangs up, as on
/// the real Hub (hub.md section 4: "may still complete server-side after the timeout").
async fn handled(hub: &Arc<Hub>, door: Door, number: u64, request: Asked) -> Answer {
    let shared = Arc::clone(hub);
    let task = hub.tracker.spawn(async move {
        match door {
            Door::Hub => api::answer(&shared, number, request).await,
            Door::Cdn => cdn::answer(&shared, request).await,
            Door::Cas => cas::answer(&shared, request).await,
            Door::Spaces => spaces::answer(&shared, request).await,
        }
    });
    task.await.unwrap_or_else(|error| {
        let message = format!("the test Hub failed: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message).into()
    })
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// In the words of `CloudFront`, as uploads met it
/// (<https://github.com/huggingface/huggingface_hub/issues/3071>).
fn error_page(code: u16) -> Answer {
    let page = format!(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01 Transitional//EN\">\n\
         <HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD>\n\
         <BODY><H1>{code} ERROR</H1><H2>The request could not be satisfied.</H2></BODY></HTML>\n"
    );
    bytes_answer(status(code), "text/html; charset=utf-8", page)
}

/// The same answer with one bit turned in the middle of its body.
async fn with_wrong_bytes(answer: Answer) -> Answer {
    let (head, body) = answer.into_parts();
    let mut bytes = match body.collect().await {
        Ok(collected) => collected.to_bytes().to_vec(),
        Err(error) => return Refusal::from(error).into(),
    };
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    Response::from_parts(head, full(Bytes::from(bytes)))
}
