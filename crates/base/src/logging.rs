//! Logs: text on a terminal's standard error, JSON where asked for.

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// One line of text each, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends this process's logs to standard error. `HAWSER_LOG` (as `RUST_LOG`, such as `info,hawser_serve=debug`) sets
/// what is logged; `default` holds without it. A second call does nothing.
pub fn init(format: Format, default: &str) {
    let filter = EnvFilter::try_from_env("HAWSER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let done = match format {
        Format::Text => builder.with_ansi(colours).with_target(false).try_init(),
        Format::Json => builder.json().try_init(),
    };
    // An embedding program that set its own logging up keeps it.
    drop(done);
}
