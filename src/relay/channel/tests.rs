use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tracing::Level;

use super::*;
use crate::journal::testing::Captured;

fn channel(stream: DuplexStream) -> Channel<DuplexStream> {
    let address = "192.0.2.5:587".parse().unwrap();
    Channel::new(stream, Peer { name: "mx".into(), address, route: None, tls: None }, Timeouts::default())
}

#[tokio::test]
async fn replies_are_read_whatever_their_chunks() {
    let (ours, mut theirs) = duplex(3);
    let speaking = async {
        theirs.write_all(b"250-one\r\n250 two\r\n354 go\r\n").await.unwrap();
    };
    let hearing = async {
        let mut channel = channel(ours);
        let first = channel.reply(Phase::Ehlo).await.unwrap();
        let second = channel.reply(Phase::Data).await.unwrap();
        (first.lines().join("|"), second.code())
    };
    assert_eq!(tokio::join!(speaking, hearing).1, ("one|two".into(), 354));
}

#[tokio::test(start_paused = true)]
async fn every_phase_has_its_limit() {
    let limits = Timeouts::default();
    let cases = [
        (Phase::Greeting, limits.greeting),
        (Phase::Mail, limits.mail),
        (Phase::Data, limits.data),
        (Phase::Dot, limits.dot),
    ];
    for (phase, expected) in cases {
        let (ours, _theirs) = duplex(64);
        let begun = Instant::now();
        let trouble = channel(ours).reply(phase).await.unwrap_err();
        assert!(matches!(trouble.cause, Cause::TimedOut(limit) if limit == expected), "{trouble}");
        assert_eq!((trouble.phase, begun.elapsed()), (phase, expected));
    }
}

/// A relay that sends an octet a minute must not hold the connection for ever.
#[tokio::test(start_paused = true)]
async fn a_reply_that_drips_in_is_cut_off() {
    let (ours, mut theirs) = duplex(64);
    let dripping = async {
        for octet in b"250 an endless welcome".iter().cycle() {
            tokio::time::sleep(Duration::from_secs(60)).await;
            if theirs.write_all(&[*octet]).await.is_err() {
                return;
            }
        }
    };
    let hearing = async move { channel(ours).reply(Phase::Greeting).await.unwrap_err() };
    let trouble = tokio::join!(dripping, hearing).1;
    assert!(matches!(trouble.cause, Cause::TimedOut(_)), "{trouble}");
}

/// Both sides write much before they read: with buffers this small, taking turns would hang.
#[tokio::test(start_paused = true)]
async fn writing_takes_in_what_the_relay_says_meanwhile() {
    let (ours, theirs) = duplex(64);
    let (mut reader, mut writer) = tokio::io::split(theirs);
    let talking = async {
        for _ in 0..1000 {
            writer.write_all(b"250 2.1.5 recipient taken\r\n").await.unwrap();
        }
        let mut heard = vec![0; 50_000];
        reader.read_exact(&mut heard).await.unwrap();
        heard
    };
    let asking = async {
        let mut channel = channel(ours);
        channel.output().extend_from_slice(&[b'x'; 50_000]);
        channel.flush(Phase::Rcpt).await;
        for _ in 0..1000 {
            assert_eq!(channel.reply(Phase::Rcpt).await.unwrap().code(), 250);
        }
    };
    assert_eq!(tokio::join!(talking, asking).0, [b'x'; 50_000]);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_does_not_read_times_out_the_write() {
    let (ours, _theirs) = duplex(64);
    let mut channel = channel(ours);
    channel.output().extend_from_slice(&[b'x'; 1000]);
    channel.flush(Phase::Content).await;
    let trouble = channel.reply(Phase::Content).await.unwrap_err();
    let expected = Timeouts::default().block;
    assert!(matches!(trouble.cause, Cause::TimedOut(limit) if limit == expected), "{trouble}");
}

/// Promise 3: the relay says why and hangs up while we are still writing.
#[tokio::test]
async fn last_words_are_heard_before_the_broken_pipe() {
    let (ours, mut theirs) = duplex(64);
    theirs.write_all(b"421 4.3.2 going down\r\n").await.unwrap();
    drop(theirs);
    let mut channel = channel(ours);
    channel.output().extend_from_slice(&[b'x'; 1000]);
    channel.flush(Phase::Mail).await;
    assert_eq!(channel.reply(Phase::Mail).await.unwrap().code(), 421);
    let trouble = channel.reply(Phase::Rcpt).await.unwrap_err();
    assert!(matches!(trouble.cause, Cause::Closed), "{trouble}");
}

#[tokio::test]
async fn garbage_is_told_escaped_and_short() {
    for octets in
        [&b"\x16\x03\x01\x02\x00\x1b[31m\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n", &[b'9'; 100_000]]
    {
        let (ours, mut theirs) = duplex(200_000);
        theirs.write_all(octets).await.unwrap();
        let trouble = channel(ours).reply(Phase::Greeting).await.unwrap_err();
        let Cause::Garbage(shown) = trouble.cause else { panic!("{trouble}") };
        assert!(shown.is_ascii() && shown.len() <= 4 * MAX_SHOWN_OCTETS && !shown.contains('\x1b'));
    }
}

#[tokio::test]
async fn unasked_words_and_hang_ups_are_noticed() {
    let (ours, mut theirs) = duplex(64);
    let mut channel = channel(ours);
    assert!(!channel.has_spoken().await);
    theirs.write_all(b"421 idle\r\n").await.unwrap();
    assert!(channel.has_spoken().await);

    let (ours, theirs) = duplex(64);
    let mut channel = super::tests::channel(ours);
    drop(theirs);
    assert!(channel.has_spoken().await);
}

#[tokio::test]
async fn injected_octets_keep_tls_from_starting() {
    let (ours, mut theirs) = duplex(64);
    theirs.write_all(b"220 go\r\n250 injected\r\n").await.unwrap();
    let mut channel = channel(ours);
    assert_eq!(channel.reply(Phase::StartTls).await.unwrap().code(), 220);
    let trouble = channel.into_stream().unwrap_err();
    assert!(
        trouble.to_string().contains("injected behind the reply to STARTTLS: \"250 injected"),
        "{trouble}"
    );
}

#[tokio::test(start_paused = true)]
async fn taking_leave_does_not_wait_long() {
    let (ours, mut theirs) = duplex(64);
    let begun = Instant::now();
    channel(ours).quit().await;
    assert!(begun.elapsed() <= Timeouts::default().quit);
    let mut heard = String::new();
    theirs.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "QUIT\r\n");
}

