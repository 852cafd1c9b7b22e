//! To come.
use super::inspect::WheelReport;
pub(super) fn intrinsic(_r: &mut WheelReport) {}
