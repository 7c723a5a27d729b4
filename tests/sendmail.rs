//! `sendmail`, `mailq` and `newaliases` as programs: called as their callers do, with a scripted
//! daemon and with the daemon down. What is checked is what a caller sees: exit code, standard error,
//! what arrives, what is left in the drop directory.

#![allow(missing_docs, reason = "a test")]

mod daemon;
mod far_end;
#[path = "sendmail/large.rs"]
mod large;

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use daemon::program_under;
use far_end::client::converse;
use far_end::server::{self, Listener, Said, accepting};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nullmta");
const NOBODY: u32 = 65534;
const MESSAGE: &str = "To: ann@example.org\nBcc: secret@example.org\nSubject: x\n\nbody\n";

/// A host of its own: a configuration, a place for the socket and a drop directory.
struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        Host::listening_on("127.0.0.1:1")
    }

    /// With a TCP address in the configuration; port 1 is nobody's.
    fn listening_on(address: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let host = Host { directory };
        let drop = host.path("spool/drop");
        fs::create_dir_all(&drop).unwrap();
        fs::set_permissions(host.path("spool"), Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&drop, Permissions::from_mode(0o1733)).unwrap();
        let config = format!(
            "relayhost = \"smtp.example.com\"\nspool = {:?}\n\
             [listen]\nsocket = {:?}\naddresses = [{address:?}]\n[admin]\ncontrol = {:?}\n",
            host.path("spool"),
            host.path("submit.sock"),
            host.path("control.sock")
        );
        fs::write(host.path("nullmta.toml"), config).unwrap();
        host
    }

    /// Adds a line to what the configuration says of the listener.
    fn configure_listener(&self, line: &str) {
        let config = fs::read_to_string(self.path("nullmta.toml")).unwrap();
        fs::write(self.path("nullmta.toml"), config.replace("[listen]\n", &format!("[listen]\n{line}\n")))
            .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg0(name).arg("-C").arg(self.path("nullmta.toml")).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `nullmta`, run by another user; `{}` is the configuration.
    fn command_of(&self, uid: u32, words: &[&str]) -> Command {
        let config = self.path("nullmta.toml");
        let mut command = Command::new(program_under(self.directory.path()));
        command.args(words.iter().map(|word| if *word == "{}" { config.as_os_str() } else { word.as_ref() }));
        command.uid(uid).gid(uid).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, name: &str, arguments: &[&str], input: &str) -> Output {
        finish(self.command(name, arguments), input.as_bytes())
    }

    /// Returns the files in the drop directory.
    fn dropped(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("spool/drop")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn only_dropped(&self) -> String {
        let [file] = &self.dropped()[..] else { panic!("{:?}", self.dropped()) };
        assert_eq!(file.extension().unwrap(), "bsmtp");
        fs::read_to_string(file).unwrap()
    }
}

fn finish(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    // A program that has seen enough, or fails at once, does not read all of it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Takes one message from one client, and yields what the client said.
fn daemon(listener: impl Listener, final_reply: &'static str) -> JoinHandle<String> {
    let answer = move |said: Said<'_>| match said {
        Said::EndOfData => final_reply,
        Said::Command(line) if line.starts_with("EHLO") => "250-h\r\n250 DSN",
        said => accepting(said),
    };
    server::on_thread(listener, vec![answer])
}

fn unix_daemon(host: &Host, final_reply: &'static str) -> JoinHandle<String> {
    let path = host.path("submit.sock");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    daemon(listener, final_reply)
}

#[test]
fn a_message_goes_to_the_daemon_and_0_means_that_it_is_queued() {
    let host = Host::new();
    let daemon = unix_daemon(&host, "250 2.0.0 queued");
    let output = host.run("sendmail", &["-t", "-i", "-f", "root", "-N", "never"], MESSAGE);
    assert_eq!((code(&output), errors(&output).as_str()), (0, ""));
    let said = daemon.join().unwrap();
    assert_eq!(
        said,
        "EHLO localhost\r\nMAIL FROM:<root>\r\n\
         RCPT TO:<ann@example.org> NOTIFY=NEVER\r\nRCPT TO:<secret@example.org> NOTIFY=NEVER\r\nDATA\r\n\
         To: ann@example.org\r\nSubject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n"
    );
    assert_eq!(host.dropped().len(), 0);
}

#[test]
fn a_refusal_is_said_and_nothing_is_queued() {
    let host = Host::new();
    let daemon = unix_daemon(&host, "552 5.3.4 message too large");
    let output = host.run("sendmail", &["ann@example.org"], "x");
    assert_eq!(code(&output), 69);
    assert_eq!(
        errors(&output),
        "sendmail: message refused: 552 5.3.4 message too large; nothing was queued\n"
    );
    daemon.join().unwrap();
    assert_eq!(host.dropped().len(), 0);
}

#[test]
fn a_daemon_on_tcp_alone_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = Host::listening_on(&listener.local_addr().unwrap().to_string());
    let daemon = daemon(listener, "250 queued");
    assert_eq!(
        code(&host.run("sendmail", &["-f", "<>", "ann@example.org"], "Subject: x\n\n.\nnot this\n")),
        0
    );
    let said = daemon.join().unwrap();
    assert!(
        said.contains("MAIL FROM:<>\r\n") && said.contains("\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"),
        "{said}"
    );
}

