//! Remote files of a server on this machine.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Cursor, Read, Seek, SeekFrom, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wheelfarm_core::source::RemoteUrl;
use zip::write::SimpleFileOptions;

use super::{RemoteClient, RemoteError, RemoteFile, RemoteOptions, RemoteProgress};
use crate::fetch::FetchOptions;
use crate::fetch::tests::server::{Cut, Ranged, Reply, Server};

const FILE: &str = "/files/a.whl";
const ETAG: &str = "ETag: \"one\"\r\n";

/// Limits that do not make a test wait.
fn options() -> RemoteOptions {
    RemoteOptions {
        fetch: FetchOptions {
            attempts: 3,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(2),
            ..FetchOptions::default()
        },
        whole_cap_bytes: 1 << 20,
        ..RemoteOptions::default()
    }
}

/// Bytes without a pattern that could hide a wrong place.
fn content(length: usize) -> Arc<[u8]> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn ranged(content: &Arc<[u8]>) -> Reply {
    Reply::Ranged(Ranged::new(content, ETAG))
}

fn cut(content: &Arc<[u8]>, cut: Cut) -> Reply {
    let ranged = Ranged::new(content, ETAG);
    Reply::Ranged(Ranged { cut, ..ranged })
}

fn without_suffix(content: &Arc<[u8]>, status: u16) -> Reply {
    let ranged = Ranged::new(content, ETAG);
    let refuses_suffix = Some(status);
    Reply::Ranged(Ranged {
        refuses_suffix,
        ..ranged
    })
}

/// Keeps what is told, and stops when a request is answered.
#[derive(Debug, Default, Clone)]
struct Told {
    steps: Arc<Mutex<Vec<RemoteProgress>>>,
    stop: CancellationToken,
    stop_at_request: Option<u64>,
}

impl Told {
    fn listener(&self) -> impl Fn(RemoteProgress) + Send + Sync + 'static {
        let told = self.clone();
        move |step| {
            if let RemoteProgress::Received { requests, .. } = step
                && Some(requests) == told.stop_at_request
            {
                told.stop.cancel();
            }
            told.steps.lock().unwrap().push(step);
        }
    }

    fn retries(&self) -> usize {
        let steps = self.steps.lock().unwrap();
        let is_retry = |step: &&RemoteProgress| matches!(step, RemoteProgress::Retrying { .. });
        steps.iter().filter(is_retry).count()
    }

    fn fetched_bytes(&self) -> u64 {
        let steps = self.steps.lock().unwrap();
        let fetched = steps.iter().filter_map(|step| match step {
            RemoteProgress::Received { fetched_bytes, .. } => Some(*fetched_bytes),
            RemoteProgress::Retrying { .. } => None,
        });
        fetched.max().unwrap_or_default()
    }
}

/// What came of work on a remote file.
struct Outcome<T> {
    res: Result<T, RemoteError>,
    requests: Vec<String>,
    told: Told,
}

/// Opens the file of a server that gives these answers, and works on it.
async fn read<T: Send + 'static>(
    replies: impl IntoIterator<Item = Reply>,
    options: RemoteOptions,
    told: Told,
    work: impl FnOnce(&mut RemoteFile) -> std::io::Result<T> + Send + 'static,
) -> Outcome<T> {
    let mut server = Server::new().await;
    let signed = format!("{FILE}?sig=secret");
    for reply in replies {
        server.on(&signed, reply);
    }
    let url = server.url(&signed).parse().unwrap();
    let res = server.during(open(url, options, told.clone(), work)).await;
    let requests = server.requests().await;
    Outcome {
        res,
        requests,
        told,
    }
}

async fn open<T: Send + 'static>(
    url: RemoteUrl,
    options: RemoteOptions,
    told: Told,
    work: impl FnOnce(&mut RemoteFile) -> std::io::Result<T> + Send + 'static,
) -> Result<T, RemoteError> {
    let working = tokio::task::spawn_blocking(move || {
        let client = RemoteClient::new(options)?;
        let mut file = client.open(url, told.stop.clone(), told.listener())?;
        // As the zip library does, which wraps I/O errors.
        work(&mut file).map_err(|error| {
            let error = zip::result::ZipError::Io(error);
            assert!(RemoteError::behind(&error).is_some(), "{error}");
            let zip::result::ZipError::Io(error) = error else {
                unreachable!()
            };
            *error.into_inner().unwrap().downcast().unwrap()
        })
    });
    working.await.unwrap()
}

