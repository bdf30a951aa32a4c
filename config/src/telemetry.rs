//! The log, on stderr.

use crate::settings::{Log, LogFormat, LogLevel};
use crate::start_error::StartError;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Begins to log for the whole process.
pub fn init(log: Log) -> Result<(), StartError> {
    let registry = tracing_subscriber::registry().with(filter(log.level));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let begun = match log.format {
        LogFormat::Json => registry.with(layer.json()).try_init(),
        LogFormat::Text => {
            registry.with(layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init()
        }
    };
    begun.map_err(|error| StartError::Internal { what: "the log cannot be begun", reason: error.to_string() })
}

/// Only our own crates speak below `warn`: what libraries log there can hold bytes of a connection.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let others = LevelFilter::from_level(level).min(LevelFilter::WARN);
    Targets::new().with_default(others).with_target("avouch", level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_never_log_what_they_read() {
        let filter = filter(LogLevel::Trace);
        assert!(filter.would_enable("avouch_server::api", &Level::TRACE));
        for library in ["h2::codec", "rustls::conn", "sqlx::query", "hyper::proto"] {
            assert!(!filter.would_enable(library, &Level::INFO), "{library}");
            assert!(filter.would_enable(library, &Level::WARN), "{library}");
        }
    }
}
