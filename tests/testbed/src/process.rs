//! A component as a process that never outlives this one.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::logs;
use crate::programs::{program, python};

/// Leaves a guard behind and becomes the component. The guard kills the component when the pipe from
/// the test process closes without a word, which the kernel does however the process ends. Its own
/// group keeps both from a terminal's Ctrl-C.
const GUARDED: &str = r#"
exec 3<&0
( trap '' INT TERM HUP; read -r _ || kill -KILL $$ ) <&3 3<&- &
exec "$@" 3<&- </dev/null
"#;
const READY_POLL: Duration = Duration::from_millis(50);

/// A program and its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    /// What its log is called.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

/// A running component.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    guard: Option<ChildStdin>,
    log: PathBuf,
}

impl Component {
    pub(crate) fn new<A: Into<OsString>>(
        name: &str,
        program_name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program: program(program_name),
            arguments: arguments.into_iter().map(Into::into).collect(),
        }
    }

    /// A program in Python; its own path is the first argument.
    pub(crate) fn python<A: Into<OsString>>(
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program: python(),
            arguments: arguments.into_iter().map(Into::into).collect(),
        }
    }

    pub(crate) fn start(&self) -> Process {
        let log = logs::path(&self.name);
        let output = logs::open(&log);
        let errors = output.try_clone().unwrap();
        let spawned = Command::new("sh")
            .args(["-c", GUARDED, "guard"])
            .arg(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            panic!("{} does not start: sh: {error}", self.name);
        });
        Process {
            name: self.name.clone(),
            guard: child.stdin.take(),
            child,
            log,
        }
    }
}

impl Process {
    /// Waits until `ready` says so.
    pub(crate) fn wait_ready(
        &mut self,
        limit: Duration,
        ready: impl Fn() -> bool,
    ) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Err(self.failed(&format!("ended at once, {status}")));
            }
            if ready() {
                return Ok(());
            }
            if begun.elapsed() > limit {
                return Err(self.failed(&format!("is not ready after {} s", limit.as_secs())));
            }
            thread::sleep(READY_POLL);
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.unwrap_or_else(|error| panic!("{}: cannot be signalled: {error}", self.name));
    }

    fn failed(&self, what: &str) -> String {
        format!(
            "{} {what}; if it is not what tests/testbed/install builds, run that; {}",
            self.name,
            logs::tail(&self.log)
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // The guard is dismissed before the process id is free for somebody else.
        if let Some(mut guard) = self.guard.take() {
            let _ = guard.write_all(b"dismissed\n");
        }
        let _ = self.child.wait();
    }
}
