//! As much of HTTP/1.1 as pip and uv speak to a server of files: `GET` and `HEAD`, ranges, one request a
//! connection. It listens on loopback alone, and only to programs that the table has started.

use std::io::{self, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use camino::Utf8PathBuf;
use fs_err::tokio::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The longest head of a request.
const HEAD_CAP_BYTES: usize = 32 << 10;

/// How much of a file is sent at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// How long a client may take to send its request, or to take the next part of an answer.
const STALL_LIMIT: Duration = Duration::from_mins(1);

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// The path with escapes resolved, and without the query.
    pub(super) path: String,
    /// The path as it came.
    pub(super) raw_path: String,
    /// The types that the client takes.
    pub(super) accept: String,
    is_head: bool,
    range: Option<String>,
}

/// What it gets.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Bytes(Bytes),
    File { path: Utf8PathBuf, size_bytes: u64 },
}

impl Answer {
    /// A text or a small file.
    pub(super) fn bytes(content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            headers: vec![("Content-Type", content_type.to_owned())],
            body: Body::Bytes(body.into()),
        }
    }

    /// A file of this machine.
    pub(super) async fn file(path: Utf8PathBuf) -> Self {
        match fs_err::tokio::metadata(&path).await {
            Ok(facts) => Self {
                status: 200,
                headers: vec![("Content-Type", "application/octet-stream".to_owned())],
                body: Body::File {
                    path,
                    size_bytes: facts.len(),
                },
            },
            Err(error) => {
                tracing::warn!(%path, %error, "a file of the release cannot be read");
                Self::status(500, "the file cannot be read")
            }
        }
    }

    /// Another place.
    pub(super) fn redirect(status: u16, location: String) -> Self {
        Self {
            status,
            headers: vec![("Location", location)],
            body: Body::Bytes(Bytes::new()),
        }
    }

    /// A refusal.
    pub(super) fn status(status: u16, text: &'static str) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", "text/plain; charset=utf-8".to_owned())],
            body: Body::Bytes(Bytes::from_static(text.as_bytes())),
        }
    }

    /// The same with one more header.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn size_bytes(&self) -> u64 {
        match &self.body {
            Body::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Body::File { size_bytes, .. } => *size_bytes,
        }
    }
}

/// A place that listens.
#[derive(Debug)]
pub(super) struct Listener {
    listener: TcpListener,
    /// Its address: `http://127.0.0.1:40123`.
    pub(super) address: String,
}

impl Listener {
    /// Listens on a free port of loopback.
    pub(super) async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = format!("http://{}", listener.local_addr()?);
        Ok(Self { listener, address })
    }

    /// Answers until it is dropped, and with it every answer that is under way.
    pub(super) async fn serve<A, F>(&self, answer: Arc<A>) -> io::Error
    where
        A: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(_) = open.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        open.spawn(converse(stream, Arc::clone(&answer)));
                    }
                    Err(error) => return error,
                },
            }
        }
    }
}

/// One request and its answer. A client that hangs up knows enough.
async fn converse<A, F>(mut stream: TcpStream, answer: Arc<A>)
where
    A: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let request = match tokio::time::timeout(STALL_LIMIT, read(&mut stream)).await {
        Ok(Ok(Some(request))) => request,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => return tracing::debug!(%error, "request not read"),
    };
    let answer = answer(request.clone()).await;
    if let Err(error) = send(&mut stream, &request, answer).await {
        tracing::debug!(%error, "answer not sent to its end");
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut chunk).await?;
        if length == 0 || head.len() + length > HEAD_CAP_BYTES {
            return Ok(None);
        }
        head.extend_from_slice(&chunk[..length]);
    }
    Ok(parse(&String::from_utf8_lossy(&head)))
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let is_head = match first.next()? {
        "GET" => false,
        "HEAD" => true,
        _ => return None,
    };
    let target = first.next()?;
    let raw_path = target.split_once('?').map_or(target, |(path, _)| path);
    let headers: Vec<(&str, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let header = |wanted: &str| {
        let mut found = headers.iter();
        let found = found.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| (*value).to_owned())
    };
    Some(Request {
        path: decoded(raw_path)?,
        raw_path: raw_path.to_owned(),
        accept: header("accept").unwrap_or_default(),
        is_head,
        range: header("range"),
    })
}