/// A reply of 3,000 octets, `250ok` or a tab behind the code was called a lost connection: the relay was
/// paused, and at the final dot the message went again at each probe. Property: at each phase, whatever follows a code
/// is a reply; up to 64 KiB a line and 1 MiB in all, and at the final dot without any bound, even without an end.
#[tokio::test(start_paused = true)]
async fn the_code_decides_whatever_follows_it_at_each_phase() {
    let long = |octets: usize| format!("250 2.0.0 {}\r\n", "x".repeat(octets)).into_bytes();
    let lines = |count: usize| ("250-line\r\n".repeat(count) + "250 end\r\n").into_bytes();
    let mut whole: Vec<Vec<u8>> = vec![
        b"250\r\n".into(),
        b"250ok\r\n".into(),
        b"250\tok\r\n".into(),
        b"250 5.7.2\r\n".into(),
        b"250 a\0b\r\n".into(),
        b"250 \xff\xfe\x80\r\n".into(),
        b"550-no\r\n250 yes\r\n".into(),
    ];
    whole.extend([0, 1, 510, 512, 1023, 1024, 3000, 65_000].map(long));
    whole.extend([0, 63, 64, 199, 4999].map(lines));
    let endless: [Vec<u8>; 5] =
        [b"250".into(), b"250 2.0.0 o".into(), b"250-one\r\n".into(), long(70_000), lines(150_000)];
    let phases = [
        Phase::Greeting,
        Phase::Ehlo,
        Phase::Auth,
        Phase::Mail,
        Phase::Rcpt,
        Phase::Data,
        Phase::Content,
        Phase::Dot,
        Phase::Rset,
    ];
    for phase in phases {
        for (octets, ends) in
            whole.iter().map(|octets| (octets, true)).chain(endless.iter().map(|o| (o, false)))
        {
            let (ours, mut theirs) = duplex(4096);
            let speaking = async move {
                // A client that has heard enough does not read on.
                let _ = theirs.write_all(octets).await;
            };
            let hearing = async move { channel(ours).reply(phase).await.map(|reply| reply.code()) };
            let (_, heard) = tokio::join!(speaking, hearing);
            let is_reply = ends || phase == Phase::Dot;
            let shown = octets[..octets.len().min(20)].escape_ascii().to_string();
            assert_eq!(heard.ok(), is_reply.then_some(250), "{phase}: {shown} ({} octets)", octets.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_behind_a_reply_without_an_end() {
    let (ours, mut theirs) = duplex(64);
    theirs.write_all(b"250 2.0.0 o").await.unwrap();
    let mut channel = channel(ours);
    assert_eq!(channel.reply(Phase::Dot).await.unwrap().to_string(), "250 2.0.0 o");
    assert!(channel.is_at_end());
    theirs.write_all(b"k\r\n550 late\r\n").await.unwrap();
    assert!(matches!(channel.reply(Phase::Mail).await.unwrap_err().cause, Cause::TimedOut(_)));
}

/// At DEBUG only the relay's side was shown, without the message's name, and the challenges of AUTH with it.
#[tokio::test]
async fn both_sides_are_shown_but_neither_secrets_nor_content() {
    let log = Captured::default();
    let written = log.clone();
    let journal = tracing_subscriber::fmt().with_ansi(false).with_max_level(Level::DEBUG);
    let _logging = tracing::subscriber::set_default(journal.with_writer(move || written.clone()).finish());
    let (ours, mut theirs) = duplex(4096);
    let mut channel = channel(ours);
    theirs.write_all(b"334 c2VjcmV0\r\n235 ok\r\n250 2.1.0 fine\r\n250 taken\r\n221 bye\r\n").await.unwrap();
    channel.secret_command(Phase::Auth, b"AUTH PLAIN c2VjcmV0").await.unwrap();
    channel.secret_command(Phase::Auth, b"c2VjcmV0").await.unwrap();
    channel.speak_of(Some(QueueId::from_raw(0x18A4_F1C9_A02B_3D40)));
    channel.command(Phase::Mail, b"MAIL FROM:<a@x>").await.unwrap();
    channel.output().extend_from_slice(b"c2VjcmV0\r\n.\r\n");
    channel.flush(Phase::Dot).await;
    channel.reply(Phase::Dot).await.unwrap();
    channel.quit().await;
    let text = log.text();
    assert!(!text.contains("c2VjcmV0"), "{text}");
    let peer = "mx[192.0.2.5]:587";
    for line in [
        format!("to {peer}: (a part of AUTH, not shown)"),
        format!("from {peer}: AUTH: (a part of AUTH, not shown)"),
        format!("from {peer}: AUTH: 235 ok"),
        format!("18A4F1C9A02B3D40: to {peer}: MAIL FROM:<a@x>"),
        format!("18A4F1C9A02B3D40: from {peer}: MAIL FROM: 250 2.1.0 fine"),
        format!("18A4F1C9A02B3D40: to {peer}: ."),
        format!("to {peer}: QUIT"),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}
