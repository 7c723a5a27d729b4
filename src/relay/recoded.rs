//! Encodes the bodies of a message that the relay does not take as they are, where the configuration says so.
//!
//! Promises: a message that needs no change is sent from its own octets, and so is one that must not be changed
//! (`message/recode.rs`). The size that is told to the relay is that of the octets that are sent. Memory is one block,
//! whatever the size of the message: it is read twice to find its changes and their size, and once more to be sent. A
//! message that has ASCII alone does not count as 8-bit, whatever its client declared and its header section says.
//!
//! Fails: where the content cannot be read, it is left as it is, and counts as 7-bit, so that the sending meets the error.
//!
//! Not here: the changes themselves (`message/recode.rs`), the text of MAIL (`group.rs`).
//!
//! RFC 6152 3 (8BITMIME), RFC 5321 4.5.3.1.6 (998 octets).

use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncSeek, AsyncSeekExt, ReadBuf};

use super::{Content, Transaction};
use crate::config::EightBit;
use crate::envelope::Body;
use crate::message::long_lines::LongLines;
use crate::message::recode::{BodySurvey, Left, Recoder, RecodingPlan, SurveyResult, Unwanted};
use crate::smtp::client::Capabilities;

/// The configuration of what is encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recoding {
    pub(crate) eight_bit: EightBit,
    pub(crate) long_lines: LongLines,
}

impl Recoding {
    /// Returns the treatment of this message if it is 8-bit. One from `<>` does not bounce, since nobody would be told:
    /// a DSN about an 8-bit message may be 8-bit itself.
    pub(crate) fn eight_bit(self, transaction: &Transaction) -> EightBit {
        match self.eight_bit {
            EightBit::Bounce if transaction.is_from_null => EightBit::Encode,
            other => other,
        }
    }

    /// Returns the bodies of this message that are to be encoded for a relay with these extensions.
    pub(crate) fn unwanted(self, transaction: &Transaction, offered: &Capabilities) -> Unwanted {
        let is_eight_bit = transaction.body == Body::EightBitMime && !offered.eight_bit_mime;
        Unwanted {
            eight_bit: is_eight_bit && self.eight_bit(transaction) == EightBit::Encode,
            long_lines: self.long_lines == LongLines::Encode,
        }
    }

    /// Returns whether this message bounces at a relay with these extensions if its content is 8-bit.
    fn asks_for_content(self, transaction: &Transaction, offered: &Capabilities) -> bool {
        let is_eight_bit = transaction.body == Body::EightBitMime && !offered.eight_bit_mime;
        is_eight_bit && self.eight_bit(transaction) == EightBit::Bounce
    }
}

/// The result for a message that was made ready for a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MadeReady {
    /// True if bodies of it are encoded, or wrapped anew.
    pub(crate) is_recoded: bool,
    /// Something that was to be encoded and is not.
    pub(crate) left: Option<Left>,
}

/// Makes the transaction's message ready for a relay with these extensions.
pub(crate) async fn make_ready(
    transaction: &mut Transaction,
    recoding: Recoding,
    offered: &Capabilities,
) -> MadeReady {
    if recoding.asks_for_content(transaction, offered) && !is_eight_bit(&mut transaction.content).await {
        transaction.body = Body::SevenBit;
    }
    let unwanted = recoding.unwanted(transaction, offered);
    recode(transaction, unwanted).await
}

/// Returns whether the content has an octet that is not ASCII; false if it cannot be read.
async fn is_eight_bit(content: &mut Box<dyn Content>) -> bool {
    let mut is_ascii = true;
    let read = each_block(content, |block| is_ascii &= block.is_ascii()).await;
    let is_at_start = content.seek(SeekFrom::Start(0)).await.is_ok();
    read.is_ok() && is_at_start && !is_ascii
}

/// Encodes those bodies of the transaction's message that are `unwanted`.
async fn recode(transaction: &mut Transaction, unwanted: Unwanted) -> MadeReady {
    if unwanted == Unwanted::default() {
        return MadeReady::default();
    }
    let content = &mut transaction.content;
    let planned = plan(content, unwanted).await;
    let is_at_start = content.seek(SeekFrom::Start(0)).await.is_ok();
    let Ok((planned, left)) = planned else { return MadeReady::default() };
    let Some((plan, size)) = planned.filter(|_| is_at_start) else {
        return MadeReady { is_recoded: false, left };
    };
    let plain = std::mem::replace(content, Box::new(io::Cursor::new(Vec::new())));
    *content = Box::new(Recoded::new(plain, plan));
    transaction.size = size;
    MadeReady { is_recoded: true, left }
}