/// The text with `%2B` and its like resolved.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// What a range header asks for of a body, if it is one that can be answered.
fn span(range: &str, size_bytes: u64) -> Option<Range<u64>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let span = match (first, last) {
        ("", count) => size_bytes.saturating_sub(count.parse().ok()?)..size_bytes,
        (first, "") => first.parse().ok()?..size_bytes,
        (first, last) => {
            let last: u64 = last.parse().ok()?;
            first.parse().ok()?..last.saturating_add(1).min(size_bytes)
        }
    };
    (span.start < span.end).then_some(span)
}

async fn send(stream: &mut TcpStream, request: &Request, mut answer: Answer) -> io::Result<()> {
    let size_bytes = answer.size_bytes();
    let mut part = 0..size_bytes;
    if let (200, Some(range)) = (answer.status, &request.range) {
        if let Some(span) = span(range, size_bytes) {
            answer.status = 206;
            let told = format!("bytes {}-{}/{size_bytes}", span.start, span.end - 1);
            answer.headers.push(("Content-Range", told));
            part = span;
        } else {
            answer =
                Answer::status(416, "").with("Content-Range", &format!("bytes */{size_bytes}"));
            part = 0..0;
        }
    }
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    let length = (part.end - part.start).to_string();
    let common = [
        ("Accept-Ranges", "bytes"),
        ("Content-Length", length.as_str()),
        ("Connection", "close"),
    ];
    let own = answer.headers.iter();
    let own = own.map(|(name, value)| (*name, value.as_str()));
    for (name, value) in own.chain(common) {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    write(stream, head.as_bytes()).await?;
    if !request.is_head {
        send_body(stream, answer.body, part).await?;
    }
    stream.shutdown().await
}

async fn send_body(stream: &mut TcpStream, body: Body, part: Range<u64>) -> io::Result<()> {
    match body {
        Body::Bytes(bytes) => {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            write(stream, &bytes[place(part.start)..place(part.end)]).await
        }
        Body::File { path, .. } => {
            let mut file = File::open(&path).await?;
            file.seek(SeekFrom::Start(part.start)).await?;
            let mut rest = file.take(part.end - part.start);
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                let length = rest.read(&mut chunk).await?;
                if length == 0 {
                    return Ok(());
                }
                write(stream, &chunk[..length]).await?;
            }
        }
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    tokio::time::timeout(STALL_LIMIT, stream.write_all(bytes)).await?
}

/// The words that go with a status; clients show them.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        302 => "Found",
        307 => "Temporary Redirect",
        403 => "Forbidden",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        502 => "Bad Gateway",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_clients_write_them() {
        let head = "GET /row/3/a%2Bb/?x=1 HTTP/1.1\r\nHost: x\r\nACCEPT: text/html;q=0.1\r\nRange: bytes=0-9\r\n\r\n";
        let request = parse(head).unwrap();
        assert_eq!(
            (request.path.as_str(), request.raw_path.as_str()),
            ("/row/3/a+b/", "/row/3/a%2Bb/")
        );
        assert_eq!(request.accept, "text/html;q=0.1");
        assert_eq!(request.range.as_deref(), Some("bytes=0-9"));
        assert!(!request.is_head && parse("HEAD / HTTP/1.1\r\n\r\n").unwrap().is_head);
        for bad in [
            "",
            "POST / HTTP/1.1",
            "GET /%2 HTTP/1.1",
            "GET /%zz HTTP/1.1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        for (range, want) in [
            ("bytes=0-9", Some(0..10)),
            ("bytes=90-200", Some(90..100)),
            ("bytes=90-", Some(90..100)),
            ("bytes=-10", Some(90..100)),
            ("bytes=-1000", Some(0..100)),
            ("bytes=100-", None),
            ("bytes=-0", None),
            ("bytes=5-4", None),
            ("lines=1-2", None),
            ("bytes=x-y", None),
        ] {
            assert_eq!(span(range, 100), want, "{range}");
        }
    }
}
