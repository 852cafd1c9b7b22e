//! What becomes of a shelf when one layout takes the place of another.

use std::collections::BTreeSet;

use wheelfarm_core::release::layout::Layout;

use super::Change;

/// The change of generated files from `old` to `new`: what differs is written, what is made no more is
/// deleted. Files under `files/` are the caller's, in both directions.
///
/// Everything is written when the pages that are there were made by another program or with other
/// links: what they hold is not known then.
pub fn between(old: Option<&Layout<'_>>, new: &Layout<'_>, title: impl Into<String>) -> Change {
    let mut put = new.files();
    let was = old.map(Layout::files).unwrap_or_default();
    let gone = was.keys().filter(|path| !put.contains_key(*path));
    let delete: BTreeSet<String> = gone.cloned().collect();
    if old.is_some_and(Layout::is_there) {
        put.retain(|path, content| was.get(path) != Some(content));
    }
    Change {
        title: title.into(),
        put,
        delete,
        ..Change::default()
    }
}

#[cfg(test)]
mod tests {
    use wheelfarm_core::release::catalog::{Catalog, Track};
    use wheelfarm_core::release::links::Links;

    use super::*;
    use crate::shelf::fixture::{NOW, wheel};

    fn layout<'a>(catalog: &'a Catalog, links: &'a Links) -> Layout<'a> {
        Layout {
            catalog,
            links,
            index_url: None,
        }
    }

    /// The catalog as it reads once its pages are out.
    fn out(catalog: &Catalog, links: &Links) -> Catalog {
        let files = layout(catalog, links).files();
        Catalog::parse(std::str::from_utf8(&files["manifest.json"]).unwrap()).unwrap()
    }

    #[test]
    fn what_is_the_same_is_not_written_and_what_is_made_no_more_goes() {
        let first = Catalog::empty()
            .with([wheel("a", "1.0"), wheel("b", "1.0")], Track::Stable, NOW)
            .unwrap();
        let first = out(&first, &Links::Relative);
        let mut second = first.with([wheel("a", "2.0")], Track::Stable, NOW).unwrap();
        second
            .wheels
            .retain(|name, _| name.project().as_str() == "a");
        let change = between(
            Some(&layout(&first, &Links::Relative)),
            &layout(&second, &Links::Relative),
            "a 2.0",
        );
        let written: Vec<_> = change.put.keys().map(String::as_str).collect();
        insta::assert_snapshot!(written.join("\n"));
        let deleted: Vec<_> = change.delete.iter().map(String::as_str).collect();
        insta::assert_snapshot!(deleted.join("\n"));
        assert_eq!((change.title.as_str(), change.add), ("a 2.0", Vec::new()));
    }

    #[test]
    fn everything_is_written_when_the_pages_there_are_of_another_making() {
        let first = Catalog::empty()
            .with([wheel("a", "1.0")], Track::Stable, NOW)
            .unwrap();
        let there = out(&first, &Links::Relative);
        let host = Links::Absolute {
            base: "https://wheels.example.org".to_owned(),
        };
        let written = |old: &Catalog, links: &Links| {
            between(Some(&layout(old, links)), &layout(&there, links), "")
                .put
                .len()
        };
        let all = layout(&there, &host).files().len();
        assert_eq!(written(&there, &Links::Relative), 0);
        assert_eq!(written(&there, &host), all);
        let mut older = there.clone();
        older.pages.as_mut().unwrap().format -= 1;
        assert_eq!(written(&older, &Links::Relative), all);
        assert_eq!(between(None, &layout(&there, &host), "").put.len(), all);
    }
}
