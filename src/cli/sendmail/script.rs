//! A daemon of a few words, for tests: it answers by a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

/// Closes the connection instead of answering.
pub(super) const CLOSE: &str = "close";

/// Before a reply: reads so much of the content that memory does not hold it, says this if it is anything, and
/// closes the connection.
const WITHIN: &str = "within: ";

/// Never answers; reads until the client has had enough.
pub(super) const STALL: &str = "stall";

/// Answers one client at `socket`: the first line is the greeting, each further one the reply to a command,
/// and the one behind a 354 the reply to the content. Yields what the client said.
pub(super) fn daemon(socket: &Path, script: &'static [&'static str]) -> JoinHandle<String> {
    daemon_of_several(socket, vec![script])
}

/// Answers one client by each script, one after the other.
pub(super) fn daemon_of_several(socket: &Path, scripts: Vec<&'static [&'static str]>) -> JoinHandle<String> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let mut said = String::new();
        for script in scripts {
            let (stream, _) = listener.accept().unwrap();
            play(stream, script, &mut said);
        }
        said
    })
}

fn play(mut stream: UnixStream, script: &[&str], said: &mut String) {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let mut in_content = false;
    for (index, reply) in script.iter().enumerate() {
        if let Some(reply) = reply.strip_prefix(WITHIN) {
            return break_off(stream, input, reply, said);
        }
        if index > 0 && !heard(&mut input, in_content, said) {
            return;
        }
        match *reply {
            CLOSE => return,
            STALL => return drop(input.read_to_string(said)),
            reply => {
                in_content = reply.starts_with("354");
                if write!(stream, "{reply}\r\n").is_err() {
                    return;
                }
            }
        }
    }
    heard(&mut input, in_content, said);
}

fn break_off(mut stream: UnixStream, mut input: impl Read, reply: &str, said: &mut String) {
    input.by_ref().take(2 << 20).read_to_string(said).unwrap();
    if !reply.is_empty() {
        write!(stream, "{reply}\r\n").unwrap();
    }
}

/// A command, or all of the content; false when the client is gone.
fn heard(input: &mut BufReader<UnixStream>, in_content: bool, said: &mut String) -> bool {
    loop {
        let from = said.len();
        match input.read_line(said) {
            Ok(0) | Err(_) => return false,
            Ok(_) if in_content && &said[from..] != ".\r\n" => {}
            Ok(_) => return true,
        }
    }
}
