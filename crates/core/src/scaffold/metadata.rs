//! Who a project says it is: PKG-INFO of an sdist, else `pyproject.toml` and `setup.py`.

use super::python::Python;
use crate::version::PackageVersion;
use crate::wheel::headers::Headers;

/// What a project says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Project {
    /// Its version, where it is written as one.
    pub version: Option<PackageVersion>,
    /// One line on what it is.
    pub summary: Option<String>,
    /// Its licence.
    pub licence: Option<Licence>,
    /// Its home page.
    pub upstream: Option<String>,
    /// The Pythons that it is for: `>=3.8`.
    pub requires_python: Option<String>,
    /// Where these were read: `PKG-INFO`.
    pub read_from: String,
}

/// A licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licence {
    /// As an SPDX expression.
    pub spdx: String,
    /// What was read, where the expression is a guess from it.
    pub guessed_from: Option<String>,
}

/// The longest text that is taken for a summary or a name.
const TEXT_CAP: usize = 200;

/// Reads PKG-INFO. `licence_text` is the file LICENSE, which tells one BSD licence from another.
pub(super) fn of_pkg_info(bytes: &[u8], licence_text: &str) -> Option<Project> {
    let headers = Headers::parse(bytes).ok()?;
    let one = |name: &str| {
        let value = headers.values(name).next()?.trim();
        let is_text = !value.is_empty() && value != "UNKNOWN" && value.len() <= TEXT_CAP;
        is_text.then(|| value.to_owned())
    };
    one("Name")?;
    let classifiers = headers.values("Classifier");
    let said = one("License").or_else(|| licence_of_classifiers(classifiers));
    let licence = match one("License-Expression") {
        Some(spdx) => Some(Licence {
            spdx,
            guessed_from: None,
        }),
        None => match said {
            Some(said) => Some(licence(&said, licence_text)),
            None => licence_of_text(licence_text),
        },
    };
    let pages = headers.values("Project-URL").filter_map(|value| {
        let (label, url) = value.split_once(',')?;
        Some((label.trim().to_ascii_lowercase(), url.trim().to_owned()))
    });
    Some(Project {
        version: one("Version").and_then(|text| text.parse().ok()),
        summary: one("Summary"),
        licence,
        upstream: one("Home-page").or_else(|| home_page(&pages.collect::<Vec<_>>())),
        requires_python: one("Requires-Python"),
        read_from: "PKG-INFO".to_owned(),
    })
}

/// Reads `pyproject.toml` and `setup.py`, where the first says nothing.
pub(super) fn of_files(pyproject: &str, setup: &Python<'_>, licence_text: &str) -> Project {
    let project = Python::read(section(pyproject, "project"));
    let urls = Python::read(section(pyproject, "project.urls"));
    let text = |in_project: &str, in_setup: &str| {
        let found = project
            .keyword(in_project)
            .or_else(|| setup.keyword(in_setup));
        let text = found?.1.split_whitespace().collect::<Vec<_>>().join(" ");
        (!text.is_empty() && text.len() <= TEXT_CAP).then_some(text)
    };
    let classifiers = project.list("classifiers");
    let classifiers = if classifiers.is_empty() {
        setup.list("classifiers")
    } else {
        classifiers
    };
    let said = text("license", "license");
    let said = said.or_else(|| licence_of_classifiers(classifiers.into_iter()));
    let page = [
        "Homepage",
        "homepage",
        "Repository",
        "repository",
        "Source",
        "source",
    ];
    let page = page.iter().find_map(|label| urls.keyword(label));
    Project {
        version: text("version", "version").and_then(|text| text.parse().ok()),
        summary: text("description", "description"),
        licence: match said {
            Some(said) => Some(licence(&said, licence_text)),
            None => licence_of_text(licence_text),
        },
        upstream: page
            .map(|(_, url)| url)
            .or_else(|| setup.keyword("url").map(|(_, url)| url)),
        requires_python: text("requires-python", "python_requires"),
        read_from: if section(pyproject, "project").is_empty() {
            "setup.py".to_owned()
        } else {
            "pyproject.toml".to_owned()
        },
    }
}

/// What a project asks for to be built (PEP 518).
pub(super) fn build_requirements(pyproject: &str) -> Vec<String> {
    let section = Python::read(section(pyproject, "build-system"));
    section
        .list("requires")
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// The lines below `[name]`, up to the next header. TOML's strings, comments and lists are written as
/// Python's are.
fn section<'a>(text: &'a str, name: &str) -> &'a str {
    let header = format!("[{name}]");
    let mut start = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.split('#').next().unwrap_or_default().trim();
        if bare == header {
            start = Some(at + line.len());
        } else if let Some(start) = start
            && bare.starts_with('[')
            && bare.ends_with(']')
            && bare.contains(|c: char| c.is_ascii_alphabetic())
            && !bare.contains(['"', '\'', ','])
        {
            return &text[start..at];
        }
        at += line.len();
    }
    start.map_or("", |start| &text[start..])
}

fn home_page(pages: &[(String, String)]) -> Option<String> {
    let wanted = [
        "homepage",
        "home",
        "repository",
        "source",
        "source code",
        "github",
    ];
    let by_label = |wanted: &&str| {
        let page = pages.iter().find(|(label, _)| label == wanted);
        page.map(|(_, url)| url.clone())
    };
    let found = wanted.iter().find_map(by_label);
    found.or_else(|| pages.first().map(|(_, url)| url.clone()))
}