fn whole(file: &mut RemoteFile) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The error, its causes, its hint and its kind, without the server's port.
fn report(error: &RemoteError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, "\n  caused by: {error}").unwrap();
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        write!(text, "\n  hint: {hint}").unwrap();
    }
    write!(text, "\n  kind: {:?}", error.kind()).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let mut parts = text.split("127.0.0.1:");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        out.push_str("127.0.0.1:<port>");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

#[track_caller]
fn refused<T>(outcome: Outcome<T>) -> String {
    match outcome.res {
        Ok(_) => panic!("it was read: {:?}", outcome.requests),
        Err(error) => report(&error),
    }
}

#[track_caller]
fn check_whole(outcome: &Outcome<Vec<u8>>, want: &[u8], requests: usize) {
    match &outcome.res {
        Ok(bytes) => assert!(bytes == want, "other bytes"),
        Err(error) => panic!("{}", report(error)),
    }
    assert_eq!(outcome.requests.len(), requests, "{:#?}", outcome.requests);
}

/// The values of one header over all requests.
fn header(requests: &[String], name: &str) -> Vec<Option<String>> {
    let value = |request: &String| {
        let mut lines = request.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.to_owned()))
    };
    requests.iter().map(value).collect()
}

#[tokio::test]
async fn a_zip_is_read_by_its_directory_and_the_member_wanted() {
    let members = content(6 << 20);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (number, bytes) in members.chunks(1 << 20).enumerate() {
        zip.start_file(format!("{number}.so"), stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let file: Arc<[u8]> = zip.finish().unwrap().into_inner().into();
    let outcome = read([ranged(&file)], options(), Told::default(), |file| {
        let mut zip = zip::ZipArchive::new(&mut *file)?;
        let mut bytes = Vec::new();
        zip.by_name("3.so")?.read_to_end(&mut bytes)?;
        Ok((bytes, file.fetched_bytes(), file.requests()))
    })
    .await;
    let (bytes, fetched_bytes, requests) = outcome.res.unwrap();
    assert!(bytes == members[3 << 20..4 << 20]);
    // The tail; then 64, 128, 256, 512, 1024 KiB, of which the last is not needed whole.
    assert_eq!(requests, 6);
    assert_eq!(fetched_bytes, 64 * 1024 * (1 + 1 + 2 + 4 + 8 + 16));
    assert_eq!(outcome.told.fetched_bytes(), fetched_bytes);
}

#[tokio::test]
async fn requests_ask_for_a_part_of_the_same_bytes_as_they_are() {
    let file = content(200_000);
    let outcome = read([ranged(&file)], options(), Told::default(), whole).await;
    check_whole(&outcome, &file, 3);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        header(&outcome.requests, "range"),
        [
            some("bytes=-65536"),
            some("bytes=0-65535"),
            some("bytes=65536-134463"),
        ]
    );
    assert_eq!(
        header(&outcome.requests, "if-range"),
        [None, some("\"one\""), some("\"one\"")]
    );
    let identity = vec![some("identity"); 3];
    assert_eq!(header(&outcome.requests, "accept-encoding"), identity);
    assert_eq!(outcome.told.fetched_bytes(), 200_000);
}

#[tokio::test]
async fn every_read_is_as_of_a_local_file_and_no_byte_comes_twice() {
    let file = content(3_000_001);
    let local = Arc::clone(&file);
    let outcome = read([ranged(&file)], options(), Told::default(), move |file| {
        let mut local = Cursor::new(&local[..]);
        let places = content(4000);
        for place in places.chunks(8) {
            let number = u64::from_be_bytes(place.try_into().unwrap());
            let place = match number % 3 {
                0 => SeekFrom::Start(number / 3 % 3_100_000),
                1 => SeekFrom::End(-i64::try_from(number / 3 % 3_000_000).unwrap()),
                _ => SeekFrom::Current(i64::try_from(number / 3 % 100_000).unwrap()),
            };
            assert_eq!(file.seek(place)?, local.seek(place)?);
            let length = number % 70_000;
            let (mut here, mut there) = (Vec::new(), Vec::new());
            Read::take(&mut *file, length).read_to_end(&mut here)?;
            Read::take(&mut local, length).read_to_end(&mut there)?;
            assert!(here == there, "at {place:?}");
        }
        assert!(file.seek(SeekFrom::End(-3_000_002)).is_err());
        Ok((file.fetched_bytes(), file.size_bytes()))
    })
    .await;
    let (fetched_bytes, size_bytes) = outcome.res.unwrap();
    assert_eq!(size_bytes, 3_000_001);
    assert!(fetched_bytes <= size_bytes, "{fetched_bytes}");
}

#[tokio::test]
async fn what_is_known_to_be_wanted_comes_in_one_request() {
    let file = content(3_000_000);
    let outcome = read([ranged(&file)], options(), Told::default(), |file| {
        file.prefetch(0..u64::MAX).unwrap();
        whole(file)
    })
    .await;
    check_whole(&outcome, &file, 2);
}

#[tokio::test]
async fn small_files_come_at_once_and_empty_ones_are_empty() {
    for length in [0, 1, 65_536] {
        let file = content(length);
        let outcome = read([ranged(&file)], options(), Told::default(), whole).await;
        check_whole(&outcome, &file, 1);
    }
}

#[tokio::test]
async fn servers_that_do_not_count_from_the_end_are_asked_otherwise() {
    let file = content(200_000);
    // The tail, or the beginning and the tail; then what is left.
    for (status, requests) in [(200, 4), (400, 5), (416, 5), (501, 5)] {
        let replies = [without_suffix(&file, status)];
        let outcome = read(replies, options(), Told::default(), whole).await;
        check_whole(&outcome, &file, requests);
        assert_eq!(outcome.told.retries(), 0);
    }
}

#[tokio::test]
async fn a_server_without_ranges_may_send_a_small_file_whole() {
    let file = content(200_000);
    let replies = [Reply::Whole(200, ETAG.to_owned(), file.to_vec())];
    let outcome = read(replies, options(), Told::default(), whole).await;
    check_whole(&outcome, &file, 2);
}

#[tokio::test]
async fn a_large_file_of_a_server_without_ranges_is_left_there() {
    let replies = [Reply::Whole(200, ETAG.to_owned(), vec![0; 8 << 20])];
    let outcome = read(replies, options(), Told::default(), whole).await;
    assert_eq!(outcome.told.fetched_bytes(), 0);
    insta::assert_snapshot!(refused(outcome), @"
    `http://127.0.0.1:<port>/files/a.whl?…` sends the whole file when asked for a part
      hint: the server does not take range requests; download it first
      kind: Address
    ");
}

#[tokio::test]
async fn a_cut_body_goes_on_where_it_broke() {
    let file = content(200_000);
    let replies = [
        cut(&file, Cut::HangsUp(1000)),
        cut(&file, Cut::HangsUp(64_000)),
        ranged(&file),
    ];
    let outcome = read(replies, options(), Told::default(), whole).await;
    check_whole(&outcome, &file, 5);
    let ranges = header(&outcome.requests, "range");
    assert_eq!(ranges[1].as_deref(), Some("bytes=135464-199999"));
    assert_eq!(ranges[2].as_deref(), Some("bytes=199464-199999"));
    assert_eq!(outcome.told.retries(), 2);
    assert_eq!(outcome.told.fetched_bytes(), 200_000, "no byte comes twice");
}

#[tokio::test]
async fn a_body_shorter_than_its_part_goes_on_where_it_ended() {
    let file = content(100_000);
    let headers = format!("{ETAG}Content-Range: bytes 0-34463/100000\r\n");
    let short = Reply::Whole(206, headers, file[..10].to_vec());
    let replies = [ranged(&file), short, ranged(&file)];
    let outcome = read(replies, options(), Told::default(), whole).await;
    check_whole(&outcome, &file, 3);
    let ranges = header(&outcome.requests, "range");
    assert_eq!(ranges[2].as_deref(), Some("bytes=10-34463"));
}

#[tokio::test]
async fn attempts_come_to_an_end() {
    let file = content(200_000);
    let replies = [cut(&file, Cut::HangsUp(10))];
    let outcome = read(replies, options(), Told::default(), whole).await;
    // One opens, and each of the three that go on brings a little.
    assert_eq!(outcome.requests.len(), 4);
    insta::assert_snapshot!(refused(outcome), @"
    the answer of `http://127.0.0.1:<port>/files/a.whl?…` broke off
      caused by: error decoding response body
      caused by: request or response body error
      caused by: error reading a body from connection
      caused by: end of file before message length reached
      kind: Network
    ");
}

#[tokio::test]
async fn a_long_transfer_may_break_more_often_than_a_short_one() {
    let file = content(8 << 20);
    let replies = [ranged(&file), cut(&file, Cut::HangsUp(1_100_000))];
    let outcome = read(replies, options(), Told::default(), |file| {
        file.prefetch(0..u64::MAX).unwrap();
        whole(file)
    })
    .await;
    check_whole(&outcome, &file, 9);
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let file = content(100_000);
    let busy = |status| Reply::status(status, "Retry-After: 7\r\n");
    let replies = [busy(429), ranged(&file), busy(503), ranged(&file)];
    let outcome = read(replies, options(), Told::default(), whole).await;
    check_whole(&outcome, &file, 4);
    let steps = outcome.told.steps.lock().unwrap();
    let waits: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            RemoteProgress::Retrying { wait, .. } => Some(*wait),
            RemoteProgress::Received { .. } => None,
        })
        .collect();
    // Seven seconds, by the cap of these tests.
    assert_eq!(waits, [options().fetch.longest_wait; 2]);
}

#[tokio::test]
async fn a_file_that_changes_is_not_mixed() {
    let file = content(200_000);
    let other = Reply::Ranged(Ranged::new(&content(200_000), "ETag: \"two\"\r\n"));
    let outcome = read([ranged(&file), other], options(), Told::default(), whole).await;
    insta::assert_snapshot!(refused(outcome), @"
    `http://127.0.0.1:<port>/files/a.whl?…` changed while it was read
      hint: read it again
      kind: Network
    ");
    // A server that gives no ETag and does not know `If-Range`: the length has changed.
    let replies = [(200_000), (200_001)];
    let replies = replies.map(|length| Reply::Ranged(Ranged::new(&content(length), "")));
    let outcome = read(replies, options(), Told::default(), whole).await;
    assert!(matches!(outcome.res, Err(RemoteError::Changed { .. })));
    // A server that does not know `If-Range` and tells the date.
    let replies = ["08:28:00", "08:28:01"].map(|time| {
        let headers = format!("Last-Modified: Wed, 21 Oct 2015 {time} GMT\r\n");
        Reply::Ranged(Ranged::new(&file, &headers))
    });
    let outcome = read(replies, options(), Told::default(), whole).await;
    assert!(matches!(outcome.res, Err(RemoteError::Changed { .. })));
}

#[tokio::test]
async fn a_file_that_became_shorter_has_changed() {
    let file = content(200_000);
    let shorter = Reply::status(416, "Content-Range: bytes */5\r\n");
    let outcome = read([ranged(&file), shorter], options(), Told::default(), whole).await;
    assert!(matches!(outcome.res, Err(RemoteError::Changed { .. })));
}

#[tokio::test]
async fn redirects_are_followed_from_the_address_each_time() {
    let file = content(100_000);
    let mut server = Server::new().await;
    for number in 1..=2 {
        let place = format!("Location: /cdn/{number}\r\n");
        server.on(FILE, Reply::status(302, &place));
        server.on(&format!("/cdn/{number}"), ranged(&file));
    }
    let url = server.url(FILE).parse().unwrap();
    let opening = open(url, options(), Told::default(), whole);
    let bytes = server.during(opening).await.unwrap();
    assert!(bytes == *file);
    assert_eq!(server.asked().await, [FILE, "/cdn/1", FILE, "/cdn/2"]);
    let ranges = header(&server.requests().await, "range");
    assert_eq!(ranges[1].as_deref(), Some("bytes=-65536"));
    assert_eq!(ranges[3].as_deref(), Some("bytes=0-34463"));
}

#[tokio::test]
async fn a_password_is_for_the_server_only() {
    let mut server = Server::new().await;
    let url = server.url(FILE).replace("http://", "http://me:secret@");
    let opening = open(url.parse().unwrap(), options(), Told::default(), whole);
    let error = server.during(opening).await.unwrap_err();
    assert!(report(&error).starts_with("`http://127.0.0.1:<port>/files/a.whl` answered 404"));
    let sent = header(&server.requests().await, "authorization");
    assert_eq!(sent, [Some("Basic bWU6c2VjcmV0".to_owned())]);
}

#[tokio::test]
async fn answers_that_are_none_are_refused() {
    let part = |range: &str| {
        let headers = format!("{ETAG}Content-Range: {range}\r\n");
        Reply::Whole(206, headers, vec![0; 10])
    };
    let file = content(200_000);
    let mut said = String::new();
    for replies in [
        vec![part("bytes 5-4/10")],
        vec![part("bytes 0-9/*")],
        vec![Reply::Whole(206, String::new(), vec![0; 10])],
        vec![Reply::Whole(
            206,
            "Content-Encoding: gzip\r\n".to_owned(),
            vec![0; 10],
        )],
        vec![ranged(&file), part("bytes 10-19/200000")],
        vec![ranged(&file), part("bytes 0-9/200000")],
        // Longer than it says.
        vec![part("bytes 0-1/10")],
        vec![Reply::status(416, "")],
        vec![part("bytes 0-9/18446744073709551615")],
    ] {
        let outcome = read(replies, options(), Told::default(), whole).await;
        let refused = refused(outcome);
        let shown = "http://127.0.0.1:<port>/files/a.whl?…";
        let line = refused.lines().next().unwrap().replace(shown, "<url>");
        writeln!(said, "{line}").unwrap();
    }
    insta::assert_snapshot!(said, @"
    `<url>` answered a request for `bytes=-65536` with a part `bytes 5-4/10`
    `<url>` answered a request for `bytes=-65536` with a part of a file whose length it does not tell
    `<url>` answered a request for `bytes=-65536` with a part without `Content-Range`
    `<url>` answered a request for `bytes=-65536` with content packed with `gzip`
    `<url>` answered a request for `bytes=0-65535` with the part 10-19
    `<url>` answered a request for `bytes=0-65535` with the part 0-9
    the answer of `<url>` is longer than 2 bytes
    `<url>` answered a request for `bytes=0-65535` with 416
    `<url>` answered a request for `bytes=18446744073709486079-18446744073709551614` with the part 0-9
    ");
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let mut said = String::new();
    for status in [404, 401, 403, 400, 500] {
        let replies = [Reply::status(status, "")];
        let outcome = read(replies, options(), Told::default(), whole).await;
        writeln!(said, "{}", refused(outcome)).unwrap();
    }
    insta::assert_snapshot!(said, @"
    `http://127.0.0.1:<port>/files/a.whl?…` answered 404 Not Found
      hint: correct the address; some servers also hide what needs a token that way
      kind: Address
    `http://127.0.0.1:<port>/files/a.whl?…` answered 401 Unauthorized
      hint: the file needs a token or the address has expired: take a new address, or download the file first
      kind: Address
    `http://127.0.0.1:<port>/files/a.whl?…` answered 403 Forbidden
      hint: the file needs a token or the address has expired: take a new address, or download the file first
      kind: Address
    `http://127.0.0.1:<port>/files/a.whl?…` answered 400 Bad Request
      kind: Network
    `http://127.0.0.1:<port>/files/a.whl?…` answered 500 Internal Server Error
      kind: Network
    ");
}

#[tokio::test]
async fn no_more_is_fetched_than_allowed() {
    let mut options = options();
    options.fetch.download_cap_bytes = 150_000;
    let file = content(200_000);
    let outcome = read([ranged(&file)], options, Told::default(), whole).await;
    assert_eq!(outcome.told.fetched_bytes(), 131_072);
    insta::assert_snapshot!(refused(outcome), @"
    reading `http://127.0.0.1:<port>/files/a.whl?…` takes more than 150000 bytes of it
      hint: download it first
      kind: Address
    ");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let mut options = options();
    options.fetch.stall_limit = Duration::from_millis(300);
    let file = content(200_000);
    let replies = [ranged(&file), cut(&file, Cut::Silence(10))];
    let outcome = read(replies, options, Told::default(), whole).await;
    assert_eq!(outcome.requests.len(), 4);
    insta::assert_snapshot!(refused(outcome), @"
    `http://127.0.0.1:<port>/files/a.whl?…` sent nothing for 0.3 s
      kind: Network
    ");
}

#[tokio::test]
async fn reading_stops_when_told_to() {
    let file = content(200_000);
    let replies = [ranged(&file), cut(&file, Cut::Silence(10))];
    let told = Told {
        stop_at_request: Some(2),
        ..Told::default()
    };
    let outcome = read(replies, options(), told, whole).await;
    assert!(matches!(outcome.res, Err(RemoteError::Stopped)));
    assert_eq!(outcome.requests.len(), 2);
}

#[tokio::test]
async fn a_stopped_client_opens_nothing() {
    let told = Told::default();
    told.stop.cancel();
    let outcome = read([], options(), told, whole).await;
    assert!(matches!(outcome.res, Err(RemoteError::Stopped)));
    assert!(outcome.requests.is_empty());
}

#[tokio::test]
async fn parts_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let options = RemoteOptions {
        temp_folder: folder.path().to_owned(),
        ..options()
    };
    let file = content(100_000);
    let outcome = read([ranged(&file)], options.clone(), Told::default(), whole).await;
    check_whole(&outcome, &file, 2);
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    drop(folder);
    let outcome = read([], options, Told::default(), whole).await;
    assert!(matches!(outcome.res, Err(RemoteError::File(_))));
}
