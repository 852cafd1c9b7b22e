//! Where a catalog is, and how the files of its release are addressed from anywhere.

use crate::release::catalog;
use crate::release::links::Links;
use crate::source::RemoteUrl;
use camino::{Utf8Path, Utf8PathBuf};

/// Where a catalog is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogPlace {
    /// On this machine.
    File {
        /// The file.
        manifest: Utf8PathBuf,
        /// How its wheels are addressed.
        links: Links,
    },
    /// On a web server or a Hub.
    Remote {
        /// The file.
        manifest: RemoteUrl,
        /// How its wheels are addressed.
        links: Links,
    },
}

/// The text names no place that a catalog can be at. It is not shown where it may hold a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceError {
    /// It is no address of a web server.
    #[error("the address of the catalog is none of a web server")]
    Address,
    /// It begins as a repository on a Hub, and is none.
    #[error("`{text}` is no repository on a Hub")]
    Repository {
        /// What was given.
        text: String,
    },
    /// The Hub is not addressed.
    #[error("the address of the Hub is none of a web server")]
    Endpoint,
    /// The path cannot stand in an address.
    #[error("`{path}` is no whole path of a folder")]
    Path {
        /// The path.
        path: Utf8PathBuf,
    },
}

impl PlaceError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Address => "write `https://` or `http://`, the host and the path",
            Self::Repository { .. } => "write `hf://OWNER/REPO` or `hf://datasets/OWNER/REPO`",
            Self::Endpoint => "write `--endpoint https://huggingface.co`",
            Self::Path { .. } => "name a file or a folder of this machine",
        }
    }
}

impl CatalogPlace {
    /// A place on the net, from `hf://OWNER/REPO` on the Hub at `endpoint`, the address of a repository
    /// there, of a release, or of its catalog; `None` for a path of this machine.
    pub fn parse(text: &str, endpoint: &str) -> Option<Result<Self, PlaceError>> {
        if let Some(repository) = text.strip_prefix("hf://") {
            return Some(on_hub(repository, endpoint, "main"));
        }
        RemoteUrl::is_meant(text).then(|| on_net(text))
    }

    /// A catalog on this machine, which lies in `folder`, a whole path. Its wheels are addressed where
    /// they lie.
    pub fn local(manifest: &Utf8Path, folder: &Utf8Path) -> Result<Self, PlaceError> {
        let links = Links::on_disk(folder).ok_or_else(|| PlaceError::Path {
            path: folder.to_owned(),
        })?;
        Ok(Self::File {
            manifest: manifest.to_owned(),
            links,
        })
    }

    /// How the wheels are addressed.
    pub fn links(&self) -> &Links {
        match self {
            Self::File { links, .. } | Self::Remote { links, .. } => links,
        }
    }
}

fn absolute(base: &str) -> Links {
    Links::Absolute {
        base: base.trim_end_matches('/').to_owned(),
    }
}

fn remote(manifest: &str, links: Links) -> Result<CatalogPlace, PlaceError> {
    let manifest = manifest.parse().map_err(|_| PlaceError::Address)?;
    Ok(CatalogPlace::Remote { manifest, links })
}

fn on_hub(repository: &str, endpoint: &str, revision: &str) -> Result<CatalogPlace, PlaceError> {
    let repository = repository.trim_end_matches('/');
    let parts: Vec<&str> = repository.split('/').collect();
    let is_name = |part: &&str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(is_plain)
    };
    let is_repository = match parts.as_slice() {
        [owner, name] | ["datasets" | "spaces", owner, name] => is_name(owner) && is_name(name),
        _ => false,
    };
    if !is_repository {
        let text = format!("hf://{repository}");
        return Err(PlaceError::Repository { text });
    }
    let endpoint = endpoint.trim_end_matches('/');
    let address: RemoteUrl = endpoint.parse().map_err(|_| PlaceError::Endpoint)?;
    let links = Links::Hub {
        // What it is shown as has no password in it.
        endpoint: address.to_string().trim_end_matches('/').to_owned(),
        repository: repository.to_owned(),
    };
    let manifest = format!(
        "{endpoint}/{repository}/resolve/{revision}/{}",
        catalog::FILE_NAME
    );
    remote(&manifest, links)
}

fn on_net(text: &str) -> Result<CatalogPlace, PlaceError> {
    let url: RemoteUrl = text.parse().map_err(|_| PlaceError::Address)?;
    // Lines are written down: they get the address without password and query.
    let shown = url.to_string();
    let shown = shown.split('?').next().unwrap_or_default();
    let host = shown.find("://").map_or(0, |at| at + 3);
    let end = shown[host..].find('/').map_or(shown.len(), |at| host + at);
    let (origin, path) = shown.split_at(end);
    let path = path.trim_matches('/');
    if let Some((repository, rest)) = path.split_once("/resolve/")
        && let Some((revision, file)) = rest.split_once('/')
        && file == catalog::FILE_NAME
        && let Ok(place) = on_hub(repository, origin, revision)
    {
        return remote(url.with_secrets(), place.links().clone());
    }
    let is_hub = origin == "https://huggingface.co" || origin == "https://hf.co";
    if is_hub && let Ok(place) = on_hub(path, "https://huggingface.co", "main") {
        return Ok(place);
    }
    if let Some(base) = shown.strip_suffix(catalog::FILE_NAME) {
        return remote(url.with_secrets(), absolute(base));
    }
    let (address, query) = match url.with_secrets().split_once('?') {
        Some((address, query)) => (address, format!("?{query}")),
        None => (url.with_secrets(), String::new()),
    };
    let manifest = format!(
        "{}/{}{query}",
        address.trim_end_matches('/'),
        catalog::FILE_NAME
    );
    remote(&manifest, absolute(shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::catalog::tests::sample;

    fn told(text: &str) -> String {
        let Some(res) = CatalogPlace::parse(text, "https://hub.example.org/") else {
            return "a path".to_owned();
        };
        match res {
            Err(error) => format!("{error}\n  hint: {}", error.hint()),
            Ok(place) => {
                let CatalogPlace::Remote { manifest, links } = &place else {
                    panic!("{place:?}");
                };
                let wheel = links.wheel(&sample(), 0);
                let root = wheel.split("/files/").next().unwrap();
                format!("{}\n  {root}", manifest.with_secrets())
            }
        }
    }

    #[test]
    fn catalogs_are_found_in_every_way_that_a_release_is_named() {
        let told = [
            "out/whl",
            "/srv/whl/manifest.json",
            "hf://me/wheels",
            "hf://datasets/me/wheels/",
            "hf://wheels",
            "hf://me/../x",
            "https://huggingface.co/me/wheels",
            "https://huggingface.co/me/wheels/resolve/0123abc/manifest.json",
            "http://127.0.0.1:8080/datasets/me/wheels/resolve/main/manifest.json",
            "https://wheels.example.org",
            "https://wheels.example.org/a/",
            "https://me:secret@wheels.example.org/a/manifest.json?sig=secret",
            "ftp://x.org/",
            "https://",
        ]
        .map(|text| format!("{text}\n  {}", told(text)));
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn wheels_of_a_folder_are_addressed_where_they_lie() {
        let place = CatalogPlace::local("x/manifest.json".into(), "/srv/my wheels".into()).unwrap();
        let address = |place: &CatalogPlace| {
            let wheel = place.links().wheel(&sample(), 0);
            wheel.split("/files/").next().unwrap().to_owned()
        };
        assert_eq!(address(&place), "file:///srv/my%20wheels");
        assert!(CatalogPlace::local("x/manifest.json".into(), "x".into()).is_err());
    }
}
