//! SIGINT and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

use super::error::CliError;
use super::exit::Exit;
use crate::engine::Cancel;

/// A switch that SIGINT and SIGTERM throw, and a way to ask which of them it was.
pub(super) fn interruptible() -> Result<(Cancel, impl Fn() -> Exit), CliError> {
    let cancel = Cancel::default();
    let terminated = Cancel::default();
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let (switch, term) = (cancel.clone(), terminated.clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupts.recv() => {}
            _ = terminations.recv() => term.cancel(),
        }
        switch.cancel();
        // Whoever asks twice does not want to wait for the step that is running.
        tokio::select! {
            _ = interrupts.recv() => std::process::exit(Exit::Interrupted as i32),
            _ = terminations.recv() => std::process::exit(Exit::Terminated as i32),
        }
    });
    let which = move || match terminated.is_cancelled() {
        true => Exit::Terminated,
        false => Exit::Interrupted,
    };
    Ok((cancel, which))
}
