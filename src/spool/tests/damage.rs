//! Octets on the disk that are not what was written.

use proptest::prelude::*;

use super::*;
use crate::spool::paths::SpoolPaths;
use crate::spool::recover;

const MESSAGES: usize = 80;
const SEGMENT: &str = "/spool/log/00000001.seg";

/// Returns a spool whose first segments are closed, and the content of every message in them.
fn history() -> (SimFs, Vec<(QueueId, Vec<u8>)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let rig = new();
        let mut sent = Vec::new();
        for number in 0..MESSAGES {
            // Two sectors each: so much lives that nothing is cleaned.
            let octets = content(number, 800);
            sent.push((rig.commit(&octets).await.id(), octets));
        }
        rig.spool.close().await;
        drop(open(&rig.fs));
        (rig.fs.image(1), sent)
    })
}

/// Checks that every message that is there is right; returns the number of messages that are not there.
fn lost(rig: &Rig, sent: &[(QueueId, Vec<u8>)]) -> usize {
    assert!(rig.ids().iter().all(|id| sent.iter().any(|(known, _)| known == id)), "a message from nowhere");
    sent.iter()
        .filter(|(id, octets_)| match rig.spool.read(*id) {
            Ok(stored) => {
                assert!(octets(stored.content) == *octets_, "{id} is not what was sent");
                false
            }
            Err(_) => true,
        })
        .count()
}

/// Promise 5, D9: one flipped bit costs one message at most, is kept, and is reported once.
#[test]
fn a_flipped_bit_costs_one_message() {
    let (fs, sent) = history();
    for at in (0..20_000).step_by(97) {
        let fs = fs.image(1);
        fs.damage(Path::new(SEGMENT), |octets| octets[at] ^= 0x10);
        let rig = open(&fs);
        let lost_here = lost(&rig, &sent);
        assert!(lost_here <= 1, "octet {at}: {lost_here} lost");
        // Padding between two batches is damaged without a loss.
        let reported = rig.recovery.damaged.len();
        assert!(lost_here <= reported && reported <= 1, "octet {at}: {:?}", rig.recovery.damaged);
        assert_eq!(rig.names("corrupt").len(), reported, "octet {at}");
        drop(rig);
        assert!(open(&fs).recovery.damaged.is_empty(), "octet {at}: reported again");
    }
}

/// The damage that a start finds and has moved aside, before anything is cleaned: a spool that runs removes damaged
/// segments as soon as it likes.
fn found_damaged(fs: &SimFs) -> Vec<String> {
    let paths = SpoolPaths::under(Path::new("/spool"));
    let mut survey = recover::survey(fs, &paths).unwrap();
    recover::tidy(fs, &paths, &mut survey).unwrap()
}

/// salvage.rs: what was hit since the last start stood behind a range that was known, and was once neither kept nor
/// reported; nor was damage of a segment that had the number of one before.
#[test]
fn damage_that_grows_and_damage_of_a_namesake_are_kept_and_reported() {
    let (fs, _) = history();
    let corrupt = |fs: &SimFs| fs::Fs::list(fs, Path::new("/spool/corrupt")).unwrap();
    for (later, end) in [(9216 + 100, 10_240), (8192 + 200, 9216)] {
        let fs = fs.image(1);
        fs.damage(Path::new(SEGMENT), |octets| octets[8192 + 100] ^= 1);
        assert_eq!(found_damaged(&fs).len(), 1);
        let first = corrupt(&fs);
        assert_eq!(first.len(), 1);
        fs.damage(Path::new(SEGMENT), |octets| octets[later] ^= 1);
        let damaged = found_damaged(&fs);
        assert_eq!(damaged.len(), 1, "{damaged:?}");
        assert!(damaged[0].contains(&format!("octet 8192 to {end};")), "{damaged:?}");
        assert_eq!(corrupt(&fs).len(), 2);
        assert!(corrupt(&fs).contains(&first[0]));
    }
}

/// recover.rs 4: with both copies of the header gone, the records are still found.
#[test]
fn a_segment_without_a_header_keeps_its_messages() {
    let (fs, sent) = history();
    fs.damage(Path::new(SEGMENT), |octets| octets[..8192].fill(0));
    let rig = open(&fs);
    assert_eq!(lost(&rig, &sent), 0);
    assert_eq!(rig.recovery.damaged.len(), 1, "{:?}", rig.recovery.damaged);
    assert!(rig.recovery.damaged[0].contains("octet 0 to 8192"));
}

/// A history of which `harm` has been done to every segment.
fn harmed_everywhere(harm: impl Fn(&mut Vec<u8>)) -> (SimFs, Vec<(QueueId, Vec<u8>)>) {
    let (fs, sent) = history();
    for name in fs::Fs::list(&fs, Path::new("/spool/log")).unwrap() {
        fs.damage(&Path::new("/spool/log").join(name), &harm);
    }
    (fs, sent)
}