#[test]
fn with_the_daemon_down_the_message_is_left_for_it() {
    let host = Host::new();
    let output =
        host.run("sendmail", &["-FAnn Example", "-B8BITMIME", "-f", "ann@x", "bob"], "Subject: x\n\nbody\n");
    assert_eq!((code(&output), errors(&output).as_str()), (0, ""));
    assert_eq!(
        host.only_dropped(),
        "EHLO localhost\r\nMAIL FROM:<ann@x> BODY=8BITMIME\r\nRCPT TO:<bob>\r\nDATA\r\n\
         Subject: x\r\nFrom: Ann Example <ann@x>\r\n\r\nbody\r\n.\r\nQUIT\r\n"
    );
    let metadata = fs::metadata(&host.dropped()[0]).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

/// Such a user may write to the drop directory and not read it. Only root can play that user.
#[test]
fn an_ordinary_user_needs_no_privilege() {
    let host = Host::new();
    if fs::metadata(host.directory.path()).unwrap().uid() != 0 {
        return;
    }
    let output =
        finish(host.command_of(NOBODY, &["sendmail", "-C", "{}", "ann@example.org"]), b"Subject: x\n\n");
    assert_eq!((code(&output), errors(&output).as_str()), (0, ""));
    assert!(host.only_dropped().contains("MAIL FROM:<nobody>\r\n"), "{}", host.only_dropped());
    assert_eq!(fs::metadata(&host.dropped()[0]).unwrap().uid(), NOBODY);
}

/// `rewrite` showed mail from `4711` where `sendmail` sends it from `uid4711`, and refused a user whose name has to
/// be quoted.
#[test]
fn rewrite_shows_the_reverse_path_that_sendmail_gives() {
    const NAMELESS: u32 = 4711;
    let host = Host::new();
    if fs::metadata(host.directory.path()).unwrap().uid() != 0 {
        return;
    }
    for (login, reverse_path) in [(None, "uid4711"), (Some("REALM\\ann"), "\"REALM\\\\ann\"")] {
        let as_user = |words: &[&str]| {
            let mut command = host.command_of(NAMELESS, words);
            command.envs(login.map(|login| ("LOGNAME", login)));
            finish(command, MESSAGE.as_bytes())
        };
        assert_eq!(code(&as_user(&["sendmail", "-C", "{}", "ann"])), 0);
        let dropped = host.only_dropped();
        assert!(dropped.contains(&format!("MAIL FROM:<{reverse_path}>\r\n")), "{dropped}");
        fs::remove_file(&host.dropped()[0]).unwrap();
        let output = as_user(&["rewrite", "--explain", "-c", "{}", "ann"]);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains(&format!("MAIL FROM: {reverse_path} -> ")), "{shown}{}", errors(&output));
    }
}

