//! Runs a program on a terminal of a certain size, reads its screen and types.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::num::NonZero;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

/// Longer than any command takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program and the terminal that it runs on.
pub(crate) struct Terminal {
    program: Running,
    /// The terminal's own end, which does not block.
    master: File,
    columns: u16,
    seen: Vec<u8>,
    /// How much of it the test has looked at.
    looked_at: usize,
}

/// A program that is killed when it is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Terminal {
    /// Starts a program on a terminal of 24 rows.
    pub(crate) fn start(columns: u16, mut command: Command) -> Self {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let end = || File::from(pty.slave.try_clone().unwrap());
        command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        let program = Running(command.spawn().unwrap());
        // Only when nobody else holds the program's end does the reading end with the program.
        drop((command, pty.slave));
        let master = File::from(pty.master);
        rustix::io::ioctl_fionbio(&master, true).unwrap();
        Self { program, master, columns, seen: Vec::new(), looked_at: 0 }
    }

    /// Reads what is there; returns whether more may come.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4_096];
        loop {
            match self.master.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.seen.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                // Linux says EIO when the other end is closed.
                Err(_) => return false,
            }
        }
    }

    /// Reads until `done`, or until the program has ended.
    async fn read_until(&mut self, done: impl Fn(&Self) -> bool, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            let more = self.read();
            if !more && done(self) {
                return;
            }
            let is_in_time = more && Instant::now() < deadline;
            assert!(is_in_time, "no {what}:\n{}", String::from_utf8_lossy(&self.seen));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn ahead(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.seen[self.looked_at..])
    }

    /// Waits for words that come after those waited for before; returns all up to them.
    pub(crate) async fn wait_for(&mut self, words: &str) -> String {
        self.read_until(|terminal| terminal.ahead().contains(words), words).await;
        let text = self.ahead().split_once(words).unwrap().0.to_owned() + words;
        self.looked_at += text.len();
        text
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.master.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Types the end of input: Ctrl-D.
    pub(crate) fn type_end(&mut self) {
        self.master.write_all(b"\x04").unwrap();
    }

    /// Sends what Ctrl-C sends to a program in a session of its own.
    pub(crate) fn interrupt(&self) {
        let process = self.program.0.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &process]).status().unwrap().success());
    }

    /// Types a line once the terminal shows no more what is typed.
    pub(crate) async fn type_hidden(&mut self, line: &str) {
        let is_hidden = |terminal: &Self| {
            let flags = tcgetattr(&terminal.master).unwrap().local_flags;
            !flags.contains(LocalFlags::ECHO)
        };
        self.read_until(is_hidden, "hidden input").await;
        self.type_line(line);
    }

    /// Waits for the end; returns the exit code and everything that was written.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.read() {
            let is_in_time = Instant::now() < deadline;
            assert!(is_in_time, "it does not end:\n{}", String::from_utf8_lossy(&self.seen));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let code = self.program.0.wait().unwrap().code();
        (code, String::from_utf8(self.seen).unwrap())
    }

    /// Waits for the end; returns what a terminal that is high enough shows then.
    pub(crate) async fn screen(self) -> (Option<i32>, String) {
        let [rows, columns] = [400, self.columns].map(|size| NonZero::new(size).unwrap());
        let mut screen = vt100::Parser::new(rows, columns, 0);
        let (code, written) = self.end().await;
        screen.process(written.as_bytes());
        let lines: Vec<String> =
            screen.screen().contents().lines().map(|line| line.trim_end().to_owned()).collect();
        (code, lines.join("\n").trim_end().to_owned())
    }

    /// Closes the terminal, as a lost connection does. The program is left running.
    pub(crate) fn close(self) -> Running {
        self.program
    }
}