/// identify.rs 1: no header anywhere, and damage reached into the first records, too. A spool of one segment, which
/// is all that a host with little mail has, was once thrown away for it, without a word.
#[test]
fn a_log_without_any_header_keeps_its_messages() {
    // The second reaches into the first record of each of three segments.
    for (octets, most) in [(8192, 0), (9216, 3)] {
        let (fs, sent) = harmed_everywhere(|segment| segment[..octets].fill(0));
        let rig = open(&fs);
        assert!(lost(&rig, &sent) <= most, "{octets} octets: {} lost", lost(&rig, &sent));
        assert!(rig.recovery.damaged.iter().any(|line| line.contains("octet 0 to 8192")));
        assert_eq!(rig.names("corrupt").len(), rig.recovery.damaged.len());
        drop(rig);
        let again = open(&fs);
        assert!(again.recovery.damaged.is_empty() && lost(&again, &sent) <= most, "{octets} octets");
    }
}

/// recover.rs 6: of a segment that somebody removed, or a file system lost, nobody was told.
#[test]
fn a_segment_that_is_not_there_is_missed() {
    let (fs, sent) = history();
    assert!(open(&fs.image(1)).recovery.damaged.is_empty());
    fs::Fs::unlink(&fs, Path::new("/spool/log/00000002.seg")).unwrap();
    let rig = open(&fs);
    assert!((1..MESSAGES).contains(&lost(&rig, &sent)));
    assert!(
        rig.recovery.damaged[0].starts_with("segment 00000002 is missing; "),
        "{:?}",
        rig.recovery.damaged
    );
    assert_eq!(rig.recovery.damaged.len(), 1);
}

/// recover.rs 3: the newest segment is cut off, as a file system check may leave it. What was in the part that is
/// gone was once called a write that nobody had been told of.
#[tokio::test]
async fn a_segment_that_was_cut_off_is_damaged() {
    for length in [9000, 8192 + 40, 8192 + 10 * 1024 + 512, 8192 + 20 * 1024 + 900] {
        let rig = new();
        for number in 0..25 {
            rig.commit(&content(number, 800)).await;
        }
        let fs = rig.fs.image(1);
        fs.damage(Path::new(SEGMENT), |octets| octets.truncate(length));
        let back = open(&fs);
        assert_eq!(back.ids().len(), (length - 8192) / 1024, "cut off at {length}");
        assert_eq!((back.recovery.damaged.len(), back.recovery.torn), (1, 0), "cut off at {length}");
        drop(back);
        assert!(open(&fs).recovery.damaged.is_empty(), "cut off at {length}: reported again");
    }
}

/// recover.rs 5: the segments are gone, and with them the record; the content is put aside, not unlinked.
#[tokio::test]
async fn content_without_a_log_is_kept() {
    let rig = new();
    let id = rig.commit(&content(1, 9000)).await.id();
    let fs = rig.fs.image(1);
    for name in fs::Fs::list(&fs, Path::new("/spool/log")).unwrap() {
        fs::Fs::unlink(&fs, &Path::new("/spool/log").join(name)).unwrap();
    }
    let back = open(&fs);
    assert_eq!((back.names("corrupt"), back.names("large")), (vec![id.to_string()], vec![]));
    assert_eq!(back.recovery.damaged.len(), 1, "{:?}", back.recovery.damaged);
}

/// No header and no record anywhere: nothing can be read, nothing is deleted.
#[test]
fn a_log_without_anything_whole_is_put_aside() {
    let (fs, sent) =
        harmed_everywhere(|segment| segment.iter_mut().skip(8).step_by(16).for_each(|octet| *octet ^= 1));
    let rig = open(&fs);
    assert_eq!(lost(&rig, &sent), MESSAGES);
    assert!(!rig.recovery.damaged.is_empty());
    assert_eq!(rig.names("corrupt").len(), rig.recovery.damaged.len());
}

/// Not under the name of what was kept of it before.
#[test]
fn a_segment_that_is_put_aside_replaces_nothing() {
    let (fs, _) = harmed_everywhere(|segment| segment[..8192].fill(0));
    let kept = open(&fs).names("corrupt");
    for name in fs::Fs::list(&fs, Path::new("/spool/log")).unwrap() {
        let spoil =
            |octets: &mut Vec<u8>| octets.iter_mut().skip(8).step_by(16).for_each(|octet| *octet ^= 1);
        fs.damage(&Path::new("/spool/log").join(name), spoil);
    }
    let rig = open(&fs);
    assert!(kept.iter().all(|name| rig.names("corrupt").contains(name)));
    assert_eq!(rig.names("corrupt").len(), kept.len() + rig.recovery.damaged.len());
}

