//! Where the prompt's lines come from: a person at a terminal, or a script on stdin.
//!
//! Lines are read on a thread of their own, one when one is asked for. The thread is never waited for: it may be blocked in a read when
//! the demo ends.

use std::io::{self, BufRead, IsTerminal};
use std::thread;

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use tokio::sync::mpsc;

/// What is shown before each line.
pub(super) const PROMPT: &str = "quorate> ";

/// What came from stdin.
#[derive(Debug)]
pub(super) enum Line {
    Text(String),
    /// The script ended, or the person closed the prompt with Ctrl-C or Ctrl-D.
    End,
    /// Stdin cannot be read.
    Broken(InputError),
}

/// The next line could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("cannot read commands from stdin")]
    Stdin { source: io::Error },
    #[error("cannot read commands from the terminal")]
    Terminal { source: ReadlineError },
}

/// The reading thread, seen from the demo.
pub(super) struct Input {
    wanted: mpsc::Sender<()>,
    lines: mpsc::Receiver<Line>,
    /// The terminal as it was, to be put back if the demo ends while a line is being edited.
    before: Option<Termios>,
}

impl Input {
    /// Begins to read; nothing is read yet.
    pub(super) fn open() -> Self {
        let (wanted, asked) = mpsc::channel(1);
        let (sender, lines) = mpsc::channel(1);
        let before = tcgetattr(io::stdin()).ok().filter(|_| io::stdin().is_terminal());
        let is_terminal = before.is_some();
        thread::spawn(move || if is_terminal { edit_lines(asked, &sender) } else { read_lines(asked, &sender) });
        Self { wanted, lines, before }
    }

    /// Whether a person is typing.
    pub(super) fn is_terminal(&self) -> bool {
        self.before.is_some()
    }

    /// The next line.
    pub(super) async fn next(&mut self) -> Line {
        // An error means that the thread has ended, which closes the other channel too.
        let _ = self.wanted.send(()).await;
        self.lines.recv().await.unwrap_or(Line::End)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // An error means that the terminal is gone.
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}

fn read_lines(mut asked: mpsc::Receiver<()>, lines: &mpsc::Sender<Line>) {
    let mut stdin = io::stdin().lock();
    while asked.blocking_recv().is_some() {
        let mut text = String::new();
        let line = match stdin.read_line(&mut text) {
            Ok(0) => Line::End,
            Ok(_) => Line::Text(text.trim().to_owned()),
            Err(source) => Line::Broken(InputError::Stdin { source }),
        };
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}

fn edit_lines(mut asked: mpsc::Receiver<()>, lines: &mpsc::Sender<Line>) {
    // Bracketed paste would have to be switched off again when the demo ends while a line is being edited.
    let mut editor = match DefaultEditor::with_config(Config::builder().bracketed_paste(false).build()) {
        Ok(editor) => editor,
        Err(source) => {
            // Nobody may be listening any more.
            let _ = lines.blocking_send(Line::Broken(InputError::Terminal { source }));
            return;
        }
    };
    while asked.blocking_recv().is_some() {
        let line = match editor.readline(PROMPT) {
            Ok(text) => {
                // A line that is not remembered can still be run.
                let _ = editor.add_history_entry(&text);
                Line::Text(text.trim().to_owned())
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => Line::End,
            Err(source) => Line::Broken(InputError::Terminal { source }),
        };
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}
