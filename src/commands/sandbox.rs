//! The command `sandbox` serves the stand-in for Entra and Sentinel until SIGTERM or SIGINT.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::sandbox::{self, Settings};
use crate::signals;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SandboxOptions {
    /// The address and port to listen on
    #[arg(long, default_value = "127.0.0.1:9443")]
    pub listen: SocketAddr,

    /// Further host names of the certificate, besides localhost, 127.0.0.1 and ::1
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub names: Vec<String>,

    /// The file to write the certificate authority to that clients must trust, PEM (for azure.ca_file)
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// How long its tokens are valid; short times show what happens when tokens end
    #[arg(long, value_name = "TIME", default_value = "3599s")]
    pub token_lifetime: humantime::Duration,
}

/// Serves the sandbox until SIGTERM or SIGINT.
///
/// # Errors
/// The address cannot be used, or the certificate cannot be written.
pub(super) async fn serve(options: SandboxOptions) -> anyhow::Result<()> {
    let SandboxOptions { listen, names, ca_file, token_lifetime } = options;
    let settings = Settings {
        listen,
        names,
        ca_file,
        token_lifetime: token_lifetime.into(),
        ..Settings::default()
    };
    sandbox::serve_until(settings, &mut std::io::stdout(), signals::stop_asked()?).await
}