/// format.rs 1: a record inside the content of a message is content, even where the message's own head is gone.
#[tokio::test]
async fn a_record_in_the_content_is_never_believed() {
    let rig = new();
    rig.commit(&content(1, 900)).await;
    let segment = rig.fs.content(Path::new(SEGMENT)).unwrap();
    let forged = [&[b'x'; 500], &segment[8192..8192 + 1024]].concat();
    let mut genuine = Vec::new();
    for pad in 0..8 {
        // Each at another distance from where a record may start.
        genuine.push(rig.commit(&[&vec![b'x'; pad], &forged[..]].concat()).await.id());
    }
    let fs = rig.fs.image(1);
    fs.damage(Path::new(SEGMENT), |octets| {
        for at in (8192..octets.len()).step_by(512).filter(|at| segment.len() > *at) {
            if octets[at..].starts_with(b"nmR1") {
                octets[at + 20] ^= 1;
            }
        }
    });
    assert_eq!(open(&fs).ids(), [], "{} messages without a head", genuine.len() + 1);
}

/// The content of a large file, too.
#[tokio::test]
async fn a_damaged_large_file_is_not_given_out() {
    let rig = new();
    let id = rig.commit(&content(1, 9000)).await.id();
    let path = Path::new("/spool/large").join(id.to_string());
    rig.fs.damage(&path, |octets| octets[5000] ^= 1);
    assert!(matches!(rig.spool.read(id), Err(ReadError::Damaged)));
    assert!(rig.spool.peek(id).is_ok(), "a listing does not read it");
    rig.fs.damage(&path, |octets| octets.truncate(8999));
    assert!(matches!(rig.spool.peek(id), Err(ReadError::Damaged)));
    assert_eq!(open(&rig.fs.image(1)).ids(), [id], "for an operator to see");
}

/// recover.rs 5: the record of a large message is hit; its content is put aside, not unlinked.
#[tokio::test]
async fn content_whose_record_is_damaged_is_kept() {
    let rig = new();
    let id = rig.commit(&content(1, 9000)).await.id();
    rig.commit(b"next").await;
    let fs = rig.fs.image(1);
    fs.damage(Path::new(SEGMENT), |octets| octets[8192 + 50] ^= 1);
    let back = open(&fs);
    assert!(!back.ids().contains(&id));
    assert!(back.names("corrupt").contains(&id.to_string()), "{:?}", back.names("corrupt"));
}

#[derive(Clone, Debug)]
enum Harm {
    Flip(usize, u8),
    Zero(usize),
    Garbage(usize),
    Copy(usize, usize),
    Swap(usize, usize),
    Truncate(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let sector = || 0usize..64;
    prop_oneof![
        (0usize..32768, 1u8..).prop_map(|(at, mask)| Harm::Flip(at, mask)),
        sector().prop_map(Harm::Zero),
        sector().prop_map(Harm::Garbage),
        (sector(), sector()).prop_map(|(from, to)| Harm::Copy(from, to)),
        (sector(), sector()).prop_map(|(one, other)| Harm::Swap(one, other)),
        (0usize..32768).prop_map(Harm::Truncate),
    ]
}

impl Harm {
    fn apply(&self, octets: &mut Vec<u8>) {
        match *self {
            Harm::Flip(at, mask) => octets[at] ^= mask,
            Harm::Zero(sector) => octets[sector * 512..][..512].fill(0),
            Harm::Garbage(sector) => octets[sector * 512..][..512].fill(0xA5),
            Harm::Copy(from, to) => octets.copy_within(from * 512..(from + 1) * 512, to * 512),
            Harm::Swap(one, other) => {
                for at in 0..512 {
                    octets.swap(one * 512 + at, other * 512 + at);
                }
            }
            Harm::Truncate(length) => octets.truncate(length),
        }
    }

    /// A sector meets two records at most.
    fn may_cost(&self) -> usize {
        match self {
            Harm::Flip(..) => 1,
            Harm::Zero(_) | Harm::Garbage(_) | Harm::Copy(..) => 2,
            Harm::Swap(..) => 4,
            Harm::Truncate(_) => MESSAGES,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn harm_costs_what_it_hits_and_is_reported(harm in harm()) {
        let (fs, sent) = history();
        fs.damage(Path::new(SEGMENT), |octets| harm.apply(octets));
        let rig = open(&fs);
        let lost = lost(&rig, &sent);
        prop_assert!(lost <= harm.may_cost(), "{lost} lost");
        prop_assert!(lost == 0 || !rig.recovery.damaged.is_empty());
        drop(rig);
        let again = open(&fs);
        prop_assert!(again.recovery.damaged.is_empty());
    }
}
