//! One commit for one change, whatever becomes of the answer.
//!
//! A commit is made on a parent, and the Hub takes none whose parent is not the head of the branch. So
//! the same commit asked for twice can land once only, and an answer that is lost, late or refused
//! for another's sake is settled by looking: each commit carries a mark of its own in its description.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use wheelfarm_core::digest::Sha256Digest;

use super::address::{Slashes, encoded};
use super::api::{Api, Branch, is_commit};
use super::blob_id::Held;
use super::calls::{Call, Trouble, parsed};
use super::error::HubError;

/// How long the Hub may think over a commit. Its own limit is 60 s, and it was seen to take 88 s for
/// 10,000 files (hub.md, section 4).
const PATIENCE: Duration = Duration::from_mins(3);

/// How many commits are looked through for one's own.
const COMMITS: usize = 200;

/// How often one looks whether the Hub has what was sent.
pub(super) const LOOKS: u32 = 4;

/// What stands before the mark of a commit, in a line of its description.
const MARK: &str = "Wheelfarm-Change: ";

/// What a commit does to one path.
#[derive(Debug, Clone)]
pub(super) enum Line {
    /// A file is put there, with its content.
    File {
        /// Where.
        path: String,
        /// What.
        content: Bytes,
    },
    /// A file that was uploaded is put there.
    Lfs {
        /// Where.
        path: String,
        /// Its digest.
        sha256: Sha256Digest,
        /// Its length.
        size_bytes: u64,
    },
    /// The file there is removed.
    Delete {
        /// Where.
        path: String,
    },
}

/// A commit that is to be made.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    /// The branch.
    pub(super) branch: &'a str,
    /// The commit it is made on; none for the first of a branch.
    pub(super) parent: Option<&'a str>,
    /// What it is about, in a line.
    pub(super) title: &'a str,
    /// Further lines of its message.
    pub(super) notes: &'a str,
    /// What it does.
    pub(super) lines: &'a [Line],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    commit_oid: String,
}

/// What became of a commit whose answer is in doubt.
#[derive(Debug, PartialEq, Eq)]
enum Settled {
    /// It is there.
    Landed(String),
    /// The branch is where it was.
    Open,
    /// Another is there.
    Other(String),
}

impl Line {
    fn json(&self) -> serde_json::Value {
        use base64::Engine as _;

        match self {
            Self::File { path, content } => serde_json::json!({
                "key": "file",
                "value": {
                    "path": path,
                    "encoding": "base64",
                    "content": base64::engine::general_purpose::STANDARD.encode(content),
                },
            }),
            Self::Lfs {
                path,
                sha256,
                size_bytes,
            } => serde_json::json!({
                "key": "lfsFile",
                "value": {
                    "path": path,
                    "algo": "sha256",
                    "oid": sha256.to_string(),
                    "size": size_bytes,
                },
            }),
            Self::Delete { path } => {
                serde_json::json!({ "key": "deletedFile", "value": { "path": path } })
            }
        }
    }

    /// What is at the path afterwards.
    fn outcome(&self) -> (&str, Option<Held>) {
        match self {
            Self::File { path, content } => (path, Some(Held::blob(content))),
            Self::Lfs {
                path,
                sha256,
                size_bytes,
            } => {
                let held = Held::Lfs {
                    sha256: *sha256,
                    size_bytes: *size_bytes,
                };
                (path, Some(held))
            }
            Self::Delete { path } => (path, None),
        }
    }
}

impl Draft<'_> {
    fn body(&self, mark: &str) -> Bytes {
        let gap = if self.notes.is_empty() { "" } else { "\n" };
        let mut header = serde_json::json!({
            "summary": self.title,
            "description": format!("{}{gap}{MARK}{mark}\n", self.notes),
        });
        if let Some(parent) = self.parent {
            header["parentCommit"] = parent.into();
        }
        let mut body = serde_json::json!({ "key": "header", "value": header }).to_string();
        body.push('\n');
        for line in self.lines {
            body.push_str(&line.json().to_string());
            body.push('\n');
        }
        Bytes::from(body)
    }
}

