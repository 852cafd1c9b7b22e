//! Whether a package that was begun would plan.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostics, Located};
use crate::matrix::Matrix;
use crate::package::Package;
use crate::plan::{self, Plan, PlanInput};

/// Plans `matrix` with `package` alone, in every environment and with nothing left out.
///
/// # Errors
/// What `wheelfarm plan` would say of it.
pub fn trial(matrix: &Matrix, package: &Package) -> Result<Plan, Diagnostics> {
    let mut matrix = matrix.clone();
    matrix.packages.truncate(1);
    matrix.exclusions.clear();
    for entry in &mut matrix.packages {
        let location = entry.name.location.clone();
        entry.name.value = package.name.clone();
        entry.versions = package
            .releases
            .iter()
            .map(|release| Located {
                value: release.version.value.clone(),
                location: location.clone(),
            })
            .collect();
        entry.variants.clear();
        entry.environments.clear();
        entry.archs.clear();
    }
    plan::expand(&PlanInput {
        matrix: &matrix,
        packages: &BTreeMap::from([(package.name.clone(), package.clone())]),
        patches: &BTreeMap::new(),
        folders: &BTreeMap::new(),
    })
}
