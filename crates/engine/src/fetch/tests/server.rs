//! A server on this machine that answers as a test tells it to.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// One answer.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// A whole answer: status, header lines, body.
    Whole(u16, String, Vec<u8>),
    /// Stops after half of the body and hangs up.
    Half(Vec<u8>),
    /// Stops after half of the body and says nothing more.
    Silent(Vec<u8>),
}

impl Reply {
    pub(super) fn ok(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Whole(
            200,
            format!("Content-Type: {content_type}\r\n"),
            body.into(),
        )
    }

    pub(super) fn status(code: u16, headers: &str) -> Self {
        Self::Whole(code, headers.to_owned(), b"busy".to_vec())
    }
}

/// A request as it came, up to the blank line.
pub(super) type Request = String;

#[derive(Debug)]
pub(super) struct Server {
    listener: TcpListener,
    /// The answers for each path, in order; the last one stays.
    replies: BTreeMap<String, VecDeque<Reply>>,
    requests: Mutex<Vec<Request>>,
}

impl Server {
    pub(super) async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            replies: BTreeMap::new(),
            requests: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listener.local_addr().unwrap())
    }

    pub(super) fn on(&mut self, path: &str, reply: Reply) {
        let replies = self.replies.entry(path.to_owned()).or_default();
        replies.push_back(reply);
    }

    /// Answers until `work` is done.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            error = serve(&self.listener, &mut self.replies, &self.requests) => {
                panic!("the server failed: {error}")
            }
        }
    }

    pub(super) async fn requests(&self) -> Vec<Request> {
        self.requests.lock().await.clone()
    }

    /// The paths that were asked for, in order.
    pub(super) async fn asked(&self) -> Vec<String> {
        let requests = self.requests().await;
        let paths = requests
            .iter()
            .filter_map(|request| request.split(' ').nth(1));
        paths.map(str::to_owned).collect()
    }
}

async fn serve(
    listener: &TcpListener,
    replies: &mut BTreeMap<String, VecDeque<Reply>>,
    requests: &Mutex<Vec<Request>>,
) -> io::Error {
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => return error,
        };
        let request = read_request(&mut stream).await;
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        requests.lock().await.push(request);
        let reply = match replies.get_mut(&path) {
            Some(replies) if replies.len() > 1 => replies.pop_front(),
            Some(replies) => replies.front().cloned(),
            None => None,
        };
        let reply = reply.unwrap_or_else(|| Reply::status(404, ""));
        // A client that hangs up early is part of some tests.
        drop(answer(&mut stream, reply).await);
    }
}

async fn read_request(stream: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

async fn answer(stream: &mut TcpStream, reply: Reply) -> io::Result<()> {
    let (status, headers, body) = match &reply {
        Reply::Whole(status, headers, body) => (*status, headers.as_str(), body),
        Reply::Half(body) | Reply::Silent(body) => (200, "", body),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    match &reply {
        Reply::Whole(_, _, body) => stream.write_all(body).await?,
        Reply::Half(body) => stream.write_all(&body[..length / 2]).await?,
        Reply::Silent(body) => {
            stream.write_all(&body[..length / 2]).await?;
            // Until the client has had enough.
            let _ends = stream.read_u8().await;
        }
    }
    stream.shutdown().await
}
