//! The token that a Hub is asked with, and where it comes from.
//!
//! It is a value of its own type from the moment it is read: it has no `Display`, its `Debug` says
//! nothing, and only this folder can look into it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use serde::Deserialize;

use super::address::{Endpoint, Repository, Slashes, encoded};
use super::calls::{Call, Calls, Refusal, Trouble};
use super::error::HubError;
use crate::files::FileError;

/// A token of the Hub.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Token {
    /// The token that is written in `text`; none where nothing is.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// What goes into a header, and nowhere else.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    /// `text`, which somebody else wrote, without this token.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

/// What a job on GitHub can ask for a proof of what it is.
#[derive(Clone)]
struct Identity {
    url: String,
    bearer: Token,
}

/// Where a token may come from: `HF_TOKEN`, the file that `HF_TOKEN_PATH` names, `$HF_HOME/token`
/// (`~/.cache/huggingface/token`), or GitHub's identity of the running job, in this order.
#[derive(Clone)]
pub struct Credentials {
    token: Option<Token>,
    file: Option<PathBuf>,
    identity: Option<Identity>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token)
            .field("file", &self.file)
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

#[derive(Deserialize)]
struct Proof {
    value: String,
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
}

impl Credentials {
    /// None: for who reads what everybody may read.
    pub fn none() -> Self {
        Self {
            token: None,
            file: None,
            identity: None,
        }
    }

    /// Those that an environment has.
    pub fn of(variables: &[(OsString, OsString)]) -> Self {
        let value = |wanted: &str| {
            let (_, value) = variables.iter().find(|(name, _)| name == wanted)?;
            (!value.is_empty()).then(|| value.clone())
        };
        let text = |wanted: &str| value(wanted).and_then(|value| value.into_string().ok());
        let path = |wanted: &str| value(wanted).map(PathBuf::from);
        let cache = path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")));
        let home = path("HF_HOME").or_else(|| cache.map(|cache| cache.join("huggingface")));
        let identity = text("ACTIONS_ID_TOKEN_REQUEST_URL").and_then(|url| {
            let bearer = Token::new(&text("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?)?;
            Some(Identity { url, bearer })
        });
        Self {
            token: text("HF_TOKEN").and_then(|token| Token::new(&token)),
            file: path("HF_TOKEN_PATH").or_else(|| home.map(|home| home.join("token"))),
            identity,
        }
    }

    /// The token for `repository`; none where none is to be had. A job on GitHub gets one that is for
    /// that repository alone and is good for an hour (the Hub's Trusted Publishers).
    pub(super) async fn token(
        &self,
        calls: &Calls,
        endpoint: &Endpoint,
        repository: &Repository,
    ) -> Result<Option<Token>, HubError> {
        if let Some((token, _)) = self.at_hand().await? {
            return Ok(Some(token));
        }
        match &self.identity {
            Some(identity) => identity
                .exchanged(calls, endpoint, repository)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// The token that is here without asking anybody, and where it was found.
    pub(super) async fn at_hand(&self) -> Result<Option<(Token, String)>, FileError> {
        if let Some(token) = &self.token {
            return Ok(Some((token.clone(), "HF_TOKEN".to_owned())));
        }
        let Some(file) = &self.file else {
            return Ok(None);
        };
        match fs_err::tokio::read_to_string(file).await {
            Ok(text) => Ok(Token::new(&text).map(|token| (token, file.display().to_string()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::new("read", file, error)),
        }
    }

    /// Whether a job on GitHub can be given one.
    pub(super) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }
}

impl Identity {
    /// Asks GitHub who this job is, and the Hub for a token against that
    /// (<https://huggingface.co/docs/hub/trusted-publishers>).
    async fn exchanged(
        &self,
        calls: &Calls,
        endpoint: &Endpoint,
        repository: &Repository,
    ) -> Result<Token, HubError> {
        let audience = encoded(endpoint.as_str(), Slashes::Encoded);
        let asked = Call {
            bearer: Some(self.bearer.clone()),
            ..Call::get("ask GitHub who this job is", {
                let joint = if self.url.contains('?') { '&' } else { '?' };
                format!("{}{joint}audience={audience}", self.url)
            })
        };
        let failed = |trouble: Trouble| HubError::of_identity(repository, &trouble);
        let proof: Proof = calls.json(&asked).await.map_err(failed)?;
        let body = serde_json::json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "subject_token": proof.value,
            "resource": repository.path(),
        });
        let call = Call {
            // What is wrong with a proof may be said with the proof.
            says: super::calls::Says::Nothing,
            ..Call::post(
                "exchange the job's identity for a token",
                format!("{endpoint}/oauth/token"),
                Bytes::from(body.to_string()),
            )
        };
        let exchanged: Exchanged = calls.json(&call).await.map_err(failed)?;
        Token::new(&exchanged.access_token).ok_or_else(|| {
            failed(Trouble::Refused(Refusal {
                status: 200,
                code: None,
                said: Some("an empty token".to_owned()),
                wait: None,
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(variables: &[(&str, &str)]) -> Credentials {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect();
        Credentials::of(&variables)
    }

    #[test]
    fn a_token_says_nothing_of_itself() {
        let all = credentials(&[
            ("HF_TOKEN", " hf_planted\n"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://x.org/?a=1"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ghs_planted"),
        ]);
        let token = all.token.clone().unwrap();
        assert_eq!(token.secret(), "hf_planted");
        let shown = format!("{token:?} {all:?} {:#?}", Some(&all));
        assert!(!shown.contains("planted"), "{shown}");
        assert_eq!(token.hidden_in("no hf_planted here"), "no *** here");
    }

    #[test]
    fn sources_are_those_of_the_hubs_own_tools() {
        let file = |variables: &[(&str, &str)]| {
            let file = credentials(variables).file;
            file.map(|path| path.to_str().unwrap().to_owned())
        };
        let home = ("HOME", "/root");
        assert_eq!(
            file(&[home]).as_deref(),
            Some("/root/.cache/huggingface/token")
        );
        assert_eq!(
            file(&[home, ("XDG_CACHE_HOME", "/c")]).as_deref(),
            Some("/c/huggingface/token")
        );
        assert_eq!(
            file(&[home, ("HF_HOME", "/hf")]).as_deref(),
            Some("/hf/token")
        );
        assert_eq!(
            file(&[home, ("HF_HOME", "/hf"), ("HF_TOKEN_PATH", "/t")]).as_deref(),
            Some("/t")
        );
        assert!(credentials(&[("HF_TOKEN", "")]).token.is_none());
    }
}