/// The changes to a message, and its size with them.
type Planned = (RecodingPlan, u64);

/// Returns the changes, if there are any, and what stays although it is unwanted.
async fn plan(
    content: &mut Box<dyn Content>,
    unwanted: Unwanted,
) -> io::Result<(Option<Planned>, Option<Left>)> {
    let mut survey = BodySurvey::new(unwanted);
    each_block(content, |block| survey.push(block)).await?;
    let SurveyResult { plan, left } = survey.finish();
    let Some(plan) = plan else { return Ok((None, left)) };
    content.seek(SeekFrom::Start(0)).await?;
    let (mut recoder, mut out, mut size) = (Recoder::new(plan.clone()), Vec::new(), 0);
    each_block(content, |block| {
        out.clear();
        recoder.push(block, &mut out);
        size += out.len() as u64;
    })
    .await?;
    out.clear();
    recoder.finish(&mut out);
    Ok((Some((plan, size + out.len() as u64)), left))
}

async fn each_block(content: &mut Box<dyn Content>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    loop {
        let block = content.fill_buf().await?;
        if block.is_empty() {
            return Ok(());
        }
        take(block);
        let octets = block.len();
        content.consume(octets);
    }
}

/// A message whose bodies are encoded while it is read.
struct Recoded {
    plain: Box<dyn Content>,
    plan: RecodingPlan,
    /// What changes the content; `None` after its end.
    recoder: Option<Recoder>,
    ready: Vec<u8>,
    /// The number of octets of `ready` that were taken.
    taken: usize,
}

impl Recoded {
    fn new(plain: Box<dyn Content>, plan: RecodingPlan) -> Self {
        Recoded { plain, recoder: Some(Recoder::new(plan.clone())), plan, ready: Vec::new(), taken: 0 }
    }
}

impl AsyncBufRead for Recoded {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Recoded { plain, recoder, ready, taken, .. } = self.get_mut();
        while *taken == ready.len() {
            let Some(going) = recoder.as_mut() else { return Poll::Ready(Ok(&[])) };
            ready.clear();
            *taken = 0;
            let block = ready!(Pin::new(&mut *plain).poll_fill_buf(context))?;
            let octets = block.len();
            going.push(block, ready);
            Pin::new(&mut *plain).consume(octets);
            if octets == 0
                && let Some(ended) = recoder.take()
            {
                ended.finish(ready);
            }
        }
        Poll::Ready(Ok(&ready[*taken..]))
    }

    fn consume(self: Pin<&mut Self>, octets: usize) {
        let this = self.get_mut();
        this.taken = (this.taken + octets).min(this.ready.len());
    }
}

impl AsyncRead for Recoded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let block = ready!(self.as_mut().poll_fill_buf(context))?;
        let octets = block.len().min(into.remaining());
        into.put_slice(&block[..octets]);
        self.consume(octets);
        Poll::Ready(Ok(()))
    }
}

