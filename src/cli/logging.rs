//! Logs: to standard error, as text or as JSON.

use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// The form of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// One JSON object a line
    Json,
    /// Lines for people
    Text,
}

/// Starts logging; `RELAY_PKI_LOG` takes a filter in the syntax of `tracing`.
pub(super) fn start(verbose: u8, format: LogFormat) {
    let wanted = std::env::var("RELAY_PKI_LOG").ok();
    subscriber(verbose, wanted.as_deref(), format, std::io::stderr).init();
}

fn subscriber<W>(
    verbose: u8,
    wanted: Option<&str>,
    format: LogFormat,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match verbose {
        0 => "warn",
        1 => "relay_pki=info,warn",
        _ => "relay_pki=trace,info",
    };
    let filter = wanted.and_then(|text| EnvFilter::try_new(text).ok());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    tracing_subscriber::registry()
        .with(filter.unwrap_or_else(|| EnvFilter::new(level)))
        .with(filter_fn(is_safe))
        .with(lines)
}

/// The Kubernetes client logs the body of an answer that it does not understand, and the body of an
/// answer about Secrets is secret. Nobody gets to see that, whatever they ask for.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    let silent = "kube_client::client";
    let rest = metadata.target().strip_prefix(silent);
    !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(wanted: Option<&str>, format: LogFormat, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(1, wanted, format, move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn bodies_of_answers_are_never_logged() {
        let wishes = [
            None,
            Some("trace"),
            Some("kube_client::client=trace"),
            Some("kube_client::client::body=trace,kube_client=trace"),
        ];
        for wanted in wishes {
            for format in [LogFormat::Json, LogFormat::Text] {
                let text = logged(wanted, format, || {
                    tracing::warn!(target: "kube_client::client", "hunter2, Error(..)");
                    tracing::error!(target: "kube_client::client::body", "hunter2");
                    tracing::error!(target: "kube_client::clients", "another module");
                });
                assert!(!text.contains("hunter2"), "{wanted:?}: {text}");
                assert!(text.contains("another module"), "{wanted:?}: {text}");
            }
        }
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = logged(None, LogFormat::Json, || {
            tracing::info!(target: "relay_pki::issuance", id = %"a\nb", "issued");
            tracing::info!(target: "hyper", "too much");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "issued");
        assert_eq!(line["id"], "a\nb");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], "relay_pki::issuance");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_none() {
        let log = || tracing::info!(target: "relay_pki::issuance", "issued");
        let text = logged(Some("relay_pki=loud=er"), LogFormat::Text, log);
        assert!(text.contains("INFO relay_pki::issuance: issued"), "{text}");
        assert_eq!(logged(Some("off"), LogFormat::Text, log), "");
    }
}
