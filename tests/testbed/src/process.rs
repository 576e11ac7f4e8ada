//! A component as a process that never outlives this one.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::logs;
use crate::programs::program;

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
pub struct Component {
    /// What its log is called.
    pub(crate) name: String,
    pub(crate) program: &'static str,
    pub(crate) arguments: Vec<OsString>,
}

/// A running component. It is killed when this is dropped, and also when the test process ends.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    guard: Option<ChildStdin>,
    log: PathBuf,
}

impl Component {
    /// A component by its name in `PATH`, among the testbed's own, or by its absolute path. Its log is
    /// called `name`.
    pub fn new<A: Into<OsString>>(
        name: &str,
        program: &'static str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program,
            arguments: arguments.into_iter().map(Into::into).collect(),
        }
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(&self) -> Process {
        let program = program(self.program);
        let log = logs::path(&self.name);
        let output = logs::open(&log);
        let errors = output.try_clone().unwrap();
        let spawned = Command::new("sh")
            .args(["-c", GUARDED, "guard"])
            .arg(&program)
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

    /// Freezes it where it is (SIGSTOP).
    pub fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Everything that components of this name have said in this test process.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Where its log is, and the last lines of it.
    pub fn tail(&self) -> String {
        logs::tail(&self.log)
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