/// Only the beginning can be sought.
impl AsyncSeek for Recoded {
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        if position != SeekFrom::Start(0) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let this = self.get_mut();
        this.recoder = Some(Recoder::new(this.plan.clone()));
        (this.ready, this.taken) = (Vec::new(), 0);
        Pin::new(&mut this.plain).start_seek(position)
    }

    fn poll_complete(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.get_mut().plain).poll_complete(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, BufReader};

    use super::super::testing::transaction;
    use super::*;

    const EIGHT_BIT: Unwanted = Unwanted { eight_bit: true, long_lines: false };

    async fn read(transaction: &mut Transaction) -> String {
        let mut octets = Vec::new();
        transaction.content.read_to_end(&mut octets).await.unwrap();
        assert_eq!(octets.len() as u64, transaction.size);
        String::from_utf8(octets).unwrap()
    }

    #[tokio::test]
    async fn the_size_is_that_of_the_octets_that_are_sent() {
        let text = format!("Subject: x\r\n\r\n{}é\r\n", "a longer line\r\n".repeat(100));
        for is_file in [false, true] {
            let mut message = transaction(1, "", &["ben@example.net"], &text);
            if is_file {
                // Its buffer is smaller than the message.
                message.content =
                    Box::new(BufReader::with_capacity(7, io::Cursor::new(text.clone().into_bytes())));
            }
            assert!(recode(&mut message, EIGHT_BIT).await.is_recoded);
            let found = read(&mut message).await;
            assert!(
                found.ends_with("a longer line\r\n=C3=A9\r\n") && found.contains("quoted-printable"),
                "{found}"
            );
            message.content.seek(SeekFrom::Start(0)).await.unwrap();
            assert_eq!(read(&mut message).await, found, "from the beginning again");
        }
    }

    #[tokio::test]
    async fn a_message_that_needs_no_change_is_sent_from_its_own_octets() {
        for (text, unwanted) in [("\r\nascii\r\n", EIGHT_BIT), ("\r\né\r\n", Unwanted::default())] {
            let mut message = transaction(1, "", &["ben@example.net"], text);
            assert_eq!(recode(&mut message, unwanted).await, MadeReady::default());
            assert_eq!(read(&mut message).await, text);
        }
    }

    /// `sendmail -B8BITMIME`, as cron calls it, with a text of ASCII bounced with "the message is 8-bit".
    #[tokio::test]
    async fn the_content_decides_whether_a_message_is_8_bit() {
        let bounce = Recoding { eight_bit: EightBit::Bounce, long_lines: LongLines::Fold };
        let (without, with) =
            (Capabilities::default(), Capabilities { eight_bit_mime: true, ..Capabilities::default() });
        for (text, offered, eight_bit, expected) in [
            ("Subject: x\r\n\r\nascii\r\n", &without, EightBit::Bounce, Body::SevenBit),
            ("Content-Transfer-Encoding: 8bit\r\n\r\nascii\r\n", &without, EightBit::Bounce, Body::SevenBit),
            ("Subject: x\r\n\r\né\r\n", &without, EightBit::Bounce, Body::EightBitMime),
            ("Subject: é\r\n\r\nascii\r\n", &without, EightBit::Bounce, Body::EightBitMime),
            ("Subject: x\r\n\r\nascii\r\n", &with, EightBit::Bounce, Body::EightBitMime),
            ("Subject: x\r\n\r\nascii\r\n", &without, EightBit::Keep, Body::EightBitMime),
        ] {
            let mut message = transaction(1, "ann@example.org", &["ben@example.net"], text);
            message.body = Body::EightBitMime;
            make_ready(&mut message, Recoding { eight_bit, ..bounce }, offered).await;
            assert_eq!(message.body, expected, "{text:?} {eight_bit:?}");
            assert_eq!(read(&mut message).await, text);
        }
    }

    #[test]
    fn only_a_relay_without_8bitmime_gets_other_octets() {
        let encode = Recoding { eight_bit: EightBit::Encode, long_lines: LongLines::Fold };
        let (without, with) =
            (Capabilities::default(), Capabilities { eight_bit_mime: true, ..Capabilities::default() });
        let of = |from: &str, body| Transaction { body, ..transaction(1, from, &["ben@example.net"], "x") };
        let eight_bit = of("ann@example.org", Body::EightBitMime);
        assert_eq!(encode.unwanted(&eight_bit, &without), EIGHT_BIT);
        let bounce = Recoding { eight_bit: EightBit::Bounce, ..encode };
        assert_eq!(
            bounce.unwanted(&of("", Body::EightBitMime), &without),
            EIGHT_BIT,
            "a DSN does not bounce"
        );
        let seven_bit = of("ann@example.org", Body::SevenBit);
        for (recoding, message, offered) in [
            (encode, &eight_bit, &with),
            (encode, &seven_bit, &without),
            (bounce, &eight_bit, &without),
            (Recoding { eight_bit: EightBit::Keep, ..encode }, &eight_bit, &without),
        ] {
            assert_eq!(recoding.unwanted(message, offered), Unwanted::default());
        }
        let long_lines = Recoding { long_lines: LongLines::Encode, ..encode };
        assert!(long_lines.unwanted(&seven_bit, &with).long_lines);
    }
}
