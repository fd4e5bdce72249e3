//! The examples as processes: built as they are now, started, listened to.
//!
//! Always: a server goes away with what started it, also if the test fails.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Nothing that a test waits for takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the example is, as it is now: `cargo test --test NAME` by itself would not build it.
pub fn built(example: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let examples = BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile_dir = test.parent().and_then(Path::parent).unwrap();
        let profile = match profile_dir.file_name().and_then(OsStr::to_str).unwrap() {
            "debug" => "dev",
            other => other,
        };
        if let Some(cargo) = std::env::var_os("CARGO") {
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "--offline", "--examples", "--profile", profile]);
            build.arg("--target-dir").arg(profile_dir.parent().unwrap());
            build.current_dir(env!("CARGO_MANIFEST_DIR"));
            // What cargo tells this test of its package: a dependency would be built anew for it.
            let told = |it: &str| it.starts_with("CARGO_PKG_") || it.starts_with("CARGO_MANIFEST_");
            for (name, _) in std::env::vars_os().filter(|it| it.0.to_str().is_some_and(told)) {
                build.env_remove(name);
            }
            assert!(build.status().unwrap().success(), "the examples do not compile");
        }
        profile_dir.join("examples")
    });
    examples.join(example)
}

/// An example that serves, at the address that it has printed.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    pub stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts the example and waits until it says where it listens.
    pub fn start<S: AsRef<OsStr>>(example: &str, arguments: &[S]) -> Server {
        Server::start_with(example, arguments, &[])
    }

    /// [`start`](Self::start) with more in the environment.
    pub fn start_with<S: AsRef<OsStr>>(
        example: &str,
        arguments: &[S],
        environment: &[(&str, &str)],
    ) -> Server {
        let mut command = Command::new(built(example));
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.split_whitespace().last().and_then(|it| it.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{example} says {line:?}"));
        Server { child, address, stdout }
    }

    /// A connection to it, whose reads and writes fail rather than hang.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends it a signal, such as `INT`.
    pub fn signal(&self, name: &str) {
        let (name, id) = (format!("-{name}"), self.child.id().to_string());
        assert!(Command::new("kill").args([name, id]).status().unwrap().success());
    }

    /// Waits for its end; tells what else it has printed.
    ///
    /// # Panics
    /// If it does not end.
    pub fn end(&mut self) -> (ExitStatus, String) {
        let (id, (ended, end)) = (self.child.id().to_string(), mpsc::channel::<()>());
        let watch = thread::spawn(move || {
            let hangs = end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
            hangs && Command::new("kill").args(["-KILL", &id]).status().unwrap().success()
        });
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        drop(ended);
        assert!(!watch.join().unwrap(), "it did not end: {text}");
        (status, text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