fn licence_of_classifiers<'a>(classifiers: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut names = classifiers.filter_map(|line| line.strip_prefix("License :: OSI Approved :: "));
    names.next().map(|name| name.trim().to_owned())
}

/// The licence by the words of its text.
fn licence_of_text(text: &str) -> Option<Licence> {
    let spdx = if text.contains("Permission is hereby granted, free of charge") {
        "MIT"
    } else if text.contains("Apache License") && text.contains("Version 2.0") {
        "Apache-2.0"
    } else if text.contains("Redistribution and use") && text.contains("Neither the name") {
        "BSD-3-Clause"
    } else {
        return None;
    };
    Some(Licence {
        spdx: spdx.to_owned(),
        guessed_from: Some("the text of its licence".to_owned()),
    })
}

/// The SPDX expression for what people write.
fn licence(said: &str, licence_text: &str) -> Licence {
    let exact = [
        "MIT",
        "Apache-2.0",
        "BSD-3-Clause",
        "BSD-2-Clause",
        "MPL-2.0",
        "ISC",
    ];
    if exact.contains(&said) {
        return Licence {
            spdx: said.to_owned(),
            guessed_from: None,
        };
    }
    let lower = said.to_ascii_lowercase();
    let is_3_clause = licence_text.contains("Neither the name");
    let spdx = match lower.as_str() {
        "mit license" | "the mit license" => "MIT",
        _ if lower.contains("apache") && lower.contains('2') => "Apache-2.0",
        "apache software license" | "apache" => "Apache-2.0",
        _ if lower.contains("bsd") && lower.contains('3') => "BSD-3-Clause",
        _ if lower.contains("bsd") && is_3_clause => "BSD-3-Clause",
        _ if lower.contains("bsd") && licence_text.contains("Redistribution") => "BSD-2-Clause",
        _ => "NOASSERTION",
    };
    Licence {
        spdx: spdx.to_owned(),
        guessed_from: Some(said.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pkg_info_is_read() {
        let text = "Metadata-Version: 2.1\nName: x\nVersion: 1.2.3\nSummary: Fast things\nHome-page: UNKNOWN\n\
                    Project-URL: Docs, https://d.org\nProject-URL: Repository, https://r.org\n\
                    Classifier: License :: OSI Approved :: BSD License\nRequires-Python: >=3.8\n\nText: no\n";
        let project = of_pkg_info(text.as_bytes(), "Neither the name of").unwrap();
        assert_eq!(project.version.unwrap().to_string(), "1.2.3");
        assert_eq!(project.summary.as_deref(), Some("Fast things"));
        assert_eq!(project.upstream.as_deref(), Some("https://r.org"));
        assert_eq!(project.requires_python.as_deref(), Some(">=3.8"));
        let licence = project.licence.unwrap();
        assert_eq!(licence.spdx, "BSD-3-Clause");
        assert_eq!(licence.guessed_from.as_deref(), Some("BSD License"));
        assert_eq!(of_pkg_info(b"no headers", ""), None);
        assert_eq!(of_pkg_info(b"", ""), None);
    }

    #[test]
    fn pyproject_and_setup_py_are_read() {
        let pyproject = "[build-system]\nrequires = [\n  \"setuptools>=61\",  # why\n  'torch',\n]\n\
                         [project]\nname = \"x\"\nversion = \"2.0\"\ndescription = \"What it\"\n\
                         license = {text = \"MIT\"}\nclassifiers = [\"A\", \"License :: OSI Approved :: MIT License\"]\n\
                         [project.urls]\nRepository = \"https://r.org\"\n";
        assert_eq!(build_requirements(pyproject), ["setuptools>=61", "torch"]);
        let setup = Python::read("setup(name='x', python_requires='>=3.9', url='https://u.org')");
        let project = of_files(pyproject, &setup, "");
        assert_eq!(project.version.unwrap().to_string(), "2.0");
        assert_eq!(project.requires_python.as_deref(), Some(">=3.9"));
        assert_eq!(project.upstream.as_deref(), Some("https://r.org"));
        assert_eq!(project.licence.unwrap().spdx, "MIT");
        assert_eq!(project.read_from, "pyproject.toml");
        let project = of_files("", &setup, "");
        assert_eq!(project.upstream.as_deref(), Some("https://u.org"));
        assert_eq!(project.version, None);
        assert_eq!(build_requirements(""), Vec::<String>::new());
    }

    #[test]
    fn licences_are_guessed_and_said_to_be() {
        let check = |said: &str, text: &str, want: &str| {
            assert_eq!(licence(said, text).spdx, want, "{said}");
        };
        check("MIT", "", "MIT");
        check("Apache 2.0 License", "", "Apache-2.0");
        check("Apache Software License", "", "Apache-2.0");
        check("BSD", "Redistribution and use", "BSD-2-Clause");
        check("BSD", "", "NOASSERTION");
        check("Proprietary", "", "NOASSERTION");
        let of_text = |text: &str| licence_of_text(text).map(|licence| licence.spdx);
        let mit = "MIT License\nPermission is hereby granted, free of charge, to";
        assert_eq!(of_text(mit).as_deref(), Some("MIT"));
        assert_eq!(of_text("All rights reserved"), None);
    }
}
