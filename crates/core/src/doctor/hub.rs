//! A token of a Hub and what it may do, by what the Hub says of it (`GET /api/whoami-v2`).

use std::fmt;

use serde::Deserialize;

/// A repository that is published to, and the token for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFacts {
    /// The Hub's address.
    pub endpoint: String,
    /// As people name it: `hf://owner/name`.
    pub repository: String,
    /// `model`, `dataset` or `space`.
    pub kind: String,
    /// Its owner.
    pub owner: String,
    /// Its name among those of its owner.
    pub name: String,
    /// Where a token was found; the token itself is not here.
    pub token: TokenFound,
    /// Whether the repository is there.
    pub repository_there: Answered<bool>,
    /// Whose the token is.
    pub identity: Answered<Identity>,
}

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFound {
    /// Nowhere.
    Nowhere,
    /// In a variable or a file, which is named.
    In(String),
    /// A job on GitHub gets one when it publishes.
    GithubIdentity,
    /// The file that it would be in cannot be read.
    Unreadable(String),
}

/// What a Hub answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered<T> {
    /// This.
    With(T),
    /// It does not take the token.
    Refused(String),
    /// There was no answer that can be read.
    Not(String),
    /// It was not asked.
    NotAsked(&'static str),
}

/// Who a token is of, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: String,
    /// Organisations and the user's role there, if the Hub says it.
    pub organisations: Vec<(String, Option<String>)>,
    /// What the token may do.
    pub grant: Grant,
}

/// What a token may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Whatever its user may.
    Write,
    /// Read.
    Read,
    /// Some things in some places.
    Scoped(Vec<Scope>),
    /// The Hub names a role that this program does not know, or none.
    Unknown(Option<String>),
}

/// What a token may do in one place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Scope {
    entity: Entity,
    #[serde(default)]
    permissions: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Entity {
    r#type: String,
    #[serde(default)]
    name: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.entity.r#type, self.entity.name)
    }
}

/// What the Hub says of a token is not understood.
#[derive(Debug, thiserror::Error)]
#[error("the Hub's word on the token is none")]
pub struct IdentityError(#[source] serde_json::Error);

#[derive(Deserialize)]
struct RawIdentity {
    name: String,
    #[serde(default)]
    orgs: Vec<RawOrganisation>,
    #[serde(default)]
    auth: RawAuth,
}

#[derive(Deserialize)]
struct RawOrganisation {
    name: String,
    #[serde(default, rename = "roleInOrg")]
    role: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawAuth {
    #[serde(default, rename = "accessToken")]
    token: Option<RawToken>,
}

#[derive(Deserialize)]
struct RawToken {
    role: Option<String>,
    #[serde(default, rename = "fineGrained")]
    scopes: Option<RawScopes>,
}

#[derive(Deserialize)]
struct RawScopes {
    #[serde(default)]
    scoped: Vec<Scope>,
}

/// Whether a token may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// It may; in whose name.
    Yes(String),
    /// It may not, and why.
    No(String),
    /// The Hub does not say enough.
    Unknown(String),
}

impl Identity {
    /// Reads the answer to `GET /api/whoami-v2`.
    ///
    /// # Errors
    /// The text is not that.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let raw: RawIdentity = serde_json::from_str(text).map_err(IdentityError)?;
        let organisations = raw.orgs.into_iter().map(|org| (org.name, org.role));
        let grant = match raw.auth.token {
            None => Grant::Unknown(None),
            Some(token) => match (token.role.as_deref(), token.scopes) {
                (Some("write" | "admin"), _) => Grant::Write,
                (Some("read"), _) => Grant::Read,
                (Some("fineGrained"), Some(scopes)) => Grant::Scoped(scopes.scoped),
                (role, _) => Grant::Unknown(role.map(str::to_owned)),
            },
        };
        Ok(Self {
            user: raw.name,
            organisations: organisations.collect(),
            grant,
        })
    }

    /// Whether the token may write to a repository of `kind`, `owner/name`.
    pub fn may_write(&self, kind: &str, owner: &str, name: &str) -> Rights {
        let user = &self.user;
        let organisation = self.organisations.iter().find(|(name, _)| name == owner);
        let as_whom = match organisation {
            None if owner == user => format!("`{user}`"),
            None => format!("`{user}`, who is not of `{owner}`"),
            Some((_, None)) => format!("`{user}` of `{owner}`"),
            Some((_, Some(role))) => format!("`{user}`, who is {role} of `{owner}`"),
        };
        match &self.grant {
            Grant::Read => Rights::No(format!("the token of {as_whom} may only read")),
            Grant::Unknown(role) => {
                let role = role.as_deref().unwrap_or("none");
                Rights::Unknown(format!("the token's role is `{role}`"))
            }
            Grant::Scoped(scopes) => scoped(scopes, kind, owner, name, &as_whom),
            Grant::Write => match organisation {
                Some((_, Some(role))) if role == "read" => {
                    Rights::No(format!("the token is of {as_whom}"))
                }
                // A contributor writes to repositories of their own.
                Some((_, Some(role))) if role == "contributor" => {
                    Rights::Unknown(format!("the token is of {as_whom}"))
                }
                None if owner != user => Rights::No(format!("the token is of {as_whom}")),
                Some(_) | None => Rights::Yes(as_whom),
            },
        }
    }
}

