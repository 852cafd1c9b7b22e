//! The arguments of a place that may be on a Hub.

use clap::Args as ClapArgs;

/// How a Hub is reached, and where its indexes are shown. The token comes from `HF_TOKEN`, from the file
/// that `hf auth login` writes, or from GitHub's identity of the running job; never from an argument.
#[derive(Debug, ClapArgs)]
pub(crate) struct HubArgs {
    /// The Hub, instead of `HF_ENDPOINT` or <https://huggingface.co>.
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Show the indexes of a repository's release by this static Space, which is made if need be: what
    /// a repository itself answers is text/plain, which pip takes for no index. `status` brings a Space that
    /// was left behind to what is out.
    #[arg(long, value_name = "OWNER/SPACE")]
    pub(crate) index_space: Option<String>,
    /// Where that Space is shown, for Hubs other than huggingface.co.
    #[arg(long, value_name = "URL", requires = "index_space")]
    pub(crate) index_url: Option<String>,
}
