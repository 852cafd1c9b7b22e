//! A server on this machine that answers as a test tells it to.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// One answer.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A whole answer: status, header lines, body.
    Whole(u16, String, Vec<u8>),
    /// Stops after half of the body and hangs up.
    Half(Vec<u8>),
    /// Stops after half of the body and says nothing more.
    Silent(Vec<u8>),
    /// The part that is asked for.
    Ranged(Ranged),
}

/// A file that is sent in parts.
#[derive(Debug, Clone)]
pub(crate) struct Ranged {
    pub(crate) content: Arc<[u8]>,
    /// Header lines of every answer: `ETag: "a"\r\n`.
    pub(crate) headers: String,
    /// The status of an answer to a range that counts from the end, if that is refused.
    pub(crate) refuses_suffix: Option<u16>,
    pub(crate) cut: Cut,
}

/// How a body ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    Never,
    /// After so many bytes it hangs up.
    HangsUp(usize),
    /// After so many bytes it says nothing more.
    Silence(usize),
}

impl Ranged {
    pub(crate) fn new(content: &Arc<[u8]>, headers: &str) -> Self {
        Self {
            content: Arc::clone(content),
            headers: headers.to_owned(),
            refuses_suffix: None,
            cut: Cut::Never,
        }
    }

    /// The whole answer to a request, length included, of which the body may be cut short.
    fn answer(&self, request: &str) -> (u16, String, &[u8]) {
        let header = |name: &str| {
            let mut lines = request.lines().filter_map(|line| line.split_once(": "));
            lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
        };
        let size = self.content.len();
        let changed = header("if-range").is_some_and(|same| !self.headers.contains(same));
        let Some(range) = header("range").filter(|_| !changed) else {
            return (200, self.headers.clone(), &self.content);
        };
        let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        let number = |text: &str| text.parse::<usize>().unwrap();
        let span = if first.is_empty() {
            match self.refuses_suffix {
                Some(200) => return (200, self.headers.clone(), &self.content),
                Some(status) => return (status, String::new(), b"no"),
                None => size.saturating_sub(number(last))..size,
            }
        } else {
            number(first)..(number(last) + 1).min(size)
        };
        if span.is_empty() {
            return (416, format!("Content-Range: bytes */{size}\r\n"), b"");
        }
        let (start, last) = (span.start, span.end - 1);
        let headers = &self.headers;
        let headers = format!("{headers}Content-Range: bytes {start}-{last}/{size}\r\n");
        (206, headers, &self.content[span])
    }
}

impl Reply {
    pub(crate) fn ok(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Whole(
            200,
            format!("Content-Type: {content_type}\r\n"),
            body.into(),
        )
    }

    pub(crate) fn status(code: u16, headers: &str) -> Self {
        Self::Whole(code, headers.to_owned(), b"busy".to_vec())
    }
}

/// A request as it came, up to the blank line.
pub(crate) type Request = String;

#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    /// The answers for each path, in order; the last one stays.
    replies: BTreeMap<String, VecDeque<Reply>>,
    requests: Mutex<Vec<Request>>,
}

impl Server {
    pub(crate) async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            replies: BTreeMap::new(),
            requests: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listener.local_addr().unwrap())
    }

    pub(crate) fn on(&mut self, path: &str, reply: Reply) {
        let replies = self.replies.entry(path.to_owned()).or_default();
        replies.push_back(reply);
    }

    /// Answers until `work` is done.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            error = serve(&self.listener, &mut self.replies, &self.requests) => {
                panic!("the server failed: {error}")
            }
        }
    }

    pub(crate) async fn requests(&self) -> Vec<Request> {
        self.requests.lock().await.clone()
    }

    /// The paths that were asked for, in order.
    pub(crate) async fn asked(&self) -> Vec<String> {
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
        requests.lock().await.push(request.clone());
        let reply = match replies.get_mut(&path) {
            Some(replies) if replies.len() > 1 => replies.pop_front(),
            Some(replies) => replies.front().cloned(),
            None => None,
        };
        let reply = reply.unwrap_or_else(|| Reply::status(404, ""));
        // A client that hangs up early is part of some tests.
        drop(answer(&mut stream, &request, reply).await);
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

async fn answer(stream: &mut TcpStream, request: &str, reply: Reply) -> io::Result<()> {
    let (status, headers, body) = match &reply {
        Reply::Whole(status, headers, body) => (*status, headers.clone(), body.as_slice()),
        Reply::Half(body) | Reply::Silent(body) => (200, String::new(), body.as_slice()),
        Reply::Ranged(ranged) => ranged.answer(request),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    match &reply {
        Reply::Whole(_, _, body) => stream.write_all(body).await?,
        Reply::Ranged(ranged) => match ranged.cut {
            Cut::Never => stream.write_all(body).await?,
            Cut::HangsUp(bytes) => stream.write_all(&body[..length.min(bytes)]).await?,
            Cut::Silence(bytes) => {
                stream.write_all(&body[..length.min(bytes)]).await?;
                let _ends = stream.read_u8().await;
            }
        },
        Reply::Half(body) => stream.write_all(&body[..length / 2]).await?,
        Reply::Silent(body) => {
            stream.write_all(&body[..length / 2]).await?;
            // Until the client has had enough.
            let _ends = stream.read_u8().await;
        }
    }
    stream.shutdown().await
}
