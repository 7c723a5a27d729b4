//! Messages that memory does not hold.

use super::*;

/// Returns a message that is larger than the part that is held in memory.
fn large() -> Vec<u8> {
    [b"Subject: x\n\n".to_vec(), b"0123456789abcde\n".repeat(200 * 1024)].concat()
}

/// Returns true if `said` is all of [`large`].
fn is_large(said: &str) -> bool {
    said.contains("\r\nSubject: x\r\n\r\n0") && said.matches("0123456789abcde\r\n").count() == 200 * 1024
}

/// The part that had been passed on when the connection broke was gone, and the mail of a job that does not try again was
/// lost.
#[test]
fn a_large_message_that_was_under_way_is_left_whole() {
    for end in ["!within ", "!within 421 4.3.2 stopping"] {
        let place = Place::new();
        let script = Vec::leak(vec!["220 h", EHLO, OK, OK, OK, "354 go on", end]);
        let daemon = daemon(&place.socket(), script);
        submit(&place.ways, AMPLE, &envelope(), &mut content(&large()[..]), &mut io::sink()).unwrap();
        daemon.join().unwrap();
        let dropped = place.dropped();
        assert!(dropped.len() == 1 && is_large(&dropped[0]), "{end}");
    }
}

#[test]
fn a_large_message_goes_the_next_way_and_the_next_time_from_its_start() {
    const STOPS: &[&str] = &["220 h", EHLO, OK, OK, OK, "354 go on", "!within 421 4.3.2 stopping"];
    const TAKES: &[&str] = &["220 h", EHLO, OK, OK, OK, "354 go on", OK];
    let mut place = Place::new();
    place.ways.drop_directory = None;
    let second = place.directory.path().join("second");
    place.ways.to_daemon.push(Way::Socket(second.clone()));
    let dies = &["220 h", EHLO, OK, OK, OK, "354 go on", "!within "];
    let first = daemon_of_several(&place.socket(), vec![dies, dies]);
    let second = daemon_of_several(&second, vec![STOPS, TAKES]);
    let limits = AnswerLimits { busy: &[Duration::ZERO], ..AMPLE };
    submit(&place.ways, limits, &envelope(), &mut content(&large()[..]), &mut io::sink()).unwrap();
    first.join().unwrap();
    let said = second.join().unwrap();
    assert!(is_large(said.rsplit("DATA").next().unwrap()));
}

/// A job on a host with a read-only root is no worse off than before there was a file for what is large.
#[test]
fn a_large_message_that_cannot_be_kept_is_passed_on_once() {
    for (end, expected) in [(OK, Ok(())), ("!within ", Err(Exit::TempFail))] {
        let place = Place::new();
        let script = Vec::leak(vec!["220 h", EHLO, OK, OK, OK, "354 go on", end]);
        let daemon = daemon(&place.socket(), script);
        let large = large();
        let mut content = content_kept_in(Path::new("/nonexistent"), &large[..]);
        let outcome = submit(&place.ways, AMPLE, &envelope(), &mut content, &mut io::sink());
        assert_eq!(outcome.map_err(|failure| failure.exit()), expected);
        assert_eq!((is_large(&daemon.join().unwrap()), place.dropped().len()), (expected.is_ok(), 0));
    }
}

/// One that the daemon did not take for now was 75, and cron's mail was gone.
#[test]
fn a_large_message_that_the_daemon_does_not_take_now_is_left_whole() {
    let place = Place::new();
    let daemon = daemon(&place.socket(), &["220 h", EHLO, OK, OK, OK, "354 go on", "451 4.3.0 trouble"]);
    submit(&place.ways, AMPLE, &envelope(), &mut content(&large()[..]), &mut io::sink()).unwrap();
    daemon.join().unwrap();
    assert!(is_large(&place.dropped()[0]));
}

#[test]
fn what_the_daemon_refuses_of_a_large_message_for_good_is_its_last_word() {
    let place = Place::new();
    let daemon = daemon(&place.socket(), &["220 h", EHLO, OK, OK, OK, "354 go on", "554 5.6.0 no"]);
    let outcome = submit(&place.ways, AMPLE, &envelope(), &mut content(&large()[..]), &mut io::sink());
    assert_eq!(outcome.unwrap_err().exit(), Exit::Unavailable);
    daemon.join().unwrap();
    assert_eq!(place.dropped().len(), 0);
}

#[test]
fn a_large_message_that_was_not_begun_is_left_whole() {
    let place = Place::new();
    let daemon = daemon(&place.socket(), &["220 h", EHLO, CLOSE]);
    let large = large();
    submit(&place.ways, AMPLE, &envelope(), &mut content(&large[..]), &mut io::sink()).unwrap();
    daemon.join().unwrap();
    assert!(is_large(&place.dropped()[0]));
}

#[test]
fn an_input_that_breaks_off_is_never_ended_with_a_dot() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("torn"))
        }
    }
    let large = large();
    for up in [true, false] {
        let place = Place::new();
        let script = &["220 h", EHLO, OK, OK, OK, "354 go on", OK];
        let daemon = up.then(|| daemon(&place.socket(), script));
        let mut content = content((&large[..]).chain(Broken));
        let outcome = submit(&place.ways, AMPLE, &envelope(), &mut content, &mut io::sink());
        assert_eq!(outcome.unwrap_err().exit(), Exit::IoError);
        let said = daemon.map_or(String::new(), |daemon| daemon.join().unwrap());
        assert!(!said.contains("\r\n.\r\n"), "an end of data");
        assert_eq!(place.dropped().len(), 0);
    }
}