impl Api {
    /// Makes a commit, once, and gives its id. What the Hub holds is compared afterwards with what was
    /// to be there.
    pub(super) async fn commit(&self, draft: &Draft<'_>) -> Result<String, HubError> {
        let mark = mark();
        let commit = self.landed(draft, &mark).await?;
        let checked = self.check(draft, &commit).await;
        checked.map_err(|error| self.in_doubt(error))?;
        Ok(commit)
    }

    /// The failure to see what came of a commit that was asked for.
    fn in_doubt(&self, error: HubError) -> HubError {
        HubError::InDoubt {
            address: self.repository.to_string(),
            source: Box::new(error),
        }
    }

    async fn landed(&self, draft: &Draft<'_>, mark: &str) -> Result<String, HubError> {
        let doing = format!("commit to branch `{}`", draft.branch);
        let rest = format!("commit/{}", encoded(draft.branch, Slashes::Encoded));
        let call = Call {
            body: Some(("application/x-ndjson", draft.body(mark))),
            patience: PATIENCE,
            ..self.with_token(Call::post(&doing, self.url(&rest), Bytes::new()))
        };
        let limits = self.calls.limits().clone();
        let mut attempt = 1;
        loop {
            let answered = self.calls.once(&call).await;
            let answered = answered.and_then(|answer| parsed::<Answered>(&answer.bytes));
            let trouble = match answered {
                Ok(answer) if is_commit(&answer.commit_oid) => return Ok(answer.commit_oid),
                Ok(_) => Trouble::Senseless("a commit that is none".to_owned()),
                Err(trouble) => trouble,
            };
            let wait = trouble.asked_wait();
            if !is_in_doubt(&trouble) || wait.is_some_and(|wait| wait > limits.longest_wait) {
                // A first attempt that was refused outright has made none.
                let is_sure = attempt == 1 && is_refused(&trouble);
                let error = self.failed(&doing, trouble);
                return Err(if is_sure { error } else { self.in_doubt(error) });
            }
            let reason = trouble.to_string();
            self.calls.pause(&doing, &reason, attempt, wait).await;
            let settled = self.settled(draft, mark).await;
            match settled.map_err(|error| self.in_doubt(error))? {
                Settled::Landed(commit) => return Ok(commit),
                Settled::Other(now) => {
                    return Err(HubError::ChangedMeanwhile {
                        address: self.repository.to_string(),
                        read: draft.parent.unwrap_or("nothing").to_owned(),
                        now,
                    });
                }
                Settled::Open if attempt < limits.attempts => attempt += 1,
                Settled::Open => {
                    return Err(HubError::NoCommit {
                        address: self.repository.to_string(),
                        reason,
                    });
                }
            }
        }
    }

    /// What became of a commit, by the branch as it is now.
    async fn settled(&self, draft: &Draft<'_>, mark: &str) -> Result<Settled, HubError> {
        if draft.parent.is_none() && self.branch(draft.branch).await? == Branch::Missing {
            return Ok(Settled::Open);
        }
        let is_ours = |message: &str| message.contains(&format!("{MARK}{mark}"));
        let (commits, _) = self
            .commits(draft.branch, |commits| {
                let is_known = |id: &str| Some(id) == draft.parent;
                commits
                    .iter()
                    .any(|commit| is_ours(&commit.message) || is_known(&commit.id))
                    || commits.len() > COMMITS
            })
            .await?;
        if let Some(ours) = commits.iter().find(|commit| is_ours(&commit.message)) {
            return Ok(Settled::Landed(ours.id.clone()));
        }
        let Some(head) = commits.first() else {
            return Ok(Settled::Open);
        };
        if Some(head.id.as_str()) == draft.parent {
            return Ok(Settled::Open);
        }
        // A Hub that keeps no descriptions has the files all the same. Somebody else's commit may have them
        // too, and more: it is ours only where nothing else came after what was read.
        let is_next = commits.get(1).map(|commit| commit.id.as_str()) == draft.parent;
        let is_others = head.message.contains(MARK);
        if is_next && !is_others && self.difference(draft, &head.id).await?.is_none() {
            return Ok(Settled::Landed(head.id.clone()));
        }
        Ok(Settled::Other(head.id.clone()))
    }

