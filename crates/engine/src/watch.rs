//! Asks the outside what a matrix is held against: package indexes and repositories, some at a time.
//!
//! What cannot be reached is an answer too, with the reason: one index that is down does not hide the
//! news of the others.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use futures_util::stream::{self, StreamExt};
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::watch::told::{Told, ToldError};
use wheelfarm_core::watch::{Answer, Answers, Question};

use crate::fetch::{FetchProgress, Fetcher};
use crate::files::{self, FileError};

/// How many are asked at a time: servers count requests, and pages are short.
const AT_A_TIME: usize = 8;

/// Asks every question once, and again as often as the fetcher's options say. Can be dropped.
pub async fn look(
    fetcher: &Fetcher,
    questions: impl IntoIterator<Item = Question>,
    progress: impl Fn(FetchProgress) + Send + Sync,
) -> Answers {
    let progress = &progress;
    let asked = questions.into_iter().map(|question| async move {
        let answer = ask(fetcher, &question, progress).await;
        (question, answer)
    });
    stream::iter(asked)
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await
}

async fn ask(
    fetcher: &Fetcher,
    question: &Question,
    progress: impl Fn(FetchProgress) + Send + Sync,
) -> Answer {
    let answer = match question {
        Question::Project { index, project } => {
            let files = fetcher.project_files(index, project, progress).await;
            files.map(Answer::Files)
        }
        Question::Repository(url) => fetcher.remote_refs(url, progress).await.map(Answer::Refs),
    };
    answer.unwrap_or_else(|error| Answer::None(chain(&error)))
}

/// Why the file of what was told cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToldFileError {
    /// It is something else.
    #[error("failed to read what was told from `{path}`")]
    Content {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        #[source]
        source: ToldError,
    },
    /// This machine's disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Reads what was told from `path`; nothing was when there is no such file.
pub fn read_told(path: &Utf8Path) -> Result<Told, ToldFileError> {
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Told::default()),
        Err(error) => return Err(FileError::new("read", path, error).into()),
    };
    Told::parse(&text).map_err(|source| ToldFileError::Content {
        path: path.to_owned(),
        source,
    })
}

/// Writes what was told to `path`, and the folder that it lies in.
pub fn write_told(path: &Utf8Path, told: &Told) -> Result<(), FileError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_str().is_empty()) {
        files::create_folder(folder)?;
    }
    files::write_atomic(path, told.to_text().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wheelfarm_core::source::IndexUrl;

    use super::*;
    use crate::fetch::FetchOptions;
    use crate::fetch::tests::server::{Reply, Server};

    const JSON: &str = "application/vnd.pypi.simple.v1+json";

    fn fetcher() -> Fetcher {
        let options = FetchOptions {
            attempts: 2,
            first_wait: Duration::from_millis(1),
            ..FetchOptions::default()
        };
        // Nothing that is asked here is kept.
        Fetcher::new("/nonexistent", options).unwrap()
    }

    fn project(server: &Server, name: &str) -> Question {
        let index: IndexUrl = server.url("/simple").parse().unwrap();
        let project = name.parse().unwrap();
        Question::Project { index, project }
    }

    #[track_caller]
    fn file_names(answer: &Answer) -> Vec<&str> {
        match answer {
            Answer::Files(files) => files.iter().map(|file| file.file_name.as_str()).collect(),
            Answer::Refs(_) | Answer::None(_) => panic!("{answer:?}"),
        }
    }

    #[tokio::test]
    async fn indexes_of_both_forms_answer_and_what_fails_says_why() {
        let mut server = Server::new().await;
        let html = "<a href='../../f/torch-2.8.0%2Bcu128-cp311-cp311-linux_x86_64.whl' \
                    data-requires-python='&gt;=3.9' data-yanked='broken'>x</a>";
        server.on(
            "/simple/torch/",
            Reply::ok("text/html; charset=UTF-8", html),
        );
        let json = r#"{"meta": {"api-version": "1.1"}, "name": "demo", "files": [
            {"filename": "demo-1.0.tar.gz", "url": "/f/demo-1.0.tar.gz", "hashes": {}}]}"#;
        server.on("/simple/demo/", Reply::status(503, ""));
        server.on("/simple/demo/", Reply::ok(JSON, json));
        server.on("/simple/down/", Reply::status(500, ""));
        server.on("/simple/login/", Reply::ok("application/pdf", "%PDF"));
        let names = ["torch", "demo", "down", "login", "gone"];
        let questions = names.map(|name| project(&server, name));
        let fetcher = fetcher();
        let asked = look(&fetcher, questions.clone(), |_| {});
        let answers = server.during(asked).await;
        assert_eq!(answers.len(), 5);

        let [torch, demo, down, login, gone] =
            questions.each_ref().map(|question| &answers[question]);
        let Answer::Files(files) = torch else {
            panic!("{torch:?}");
        };
        assert_eq!(
            files[0].file_name,
            "torch-2.8.0+cu128-cp311-cp311-linux_x86_64.whl"
        );
        assert_eq!(files[0].requires_python.as_deref(), Some(">=3.9"));
        assert_eq!(files[0].yanked.as_deref(), Some("broken"));
        assert_eq!(file_names(demo), ["demo-1.0.tar.gz"]);
        for (answer, want) in [
            (down, "answered 500 Internal Server Error"),
            (
                login,
                "answers with `application/pdf`, which is no project page",
            ),
            (gone, "has no project `gone`"),
        ] {
            let Answer::None(reason) = answer else {
                panic!("{answer:?}");
            };
            assert!(reason.contains(want) && !reason.contains('\n'), "{reason}");
        }
        let asked = server.asked().await;
        let count = |path: &str| asked.iter().filter(|asked| *asked == path).count();
        assert_eq!(
            count("/simple/demo/"),
            2,
            "a failure that may pass is asked again"
        );
        assert_eq!(count("/simple/gone/"), 1, "what is not there is not");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_answer() {
        let server = Server::new().await;
        let question = project(&server, "torch");
        drop(server);
        let answers = look(&fetcher(), [question.clone()], |_| {}).await;
        let Answer::None(reason) = &answers[&question] else {
            panic!("{answers:?}");
        };
        assert!(
            reason.starts_with("failed to reach `http://127.0.0.1:"),
            "{reason}"
        );
    }
}
