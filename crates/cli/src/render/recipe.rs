//! An environment as a file, or why there is none.

use serde_json::{Value, json};
use wheelfarm_core::recipe::{Composed, Manager, Recipe, Refusal};
use wheelfarm_core::release::resolve::Question;

use super::resolve::environment;
use super::{OutputError, data, talk};

/// What came of an ask, and what was asked.
pub(crate) struct Shown<'a> {
    pub(crate) question: &'a Question,
    pub(crate) manager: Manager,
    pub(crate) composed: &'a Composed<'a>,
}

impl Shown<'_> {
    /// The file alone, so that it can be redirected into its place; what keeps it from being is talk.
    pub(crate) fn human(&self) -> Result<(), OutputError> {
        match self.composed {
            Composed::Recipe(recipe) => {
                for pick in &recipe.wheels {
                    if let Some(why) = &pick.wheel.yanked {
                        talk(&format!(
                            "warning: {} is yanked: {why}",
                            pick.wheel.file_name
                        ));
                    }
                }
                data(recipe.text().trim_end())
            }
            Composed::Refused(refusal) => {
                talk(self.refused(refusal).trim_end());
                Ok(())
            }
        }
    }

    fn refused(&self, refusal: &Refusal) -> String {
        let environment = environment(self.question);
        let for_what = match environment.as_str() {
            "" => String::new(),
            environment => format!(" for {environment}"),
        };
        let mut lines = vec![format!("no environment{for_what}")];
        for why in &refusal.reasons {
            lines.push(format!("  {}", why.text));
            lines.extend(
                why.source
                    .as_ref()
                    .map(|source| format!("    source: {source}")),
            );
            lines.extend(
                why.change
                    .as_ref()
                    .map(|change| format!("    hint: {change}")),
            );
        }
        lines.push(match &refusal.nearest {
            Some(nearest) => format!("the nearest that fits is {nearest}"),
            None => "nothing near it fits".to_owned(),
        });
        lines.join("\n")
    }

    /// Schema 1.
    pub(crate) fn json(&self) -> Result<(), OutputError> {
        let mut value = json!({
            "schema": 1,
            "tool": self.manager,
            "question": super::resolve::environment_json(self.question),
        });
        let all = value.as_object_mut().expect("it was made as an object");
        let (outcome, key, more) = match self.composed {
            Composed::Recipe(recipe) => ("one", "recipe", recipe_json(recipe)),
            Composed::Refused(refusal) => ("none", "refusal", json!(refusal)),
        };
        all.insert("outcome".to_owned(), outcome.into());
        all.insert(key.to_owned(), more);
        data(&format!("{value:#}"))
    }
}

fn recipe_json(recipe: &Recipe<'_>) -> Value {
    let companions = recipe.companions.iter().map(|one| match &one.version {
        Ok(found) => json!({
            "package": one.package,
            "version": found.version,
            "index": found.index,
        }),
        Err(why) => json!({ "package": one.package, "version": null, "why": why }),
    });
    let wheels = recipe.wheels.iter().map(|pick| {
        json!({
            "file_name": pick.wheel.file_name,
            "sha256": pick.wheel.sha256,
            "url": pick.lines.url,
        })
    });
    json!({
        "file_name": recipe.manager.file_name(),
        "text": recipe.text(),
        "torch": recipe.torch,
        "index_url": recipe.torch.index_url(),
        "python": recipe.python,
        "companions": companions.collect::<Vec<_>>(),
        "wheels": wheels.collect::<Vec<_>>(),
        "gpus": recipe.gpus,
        "least_driver": recipe.least_driver,
        "nightly": recipe.nightly,
        "notes": recipe.notes,
    })
}
