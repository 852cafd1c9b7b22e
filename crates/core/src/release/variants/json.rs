//! `variant.json` in a wheel, and the file of an index that says the same of all variants of a
//! version (PEP 825 and 850, drafts, schema 0.2.0).
//!
//! Readers refuse keys that they do not know (uv 0.13), so there is no place here to say that the
//! format is a draft.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::ident::PackageName;
use crate::wheel::label::VariantLabel;

/// The file's name in `.dist-info`.
pub(super) const IN_WHEEL: &str = "variant.json";

const SCHEMA: &str = "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json";

/// The provider that tells an installer what the machine has; uv 0.13.6 and later have it built in
/// and ask nobody.
const PROVIDER: &str = "nvidia-variant-provider>=0.0.1,<0.1";

/// The provider's code, for installers that run it.
const PLUGIN: &str = "nvidia_variant_provider.plugin:NvidiaVariantPlugin";

/// What an index's file for the variants of a version is called: name and version as wheels have
/// them.
pub(super) fn index_file_name(project: &PackageName, version: &str) -> String {
    format!("{}-{version}-variants.json", project.for_file_name())
}

/// What `labels` mean: the one of a wheel, or all of a version.
///
/// The merge of several wheels' files is the union of their labels. Every rule of the merge holds by
/// itself: priorities and provider are always these, and a label says all its properties.
pub(super) fn text<'a>(labels: impl IntoIterator<Item = &'a VariantLabel>) -> String {
    let labels: BTreeSet<&VariantLabel> = labels.into_iter().collect();
    let variants: Map<String, Value> = labels
        .into_iter()
        .map(|label| (label.to_string(), json!({"nvidia": properties(label)})))
        .collect();
    let value = json!({
        "$schema": SCHEMA,
        "default-priorities": {"namespace": ["nvidia"]},
        "providers": {"nvidia": {"plugin-api": PLUGIN, "requires": [PROVIDER]}},
        "variants": variants,
    });
    format!("{value:#}\n")
}

/// The CUDA that it was built with is the least that the driver must know: PTX of that toolkit needs
/// it, and of several wheels the one of the newest CUDA is taken.
fn properties(label: &VariantLabel) -> Value {
    let archs: Vec<String> = label.archs().iter().map(|arch| arch.value()).collect();
    json!({
        "cuda_version_lower_bound": [label.cuda().to_string()],
        "sm_arch": archs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_told_with_their_properties_in_whatever_order_they_come() {
        let labels = ["cu128_sm90_ptx90_ptx100", "cu130_sm120"]
            .map(|label| label.parse::<VariantLabel>().unwrap());
        let merged = text(&labels);
        assert_eq!(text(labels.iter().rev().chain(&labels)), merged);
        insta::assert_snapshot!(merged, @r#"
        {
          "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
          "default-priorities": {
            "namespace": [
              "nvidia"
            ]
          },
          "providers": {
            "nvidia": {
              "plugin-api": "nvidia_variant_provider.plugin:NvidiaVariantPlugin",
              "requires": [
                "nvidia-variant-provider>=0.0.1,<0.1"
              ]
            }
          },
          "variants": {
            "cu128_sm90_ptx90_ptx100": {
              "nvidia": {
                "cuda_version_lower_bound": [
                  "12.8"
                ],
                "sm_arch": [
                  "90_real",
                  "90_virtual",
                  "100_virtual"
                ]
              }
            },
            "cu130_sm120": {
              "nvidia": {
                "cuda_version_lower_bound": [
                  "13.0"
                ],
                "sm_arch": [
                  "120_real"
                ]
              }
            }
          }
        }
        "#);
    }

    #[test]
    fn the_file_of_an_index_is_named_as_wheels_are() {
        let project = "flash-attn".parse().unwrap();
        assert_eq!(
            index_file_name(&project, "2.8.3+torch2.11"),
            "flash_attn-2.8.3+torch2.11-variants.json"
        );
    }
}
