//! Placeholder until the wheel branch lands.
/// Channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Channel {
    cuda: String,
    torch: String,
}
impl Channel {
    /// new
    pub fn new(cuda: &str, torch: &str) -> Self {
        Self {
            cuda: cuda.to_owned(),
            torch: torch.to_owned(),
        }
    }
}
