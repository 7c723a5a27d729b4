//! Sends the content of a message, without the final dot.
//!
//! Promises:
//! 1. The octets are sent as they were committed, with dots stuffed; content that does not have its stated size is
//!    never completed.
//! 2. Memory is one block beside the buffer of the content, whatever the size of the message. What is in memory is not
//!    copied before it is stuffed.
//! 3. If the relay sends something before the final dot, nothing more is written: it may have left the data phase, and
//!    would take the rest for commands.
//!
//! Not here: the final dot (`dialog/converse.rs` writes it).
//!
//! RFC 5321 4.5.2 (transparency), 4.5.3.2.5 (the time a block may take).

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite};

use super::channel::Channel;
use super::trouble::Phase;
use crate::smtp::dot::Stuffer;

/// The most octets that are taken from the content at a time, and the number from which on they are written.
const BLOCK_OCTETS: usize = 64 * 1024;

/// The result of sending the content.
pub(crate) enum Streamed {
    /// All of it was written, or is in the output of the channel. The stuffer still has to write the final dot.
    Whole(Stuffer),
    /// The relay sent something, or closed the connection, before the end; holds whether it had got any content.
    Interrupted { has_begun: bool },
    /// The content cannot be read to its stated size; holds the reason.
    Unreadable(String),
}

/// Writes `content` to `channel`. The last part of a block stays in the output of the channel.
pub(crate) async fn stream<S: AsyncRead + AsyncWrite + Unpin>(
    content: &mut (dyn AsyncBufRead + Send + Unpin),
    size: u64,
    channel: &mut Channel<S>,
) -> Streamed {
    let mut stuffer = Stuffer::new();
    let (mut streamed, mut has_begun) = (0, false);
    loop {
        if channel.has_spoken().await {
            return Streamed::Interrupted { has_begun };
        }
        let block = match content.fill_buf().await {
            Ok([]) if streamed == size => return Streamed::Whole(stuffer),
            Ok(block) if !block.is_empty() && streamed + block.len() as u64 <= size => block,
            Ok(_) => return Streamed::Unreadable("the stored content is not of its recorded size".into()),
            Err(error) => return Streamed::Unreadable(format!("the stored content cannot be read: {error}")),
        };
        let octets = block.len().min(BLOCK_OCTETS);
        stuffer.push(&block[..octets], channel.output());
        content.consume(octets);
        streamed += octets as u64;
        if channel.output().len() >= BLOCK_OCTETS {
            channel.flush(Phase::Content).await;
            has_begun = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::super::testing::peer;
    use super::*;
    use crate::config::Timeouts;

    /// Returns the octets that reach the wire for `content` with a stated size of `size` octets, and how it ended.
    async fn streamed(content: &[u8], size: usize) -> (Vec<u8>, &'static str) {
        let (ours, mut theirs) = duplex(1000);
        let streaming = async {
            let mut channel = Channel::new(ours, peer(), Timeouts::default());
            let mut content = content;
            match stream(&mut content, size as u64, &mut channel).await {
                Streamed::Whole(stuffer) => {
                    stuffer.finish(channel.output());
                    channel.flush(Phase::Dot).await;
                    "whole"
                }
                Streamed::Interrupted { .. } => "interrupted",
                Streamed::Unreadable(_) => "unreadable",
            }
        };
        let mut heard = Vec::new();
        let (end, read) = tokio::join!(streaming, theirs.read_to_end(&mut heard));
        read.unwrap();
        (heard, end)
    }

    #[tokio::test]
    async fn octets_go_out_dot_stuffed_and_ended() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"Subject: x\r\n\r\nhello\r\n", b"Subject: x\r\n\r\nhello\r\n.\r\n"),
            (b"", b".\r\n"),
            (b".\r\n..\r\na.b\r\n", b"..\r\n...\r\na.b\r\n.\r\n"),
            (b"no line end", b"no line end\r\n.\r\n"),
            (b"\xff\x00\r\n", b"\xff\x00\r\n.\r\n"),
        ];
        for (content, expected) in cases {
            assert_eq!(streamed(content, content.len()).await, (expected.to_vec(), "whole"));
        }
    }

    /// A dot and its line end fall on both sides of every block boundary.
    #[tokio::test]
    async fn blocks_do_not_show() {
        let content = b".\r\n".repeat(3 * BLOCK_OCTETS / 2 + 1);
        let (heard, end) = streamed(&content, content.len()).await;
        let mut expected = b"..\r\n".repeat(3 * BLOCK_OCTETS / 2 + 1);
        expected.extend_from_slice(b".\r\n");
        assert!(heard == expected && end == "whole");
    }

    #[tokio::test]
    async fn a_content_of_another_size_is_never_completed() {
        for (content, size) in [(&b"short\r\n"[..], 100), (b"long\r\n", 3), (b"", 1), (b"x", 0)] {
            let (heard, end) = streamed(content, size).await;
            assert_eq!((heard.as_slice(), end), (&b""[..], "unreadable"), "{size}");
        }
    }

    #[tokio::test]
    async fn nothing_more_is_written_once_the_relay_speaks() {
        let (ours, mut theirs) = duplex(1 << 20);
        theirs.write_all(b"552 5.3.4 too big\r\n").await.unwrap();
        let mut channel = Channel::new(ours, peer(), Timeouts::default());
        let mut content: &[u8] = b"x\r\n";
        assert!(matches!(
            stream(&mut content, 3, &mut channel).await,
            Streamed::Interrupted { has_begun: false }
        ));
        drop(channel);
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert!(heard.is_empty());
    }
}
