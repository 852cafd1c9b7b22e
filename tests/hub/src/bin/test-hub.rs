//! The test Hub as a program, for scripts: prints one line of JSON with its addresses when it listens,
//! and runs until its standard input ends or it is killed.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Parser, ValueEnum};
use serde_json::json;
use test_hub::{
    Fault, Limits, Mode, OIDC_REQUEST_TOKEN, Options, READ_TOKEN, STRANGER_TOKEN, TestHub,
    TrustedPublisher, WRITE_TOKEN, What, XetCheck,
};

/// A Hugging Face Hub on loopback, for tests.
#[derive(Debug, Parser)]
struct Args {
    /// Port of the Hub; 0 takes any that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Storage of LFS files
    #[arg(long, value_enum, default_value_t = Storage::Xet)]
    mode: Storage,
    /// Folder for contents; in a temporary folder and in memory without it
    #[arg(long)]
    data: Option<Utf8PathBuf>,
    /// Make this repo first, such as `farm/wheels` or `spaces/farm/index`; may be repeated
    #[arg(long)]
    repo: Vec<String>,
    /// Make this private repo first; may be repeated
    #[arg(long)]
    private_repo: Vec<String>,
    /// Trust this CI job, as SUBJECT=RESOURCE; may be repeated
    #[arg(long)]
    publisher: Vec<String>,
    /// Rows on a page of a tree
    #[arg(long)]
    page_rows: Option<usize>,
    /// Commits to a repo in an hour
    #[arg(long)]
    commits_per_hour: Option<u32>,
    /// Requests to the API in five minutes
    #[arg(long)]
    api_requests: Option<u32>,
    /// Plain LFS uploads above this many bytes go in parts
    #[arg(long)]
    multipart_from_bytes: Option<u64>,
    /// Bytes of such a part
    #[arg(long)]
    multipart_part_bytes: Option<u64>,
    /// Milliseconds for which a commit locks its repo
    #[arg(long, default_value_t = 0)]
    commit_ms: u64,
    /// Believe the digests in shards instead of hashing the files of Xet again, for measurements
    #[arg(long)]
    believe_shards: bool,
    /// Close the connection after this request was carried out, before the answer
    #[arg(long)]
    cut_after: Option<u64>,
    /// Close the connection at this request, before anything is done
    #[arg(long)]
    cut_before: Option<u64>,
    /// Run until killed, whatever becomes of standard input
    #[arg(long)]
    detached: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Storage {
    Xet,
    Lfs,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let hub = TestHub::start_blocking(options(&args)?)?;
    for repo in &args.repo {
        hub.create_repo(repo, false)?;
    }
    for repo in &args.private_repo {
        hub.create_repo(repo, true)?;
    }
    let faults = [
        (args.cut_after, What::CutAfter),
        (args.cut_before, What::CutBefore),
    ];
    for (number, what) in faults {
        if let Some(number) = number {
            hub.plant(Fault::at_request(number, what));
        }
    }
    let addresses = json!({
        "cas": hub.cas(),
        "cdn": hub.cdn(),
        "endpoint": hub.endpoint(),
        "oidc_request_token": OIDC_REQUEST_TOKEN,
        "oidc_request_url": hub.oidc_request_url(),
        "read_token": READ_TOKEN,
        "spaces": hub.space_url("OWNER", "NAME").trim_end_matches("/OWNER/NAME"),
        "stranger_token": STRANGER_TOKEN,
        "write_token": WRITE_TOKEN,
    });
    let mut out = std::io::stdout();
    writeln!(out, "{addresses}")?;
    out.flush()?;
    if args.detached {
        loop {
            std::thread::park();
        }
    }
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest)?;
    let sent: u64 = hub
        .requests()
        .iter()
        .map(|request| request.body_bytes)
        .sum();
    writeln!(
        out,
        "{}",
        json!({ "body_bytes": sent, "requests": hub.request_count() })
    )?;
    Ok(())
}

fn options(args: &Args) -> Result<Options, String> {
    let defaults = Limits::default();
    let publisher = |text: &String| {
        let (subject, resource) = text
            .rsplit_once('=')
            .ok_or_else(|| format!("`{text}` is not SUBJECT=RESOURCE"))?;
        Ok(TrustedPublisher {
            subject: subject.to_owned(),
            resource: resource.to_owned(),
        })
    };
    Ok(Options {
        mode: match args.mode {
            Storage::Xet => Mode::Xet,
            Storage::Lfs => Mode::Lfs,
        },
        port: args.port,
        data: args.data.clone(),
        trusted_publishers: args
            .publisher
            .iter()
            .map(publisher)
            .collect::<Result<_, String>>()?,
        limits: Limits {
            page_rows: args.page_rows.unwrap_or(defaults.page_rows),
            commits_per_hour: args.commits_per_hour.unwrap_or(defaults.commits_per_hour),
            api_requests: args.api_requests.unwrap_or(defaults.api_requests),
            multipart_from_bytes: args
                .multipart_from_bytes
                .unwrap_or(defaults.multipart_from_bytes),
            multipart_part_bytes: args
                .multipart_part_bytes
                .unwrap_or(defaults.multipart_part_bytes),
            ..defaults
        },
        commit_time: Duration::from_millis(args.commit_ms),
        xet_check: if args.believe_shards {
            XetCheck::Shard
        } else {
            XetCheck::Bytes
        },
        ..Options::default()
    })
}