#[test]
fn with_nowhere_to_go_it_is_75_and_nothing_is_queued() {
    let host = Host::new();
    fs::remove_dir(host.path("spool/drop")).unwrap();
    let output = host.run("sendmail", &["ann@example.org"], "x");
    assert_eq!(code(&output), 75);
    assert!(
        errors(&output).starts_with("sendmail: nothing was queued, try again later: "),
        "{}",
        errors(&output)
    );
}

#[test]
fn wrong_command_lines_and_messages() {
    let host = Host::new();
    for (arguments, input, expected, words) in [
        (&[][..], "x", 64, "no recipients"),
        (&["-t"], "Subject: x\n\n", 64, "no recipients"),
        (&["-bd"], "", 64, "nullmta run"),
        (&["--frobnicate"], "", 64, "unknown option"),
        (&["a\nb"], "x", 64, "line break"),
        (&["-t"], "To: no address\n\n", 65, "To: not an address"),
        (&["-C", "/nonexistent.toml", "a"], "x", 78, "/nonexistent.toml"),
    ] {
        let output = host.run("sendmail", arguments, input);
        assert_eq!(code(&output), expected, "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).contains(words), "{arguments:?}: {}", errors(&output));
    }
    assert_eq!(host.dropped().len(), 0);
}

/// `To: Smith, Ann <ann@example.org>` was queued, with exit 0, for a user of this host called Smith as well; and
/// `=?utf-8?q?ann=40example.org?=` for a user of that name.
#[test]
fn who_cannot_be_meant_is_refused_and_nothing_is_queued() {
    let host = Host::new();
    let nobody = "Smith-of-no-host is neither a user of this host nor an alias";
    let encoded = "an encoded word (=?...?=) is a name, not an address";
    let in_name = "Smith-of-no-host, Ann <ann@example.org>";
    let in_list = "Team: <ann@example.org>, root, Smith-of-no-host;";
    for (recipients, words) in [
        (in_name, nobody),
        (in_list, nobody),
        ("=?utf-8?q?ann=40example.org?=", encoded),
        ("Ann <=?utf-8?q?ann?=@example.org>", encoded),
    ] {
        let header = format!("To: {recipients}\n\nbody\n");
        for (arguments, input, expected) in
            [(&["-t"][..], &*header, 65), (&["--", recipients], "x", 64), (&["-bv", recipients], "", 64)]
        {
            let output = host.run("sendmail", arguments, input);
            assert_eq!(code(&output), expected, "{arguments:?} {recipients}: {}", errors(&output));
            assert!(errors(&output).contains(words), "{arguments:?}: {}", errors(&output));
        }
    }
    assert_eq!(host.dropped().len(), 0);
    let config = fs::read_to_string(host.path("nullmta.toml")).unwrap();
    let aliases = "[rewrite]\naliases = { smith-of-no-host = \"smith@example.org\" }\n";
    fs::write(host.path("nullmta.toml"), config + aliases).unwrap();
    for (arguments, input) in [(&["-t"][..], "To: Smith-of-no-host, root, A <a@x>\n\n"), (&[in_name], "x")] {
        let output = host.run("sendmail", arguments, input);
        assert_eq!(
            (code(&output), errors(&output).as_str()),
            (0, ""),
            "an alias, and a user: they are meant"
        );
    }
    assert_eq!(host.dropped().len(), 2);
}

#[test]
fn smtp_on_standard_input_with_the_daemon_down() {
    let host = Host::new();
    let dialogue =
        "EHLO me\r\nMAIL FROM:<root>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n";
    let output = host.run("sendmail", &["-bs", "-odb", "-oem"], dialogue);
    assert_eq!(code(&output), 0);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("220 ")
            && said.contains("\r\n250 2.0.0 Ok: queued as ")
            && said.ends_with("bye\r\n"),
        "{said}"
    );
    assert!(host.only_dropped().contains("DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"));
}

