//! Who asks, and what they may do: tokens, basic authentication, tokens of CI jobs.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};

use crate::answer::Refusal;
use crate::options::{Role, Token};
use crate::repo::RepoName;

/// How long a CI job's token works (hub-docs, trusted-publishers.md).
pub(crate) const EXCHANGED_LIFETIME: Duration = Duration::from_hours(1);

/// The tokens of the Hub, and those it gave out.
#[derive(Debug)]
pub(crate) struct Tokens {
    tokens: Vec<(Token, Option<Instant>)>,
}

impl Tokens {
    pub(crate) fn new(tokens: Vec<Token>) -> Self {
        Self {
            tokens: tokens.into_iter().map(|token| (token, None)).collect(),
        }
    }

    /// Adds a token of a CI job.
    pub(crate) fn add(&mut self, token: Token) {
        self.tokens
            .push((token, Some(Instant::now() + EXCHANGED_LIFETIME)));
    }

    /// Who asks. A token that is unknown is refused even where none is needed, as on the real Hub.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let Some(value) = headers.get(AUTHORIZATION) else {
            return Ok(Caller { token: None });
        };
        let wanted = value.to_str().ok().and_then(secret);
        let known = self.tokens.iter().find(|(token, until)| {
            wanted.as_deref() == Some(token.value.as_str())
                && until.is_none_or(|until| Instant::now() < until)
        });
        match known {
            Some((token, _)) => Ok(Caller {
                token: Some(token.clone()),
            }),
            None => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "Invalid credentials in Authorization header",
            )),
        }
    }
}

/// The token in a header: a bearer's, or the password of basic authentication (hub-docs,
/// security-tokens.md: "in place of a password").
fn secret(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(password.to_owned())
}

/// The one who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) token: Option<Token>,
}

impl Caller {
    /// Whether a private repo may be seen.
    pub(crate) fn can_read(&self, name: &RepoName) -> bool {
        self.token.as_ref().is_some_and(|token| match token.role {
            Role::Write | Role::Read => is_in_scope(token, name),
            Role::Stranger => false,
        })
    }

    /// The user who may write to the repo.
    pub(crate) fn writer(&self, name: &RepoName) -> Result<String, Refusal> {
        let token = self.known()?;
        match token.role {
            Role::Write if is_in_scope(token, name) => Ok(token.user.clone()),
            Role::Write | Role::Stranger => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                format!("Forbidden: you don't have the rights to write to {name}"),
            )),
            Role::Read => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "Forbidden: you must use a write token to upload to a repository.",
            )),
        }
    }

    /// The one who asks, where it must be someone.
    pub(crate) fn known(&self) -> Result<&Token, Refusal> {
        self.token.as_ref().ok_or_else(who_are_you)
    }

    /// A repo that is not there, or not for the one who asks: the real Hub does not say which.
    ///
    /// The code is sent with the 401 too, for the Python client takes a bare 401 for a missing repo on
    /// https only (`utils/_http.py`, `REPO_API_REGEX`).
    pub(crate) fn no_repo(&self) -> Refusal {
        let refusal = match self.token {
            Some(_) => Refusal::new(StatusCode::NOT_FOUND, "Repository not found"),
            None => who_are_you(),
        };
        refusal.code("RepoNotFound")
    }
}

fn is_in_scope(token: &Token, name: &RepoName) -> bool {
    token
        .repo
        .as_deref()
        .is_none_or(|repo| repo == name.to_string())
}

fn who_are_you() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "Invalid username or password.").header(
        WWW_AUTHENTICATE,
        "Bearer realm=\"Authentication required\", charset=\"UTF-8\"",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_bearers_or_a_password() {
        assert_eq!(secret("Bearer hf_x").as_deref(), Some("hf_x"));
        assert_eq!(secret("Basic dXNlcjpoZl94").as_deref(), Some("hf_x"));
        assert_eq!(secret("Digest hf_x"), None);
        assert_eq!(secret("Basic !"), None);
    }
}