fn scoped(scopes: &[Scope], kind: &str, owner: &str, name: &str, as_whom: &str) -> Rights {
    let repository = format!("{owner}/{name}");
    let concerns = |scope: &&Scope| match scope.entity.r#type.as_str() {
        "user" | "org" => scope.entity.name == owner,
        found => found == kind && scope.entity.name == repository,
    };
    let writes = |scope: &&Scope| scope.permissions.iter().any(|word| word == "repo.write");
    let writing = scopes.iter().filter(concerns).find(writes);
    match writing {
        Some(scope) => Rights::Yes(format!("{as_whom}, by its scope on {scope}")),
        None if scopes.is_empty() => Rights::No("the token is scoped to nothing".to_owned()),
        None => {
            let all: Vec<_> = scopes.iter().map(ToString::to_string).collect();
            Rights::No(format!(
                "the token may not write there; it is scoped to {}",
                all.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As huggingface.co answered a fine-grained token in July 2026, shortened.
    const FINE: &str = r#"{"type":"user","id":"6a","name":"me","fullname":"Me","isPro":false,"orgs":[],
        "auth":{"type":"access_token","accessToken":{"displayName":"d","role":"fineGrained","createdAt":"2026-07-23T10:27:03Z",
        "fineGrained":{"canReadGatedRepos":true,"global":["discussion.write"],
        "scoped":[{"entity":{"_id":"6a","type":"user","name":"me"},"permissions":["repo.content.read","repo.write"]},
                  {"entity":{"_id":"7b","type":"model","name":"lab/wheels"},"permissions":["repo.content.read"]}]}}}}"#;

    fn classic(role: &str, orgs: &str) -> String {
        format!(
            r#"{{"name":"me","orgs":[{orgs}],"auth":{{"accessToken":{{"displayName":"d","role":"{role}"}}}}}}"#
        )
    }

    #[track_caller]
    fn check(answer: &str, repository: &str, want: &str) {
        let (owner, name) = repository.split_once('/').unwrap();
        let identity = Identity::parse(answer).unwrap();
        let said = match identity.may_write("model", owner, name) {
            Rights::Yes(whom) => format!("yes: {whom}"),
            Rights::No(why) => format!("no: {why}"),
            Rights::Unknown(why) => format!("unknown: {why}"),
        };
        assert_eq!(said, want);
    }

    #[test]
    fn classic_tokens_write_where_their_user_may() {
        let lab = |role: &str| format!(r#"{{"name":"lab","roleInOrg":"{role}"}}"#);
        check(&classic("write", ""), "me/wheels", "yes: `me`");
        check(
            &classic("write", &lab("admin")),
            "lab/wheels",
            "yes: `me`, who is admin of `lab`",
        );
        check(
            &classic("write", &lab("read")),
            "lab/wheels",
            "no: the token is of `me`, who is read of `lab`",
        );
        check(
            &classic("write", &lab("contributor")),
            "lab/wheels",
            "unknown: the token is of `me`, who is contributor of `lab`",
        );
        check(
            &classic("write", ""),
            "lab/wheels",
            "no: the token is of `me`, who is not of `lab`",
        );
        check(
            &classic("read", ""),
            "me/wheels",
            "no: the token of `me` may only read",
        );
        check(
            &classic("novel", ""),
            "me/wheels",
            "unknown: the token's role is `novel`",
        );
        check(
            r#"{"name":"me"}"#,
            "me/wheels",
            "unknown: the token's role is `none`",
        );
    }

    #[test]
    fn scopes_say_where_a_token_writes() {
        check(FINE, "me/wheels", "yes: `me`, by its scope on user me");
        check(
            FINE,
            "lab/wheels",
            "no: the token may not write there; it is scoped to user me, model lab/wheels",
        );
        let none = FINE.replace("\"repo.write\"", "\"repo.access.read\"");
        check(
            &none,
            "me/wheels",
            "no: the token may not write there; it is scoped to user me, model lab/wheels",
        );
        let on_one = FINE.replace(
            "lab/wheels\"},\"permissions\":[\"repo.content.read\"]",
            "lab/wheels\"},\"permissions\":[\"repo.write\"]",
        );
        check(
            &on_one,
            "lab/wheels",
            "yes: `me`, who is not of `lab`, by its scope on model lab/wheels",
        );
        // A scope on a model is none on a dataset of the same name.
        let identity = Identity::parse(&on_one).unwrap();
        assert!(matches!(
            identity.may_write("dataset", "lab", "wheels"),
            Rights::No(_)
        ));
    }

    #[test]
    fn a_page_is_no_identity() {
        assert!(Identity::parse("<html>sign in</html>").is_err());
        assert!(Identity::parse("{}").is_err());
    }
}
