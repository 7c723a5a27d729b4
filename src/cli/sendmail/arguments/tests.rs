use super::*;

fn read(words: &[&str]) -> Result<Invocation, Failure> {
    parse(Program::Sendmail, &words.iter().map(OsString::from).collect::<Vec<_>>())
}

fn line(text: &str) -> Invocation {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    read(&words).unwrap_or_else(|failure| panic!("{text}: {failure}"))
}

fn mailbox(text: &str) -> ReversePath {
    ReversePath::Mailbox(Address::parse(text).unwrap())
}

/// Returns the meaning of a caller's line: reverse-path (or `-`), recipients, and `t`, `i`, `v` if they are set.
fn summary(invocation: &Invocation) -> String {
    let from = invocation.reverse_path.as_ref().map_or("-".into(), |path| format!("<{path}>"));
    let to: Vec<&str> = invocation.recipients.iter().map(Address::as_str).collect();
    let flags = [
        (invocation.recipients_in_header, 't'),
        (invocation.input_end == InputEnd::Eof, 'i'),
        (invocation.verbose, 'v'),
    ];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
    format!("{from} {} {flags}", to.join(","))
}

#[test]
fn every_known_caller_is_understood() {
    for (caller, command_line, expected) in [
        ("cronie", "-FCronDaemon -i -odi -oem -oi -t -f root", "<root>  ti"),
        ("Debian cron", "-i -FCronDaemon -B8BITMIME -oem root", "- root i"),
        ("at", "-i user", "- user i"),
        ("PHP", "-t -i", "-  ti"),
        ("PHP with a sender", "-t -i -fwww@example.org", "<www@example.org>  ti"),
        ("nodemailer", "-i -f from@example.org a@x b@y", "<from@example.org> a@x,b@y i"),
        ("Rails", "-i -t -f x@example.org", "<x@example.org>  ti"),
        ("mdadm", "-t -fx", "<x>  t"),
        ("busybox crond", "-ti", "-  ti"),
        ("busybox crond with a recipient", "-ti root", "- root ti"),
        ("git send-email", "-i a@x b@y", "- a@x,b@y i"),
        ("git send-email with a sender", "-f me@example.org -i a@x", "<me@example.org> a@x i"),
        ("mutt", "-oem -oi -f me@example.org -- a@x", "<me@example.org> a@x i"),
        ("mutt with 8 bits", "-oem -oi -B8BITMIME -N failure -R hdrs -- a@x", "- a@x i"),
        ("bsd-mailx", "-i -- user", "- user i"),
        ("s-nail", "-i -r me@example.org -- a@x", "<me@example.org> a@x i"),
        ("smartd", "-oi -t", "-  ti"),
        ("monit, sudo", "-t", "-  t"),
        ("logwatch", "-t -oi -oem", "-  ti"),
        ("fail2ban", "-t -f fail2ban@example.org root", "<fail2ban@example.org> root t"),
        ("Mailman", "-odq -oi -f list-bounces@example.org a@x", "<list-bounces@example.org> a@x i"),
        ("Perl's Mail::Send", "-t -oi -odb -v", "-  tiv"),
        ("combined to the end", "-tifroot", "<root>  ti"),
        ("separate option", "-o i -o em -t", "-  ti"),
    ] {
        let invocation = line(command_line);
        assert_eq!((invocation.mode, summary(&invocation).as_str()), (Mode::Submit, expected), "{caller}");
    }
}

#[test]
fn callers_that_speak_smtp() {
    for command_line in ["-bs", "-bs -odb -oem", "-oem -bs -i", "-ibs", "-b s"] {
        assert_eq!(line(command_line).mode, Mode::Session, "{command_line}");
    }
}

#[test]
fn modes() {
    for (command_line, mode) in [
        ("-bm a@x", Mode::Submit),
        ("-bv a@x", Mode::Verify),
        ("-bp", Mode::ListQueue),
        ("-bp -v", Mode::ListQueue),
        ("-bi", Mode::Nothing),
        ("-I", Mode::Nothing),
        ("-bh", Mode::Nothing),
        ("-q", Mode::Flush),
        ("-q -v", Mode::Flush),
        ("-qIabc", Mode::Flush),
        ("-qRexample.org", Mode::Flush),
        ("-qf", Mode::Flush),
        ("-q30m", Mode::Nothing),
        ("-q30m a@x", Mode::Submit),
        ("-h", Mode::Help),
        ("--help", Mode::Help),
        ("-h 5 a@x", Mode::Submit),
        ("-h5 a@x", Mode::Submit),
        ("--version", Mode::Version),
    ] {
        assert_eq!(line(command_line).mode, mode, "{command_line}");
    }
}

#[test]
fn names_choose_the_mode_and_flags_may_change_it() {
    let mode = |program, words: &[&str]| {
        parse(program, &words.iter().map(OsString::from).collect::<Vec<_>>()).map(|it| it.mode)
    };
    assert_eq!(mode(Program::Mailq, &[]).unwrap(), Mode::ListQueue);
    assert_eq!(mode(Program::Newaliases, &["-oA/etc/aliases"]).unwrap(), Mode::Nothing);
    assert_eq!(mode(Program::Newaliases, &["-bp"]).unwrap(), Mode::ListQueue);
    assert!(mode(Program::Mailq, &["root"]).is_err());
    for program in [Program::Sendmail, Program::Mailq, Program::Newaliases] {
        assert_eq!(Program::by_name(program.name()), Some(program));
    }
    assert_eq!(Program::by_name("nullmta"), None);
}

