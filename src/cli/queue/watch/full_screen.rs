//! A terminal that is drawn on as a whole.
//!
//! Promise: when [`FullScreen`] is dropped, the terminal has the modes, the cursor and the text that it had before.
//!
//! Not here: what is drawn (`screen.rs`).

use std::env;
use std::io::{self, IsTerminal, Read, Write};
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::oneshot;

use super::super::shape::ramp;

/// The size of a terminal that does not tell its own.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// The keys that quit: q, Ctrl-C, Ctrl-D.
const QUITTING: [u8; 4] = [b'q', b'Q', 3, 4];

/// Another screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// What the characters on a terminal may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScreenLook {
    /// The steps of a curve, from nothing to its highest value.
    pub(super) ramp: [char; 9],
    /// True if colours are wanted.
    pub(super) has_colours: bool,
}

/// The terminal while it is drawn on.
pub(super) struct FullScreen {
    /// Its modes before; `None` if standard input is another file, of which no key is read.
    before: Option<Termios>,
    look: ScreenLook,
}

impl FullScreen {
    /// Takes the terminal. Keys are read one by one from now on, and Ctrl-C is one of them.
    pub(super) fn begin() -> io::Result<Self> {
        let input = io::stdin();
        let before = if input.is_terminal() { Some(tcgetattr(&input)?) } else { None };
        let full_screen = FullScreen { before, look: look() };
        if let Some(before) = &full_screen.before {
            let mut modes = before.clone();
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            tcsetattr(&input, OptionalActions::Now, &modes)?;
        }
        write_out(ENTER)?;
        Ok(full_screen)
    }

    /// Returns the number of columns and rows.
    pub(super) fn size() -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => USUAL_SIZE,
        }
    }

    /// Returns what its characters may be.
    pub(super) fn look(&self) -> ScreenLook {
        self.look
    }

    /// Returns the keys that are pressed; `None` if standard input is no terminal.
    pub(super) fn keys(&self) -> Option<PressedKeys> {
        self.before.as_ref().map(|_| PressedKeys::read())
    }

    /// Draws these lines, which fit.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        write_out(&format!("\x1b[H{}\x1b[J", lines.join("\n")))
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = write_out(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// The keys of a terminal, which a thread reads until one of them quits. It ends with the process, if not before.
pub(super) struct PressedKeys(oneshot::Receiver<()>);

impl PressedKeys {
    fn read() -> Self {
        let (quit, quits) = oneshot::channel();
        thread::spawn(move || {
            let mut key = [0];
            // Any other end of the loop than by a key is a terminal that is gone.
            while matches!(io::stdin().read(&mut key), Ok(1)) && !QUITTING.contains(&key[0]) {}
            // Whoever waits may have quit already.
            let _ = quit.send(());
        });
        PressedKeys(quits)
    }

    /// Waits until somebody wants to quit: by q, by Ctrl-C, or since the terminal is gone. Cancel safe.
    pub(super) async fn quit(&mut self) {
        let _ = (&mut self.0).await;
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Returns what characters may be, by the environment.
fn look() -> ScreenLook {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    ScreenLook { ramp: ramp(), has_colours: !is_set("NO_COLOR") && !is_dumb }
}
