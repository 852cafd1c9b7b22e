//! What removing an image frees: images share layers, and the engine takes along the steps that
//! nothing else needs.

use std::collections::BTreeMap;

use crate::container::{ImageId, ImageSummary};

#[derive(Debug, Clone)]
struct Node {
    parent: Option<ImageId>,
    children: usize,
    names: usize,
    own_bytes: u64,
}

/// The images of an engine with the steps that they were built by. An image whose parent is not known
/// counts whole.
#[derive(Debug, Clone, Default)]
pub(super) struct ImageTree(BTreeMap<ImageId, Node>);

impl ImageTree {
    pub(super) fn new(images: &[ImageSummary]) -> Self {
        let sizes: BTreeMap<_, _> = images
            .iter()
            .map(|image| (&image.id, image.size_bytes))
            .collect();
        let mut nodes = BTreeMap::new();
        for image in images {
            let parent = image.parent.clone().filter(|id| sizes.contains_key(id));
            let below = parent.as_ref().map_or(0, |id| sizes[id]);
            let node = Node {
                parent,
                children: 0,
                names: image.names.len(),
                own_bytes: image.size_bytes.saturating_sub(below),
            };
            nodes.insert(image.id.clone(), node);
        }
        for image in images {
            let parent = nodes.get(&image.id).and_then(|node| node.parent.clone());
            if let Some(parent) = parent.and_then(|id| nodes.get_mut(&id)) {
                parent.children += 1;
            }
        }
        Self(nodes)
    }

    /// What removing the image would free as things are.
    pub(super) fn freed_by(&self, id: &ImageId) -> u64 {
        self.clone().remove(id)
    }

    /// Takes one name off an image, and what nothing needs then; returns how many bytes that frees.
    pub(super) fn remove(&mut self, id: &ImageId) -> u64 {
        if let Some(node) = self.0.get_mut(id) {
            node.names = node.names.saturating_sub(1);
        }
        let mut freed_bytes = 0;
        let mut next = Some(id.clone());
        while let Some(id) = next.take() {
            let Some(node) = self.0.get(&id) else { break };
            if node.names > 0 || node.children > 0 {
                break;
            }
            freed_bytes += node.own_bytes;
            next = self.0.remove(&id).and_then(|node| node.parent);
            if let Some(parent) = next.as_ref().and_then(|id| self.0.get_mut(id)) {
                parent.children -= 1;
            }
        }
        freed_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{ImageRef, Labels};

    fn image(id: &str, parent: &str, size_bytes: u64, names: &[&str]) -> ImageSummary {
        ImageSummary {
            id: ImageId::new(id),
            names: names.iter().map(|name| ImageRef::new(*name)).collect(),
            parent: (!parent.is_empty()).then(|| ImageId::new(parent)),
            labels: Labels::default(),
            size_bytes,
            created_at_s: 0,
        }
    }

    /// base ─ step ┬ torch
    ///             └ more ─ toolkit
    fn tree() -> ImageTree {
        ImageTree::new(&[
            image("base", "", 100, &["wheelfarm/debian:bookworm"]),
            image("step", "base", 500, &[]),
            image("torch", "step", 500, &["wheelfarm/torch:1"]),
            image("more", "step", 700, &[]),
            image("toolkit", "more", 701, &["wheelfarm/toolkit:1"]),
        ])
    }

    #[test]
    fn what_others_need_is_not_freed() {
        let mut tree = tree();
        let [torch, toolkit, base] = ["torch", "toolkit", "base"].map(ImageId::new);
        assert_eq!(tree.freed_by(&torch), 0, "the toolkit has its layers too");
        assert_eq!(tree.freed_by(&toolkit), 201);
        assert_eq!(tree.freed_by(&base), 0);
        assert_eq!(tree.remove(&torch), 0);
        assert_eq!(tree.remove(&toolkit), 601);
        assert_eq!(tree.remove(&base), 100);
        assert_eq!(tree.remove(&base), 0, "it is gone");
    }

    #[test]
    fn an_image_with_another_name_stays() {
        let mut tree = ImageTree::new(&[image("a", "elsewhere", 7, &["one:1", "two:1"])]);
        assert_eq!(tree.remove(&ImageId::new("a")), 0);
        assert_eq!(tree.remove(&ImageId::new("a")), 7);
    }
}