#[test]
fn reverse_paths() {
    for (words, expected) in [
        (&["-f", "<>", "a"][..], ReversePath::Null),
        (&["-f", "", "a"], ReversePath::Null),
        (&["-f", " <> ", "a"], ReversePath::Null),
        (&["-f<>", "a"], ReversePath::Null),
        (&["-r", "root", "a"], mailbox("root")),
        (&["-f", "Ann <ann@example.org>", "a"], mailbox("ann@example.org")),
        (&["-f", "<ann@example.org>", "a"], mailbox("ann@example.org")),
        (&["-f", "\"a b\"@example.org", "a"], mailbox("\"a b\"@example.org")),
        (&["-f", "-oi", "a"], mailbox("-oi")),
        (&["-fx", "-fy", "a"], mailbox("y")),
    ] {
        assert_eq!(read(words).unwrap().reverse_path, Some(expected), "{words:?}");
    }
    assert_eq!(line("a").reverse_path, None);
}

#[test]
fn recipients_are_lists_names_and_plain_words() {
    let invocation = read(&["-i", "a@x, b@y", "Ann <c@z>", "d (e)", "\"f g\"@h"]).unwrap();
    assert_eq!(summary(&invocation), "- a@x,b@y,c@z,d,\"f g\"@h i");
    assert_eq!(summary(&read(&["--", "-strange@x", "-"]).unwrap()), "- -strange@x,- ");
}

#[test]
fn what_is_asked_of_the_delivery() {
    let asked = line("-B8bitmime -Nsuccess,Delay -R hdrs -Vid+1=x -FAnn a@x");
    let notify = Notify::On { success: true, failure: false, delay: true };
    assert_eq!((asked.body, asked.notify, asked.ret), (Body::EightBitMime, notify, Some(Ret::Headers)));
    assert_eq!((asked.envid.as_deref(), asked.full_name.as_deref()), (Some("id+2B1+3Dx"), Some("Ann")));
    let asked = read(&["-N", "never", "-R", "FULL", "-V", "a b", "-F", "", "-B", "7BIT", "a@x"]).unwrap();
    assert_eq!((asked.body, asked.notify, asked.ret), (Body::SevenBit, Notify::Never, Some(Ret::Full)));
    assert_eq!((asked.envid.as_deref(), asked.full_name.as_deref()), (Some("a+20b"), Some("")));
}

#[test]
fn ignored_flags_take_their_values_and_nothing_else() {
    let ignored = "-Am -Ac -G -L tag -X /tmp/log -O ErrorMode=q -oee -om -o7 -U -n -m -p ESMTP:host -d0.1 -d \
                   -c -x -e q";
    let invocation = line(&format!("{ignored} -C /etc/other.toml a@x"));
    assert_eq!(summary(&invocation), "- a@x ");
    assert_eq!(invocation.config, Some("/etc/other.toml".into()));
}

#[test]
fn refused_with_the_reason() {
    for (words, reason) in [
        (&[][..], "no recipients"),
        (&["-i"], "no recipients"),
        (&["-bd"], "nullmta run"),
        (&["-bd", "-q15m"], "nullmta run"),
        (&["-bl"], "nullmta run"),
        (&["-bz"], "unknown mode of operation -bz"),
        (&["-b"], "-b needs a value"),
        (&["-t", "-f"], "-f needs a value"),
        (&["-Z", "a@x"], "unknown option -Z"),
        (&["-iZ", "a@x"], "unknown option -Z"),
        (&["--unknown"], "unknown option --unknown"),
        (&["--to=x"], "unknown option --to=x"),
        (&["a@x", "-oi"], "options go first"),
        (&[""], "no recipient in \"\""),
        (&["a@x", ","], "no recipient in \",\""),
        (&["a@x\nRCPT TO:<b>"], "line break"),
        (&["a@x\r"], "line break"),
        (&["a\0b"], "NUL"),
        (&["two words"], "not an address: two words"),
        (&["-f", "a\n", "b"], "line break"),
        (&["-f", "a, b", "c"], "-f needs one address"),
        (&["-f", "a b", "c"], "not an address: a b"),
        (&["-B", "BINARYMIME", "a"], "-B needs"),
        (&["-N", "sometimes", "a"], "-N needs"),
        (&["-N", "never,delay", "a"], "-N needs"),
        (&["-R", "some", "a"], "-R needs"),
        (&["-V", "", "a"], "-V needs"),
        (&["-V", "\u{fc}", "a"], "-V needs"),
        (&["-V", &"x".repeat(101), "a"], "-V needs"),
        (&["-bv", "-t"], "-bv takes"),
        (&["-bv"], "-bv takes"),
        (&["-bs", "a@x"], "takes no recipients"),
        (&["-bp", "a@x"], "takes no recipients"),
        (&["-q", "a@x"], "takes no recipients"),
        (&["-q", "-t"], "takes no recipients"),
    ] {
        let failure = read(words).err().unwrap_or_else(|| panic!("{words:?} was taken"));
        assert_eq!(failure.exit(), Exit::Usage, "{words:?}");
        assert!(failure.to_string().contains(reason), "{words:?}: {failure}");
    }
}

#[test]
fn an_address_that_is_no_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let latin = OsString::from_vec(b"j\xf6rg@example.org".to_vec());
    assert!(parse(Program::Sendmail, std::slice::from_ref(&latin)).is_err());
    let named = [OsString::from("-F"), latin, OsString::from("a@x")];
    assert!(parse(Program::Sendmail, &named).is_ok());
}

#[test]
fn the_help_shows_what_works_and_what_is_ignored() {
    let help = help();
    assert!(help.contains("\n  -t  take recipients"), "{help}");
    assert!(help.contains("-U -X -x -o…"), "{help}");
}