    /// Compares what the Hub says of a commit with what was to be there.
    async fn check(&self, draft: &Draft<'_>, commit: &str) -> Result<(), HubError> {
        let mut attempt = 1;
        let difference = loop {
            // What is read may lag behind what was written, and may be read wrongly once.
            let reason = match self.difference(draft, commit).await {
                Err(HubError::Refused { status: 404, .. }) if attempt < LOOKS => {
                    "the Hub does not know its new commit yet"
                }
                Ok(Some(_)) if attempt < LOOKS => "the Hub does not say yet what was sent",
                difference => break difference?,
            };
            let doing = "check the commit";
            self.calls.pause(doing, reason, attempt, None).await;
            attempt += 1;
        };
        match difference {
            None => Ok(()),
            Some((path, found, wanted)) => Err(HubError::Differs {
                address: self.repository.to_string(),
                commit: commit.to_owned(),
                path,
                found,
                wanted,
            }),
        }
    }

    /// The first path that a commit has otherwise than a draft says: with what is there, and what should
    /// be.
    async fn difference(
        &self,
        draft: &Draft<'_>,
        commit: &str,
    ) -> Result<Option<(String, String, String)>, HubError> {
        let outcomes: BTreeMap<_, _> = draft.lines.iter().map(Line::outcome).collect();
        let paths: Vec<&str> = outcomes.keys().copied().collect();
        let found = self.paths_info(commit, &paths).await?;
        let said =
            |held: Option<&Held>| held.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        Ok(outcomes.into_iter().find_map(|(path, wanted)| {
            let there = found.get(path);
            (there != wanted.as_ref())
                .then(|| (path.to_owned(), said(there), said(wanted.as_ref())))
        }))
    }
}

/// Whether a commit may have landed, or may land if it is asked for again.
fn is_in_doubt(trouble: &Trouble) -> bool {
    trouble.may_pass() || matches!(trouble.status(), Some(409 | 412))
}

/// Whether the Hub said that it does not make the commit.
fn is_refused(trouble: &Trouble) -> bool {
    matches!(trouble.status(), Some(status @ 400..=499) if status != 408)
}

/// A mark that no other commit has.
fn mark() -> String {
    // The standard library's only source of chance.
    let word = |salt: u8| RandomState::new().hash_one((std::process::id(), salt));
    format!("{:016x}{:016x}", word(0), word(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_a_line_for_each_file() {
        let lines = [
            Line::File {
                path: "a".to_owned(),
                content: Bytes::from_static(b"x"),
            },
            Line::Delete {
                path: "b".to_owned(),
            },
        ];
        let draft = Draft {
            branch: "main",
            parent: Some("0123"),
            title: "release 2",
            notes: "Wheelfarm-Release: 2",
            lines: &lines,
        };
        let body = String::from_utf8(draft.body("abc").to_vec()).unwrap();
        insta::assert_snapshot!(body, @r#"
        {"key":"header","value":{"description":"Wheelfarm-Release: 2\nWheelfarm-Change: abc\n","parentCommit":"0123","summary":"release 2"}}
        {"key":"file","value":{"content":"eA==","encoding":"base64","path":"a"}}
        {"key":"deletedFile","value":{"path":"b"}}
        "#);
    }

    #[test]
    fn marks_differ() {
        assert_ne!(mark(), mark());
        assert_eq!(mark().len(), 32);
    }
}