/// A From with a colon, brackets or an `@` in its name, or with `mailto:`, left as it was, and a relay refused it.
#[test]
fn the_name_of_an_author_is_mended_by_smtp_and_by_sendmail() {
    let names = [
        ("Acme: Inc <n@acme.example>", "\"Acme: Inc\" <n@acme.example>"),
        ("Acme, Inc. <n@acme.example>", "\"Acme, Inc.\" <n@acme.example>"),
        ("Joe [x] <n@x.example>", "\"Joe [x]\" <n@x.example>"),
        ("n@x.example <n@x.example>", "\"n@x.example\" <n@x.example>"),
        ("mailto:m@acme.example", "m@acme.example"),
        ("Jörg @ Home <joerg>", "=?UTF-8?B?SsO2cmcgQCBIb21l?= <joerg@h.example>"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon::Daemon::start(directory.path(), daemon::free_port());
    let config = directory.path().join("nullmta.toml");
    for (from, _) in names {
        let content = format!("From: {from}\r\nTo: ann@example.org\r\n\r\nbody\r\n");
        let said = ["EHLO me", "MAIL FROM:<app@x.example>", "RCPT TO:<ann@example.org>", "DATA"];
        let replies = converse(daemon.port, &[&said[..], &[&format!("{content}.")]].concat());
        assert!(replies.iter().all(|reply| reply[0].starts_with(['2', '3'])), "{replies:?}");
        let mut command = Command::new(PROGRAM);
        command
            .arg0("sendmail")
            .arg("-C")
            .arg(&config)
            .arg("-t")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let output = finish(command, content.replace('\r', "").as_bytes());
        assert_eq!(code(&output), 0, "{}", errors(&output));
    }
    drop(daemon);
    let exported = directory.path().join("exported");
    let mut command = Command::new(PROGRAM);
    assert!(command.args(["spool", "export", "-c"]).arg(config).arg(&exported).status().unwrap().success());
    let messages: Vec<_> = fs::read_dir(exported)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for (from, expected) in names {
        let line = format!("\nFrom: {expected}\r\n");
        assert_eq!(
            messages.iter().filter(|message| message.contains(&line)).count(),
            2,
            "{from}: {messages:?}"
        );
    }
}

#[test]
fn the_session_is_shown_and_help_is_given() {
    let host = Host::new();
    let daemon = unix_daemon(&host, "250 2.0.0 queued");
    let output = host.run("sendmail", &["-v", "ann@example.org"], "x");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(">>> RCPT TO:<ann@example.org>\n250 ok\n"), "{shown}");
    daemon.join().unwrap();
    for arguments in [&["-h"][..], &["--help"]] {
        let help = String::from_utf8(host.run("sendmail", arguments, "").stdout).unwrap();
        assert!(help.starts_with("Usage: sendmail"), "{help}");
    }
}

#[test]
fn the_other_names() {
    let host = Host::new();
    let output = host.run("newaliases", &[], "");
    assert_eq!((code(&output), output.stdout.len(), output.stderr.len()), (0, 0, 0));
    for (name, arguments) in [("mailq", &[][..]), ("sendmail", &["-bp"])] {
        let output = host.run(name, arguments, "");
        assert_eq!(code(&output), 69);
        assert!(
            errors(&output).starts_with(&format!("{name}: queue report unavailable: ")),
            "{}",
            errors(&output)
        );
    }
    let output = finish(
        {
            let mut command = Command::new(PROGRAM);
            command.args(["sendmail", "--version"]).stdin(Stdio::piped()).stdout(Stdio::piped());
            command
        },
        b"",
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("nullmta {}\n", env!("CARGO_PKG_VERSION")));
}

/// A file in the drop directory that grew beyond `ulimit -f` ended `sendmail` by a signal, without a word, and stayed.
#[test]
fn a_limit_of_the_file_size_is_an_error_like_any_other() {
    let host = Host::new();
    let message = format!("To: ann@example.org\n\n{}", "a line of some octets\n".repeat(100_000));
    for arguments in [["-t", "-i"], ["-i", "ann@example.org"]] {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -f 64 && exec \"$0\" \"$@\"", PROGRAM, "sendmail", "-C"]);
        command.arg(host.path("nullmta.toml")).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = finish(command, message.as_bytes());
        assert_eq!(output.status.code(), Some(75), "{output:?}");
        let errors = errors(&output);
        assert!(errors.contains("nothing was queued") && errors.contains("File too large"), "{errors}");
        assert!(host.dropped().is_empty(), "{:?}", host.dropped());
    }
}
