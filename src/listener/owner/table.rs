//! The kernel's table of all TCP sockets: proc(5), `/proc/net/tcp`.
//!
//! Promises
//! 1. One thread reads the table at a time, however many wait: a read answers all who waited when it began. So a socket
//!    that was there when the question was asked is in the table, and the cost of a read is shared.
//! 2. At most [`MOST`] octets of a table are read. The rest describes no socket, and neither does a line that is cut off.
//! 3. No async thread reads.
//!
//! Fails: a table that cannot be opened or read has no sockets. If no thread can be had, those who wait get no user.
//!
//! Not here: what a line means (`socket_row.rs`), whether its answer still counts (`owner.rs`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::socket_row::{FourTuple, SocketRow};

/// The octets of a table that are read: about 50,000 sockets.
const MOST: u64 = 8 << 20;

/// A table, from its beginning.
pub(super) type OpenTable = Box<dyn BufRead + Send>;

/// A source of the tables. It is called for each read.
type OpenTables = fn() -> Vec<OpenTable>;

/// The table, and those who wait for its next read.
pub(super) struct SocketTable<T = OpenTables> {
    tables: T,
    queue: Mutex<ReadQueue>,
}

#[derive(Default)]
struct ReadQueue {
    waiting: Vec<(FourTuple, oneshot::Sender<Option<u32>>)>,
    /// True if a thread reads now, or is about to: there is a [`ReadDuty`].
    is_being_read: bool,
}

/// The duty to read for all who wait, until nobody does.
struct ReadDuty<T> {
    table: Arc<SocketTable<T>>,
    is_done: bool,
}

impl<T> Drop for ReadDuty<T> {
    /// Leaves nobody waiting, and the next one reads, if there is no thread to do it or it panics.
    fn drop(&mut self) {
        if !self.is_done {
            let mut queue = self.table.queue();
            queue.is_being_read = false;
            let waiting = std::mem::take(&mut queue.waiting);
            drop(queue);
            // They get no answer.
            drop(waiting);
        }
    }
}

impl<T> SocketTable<T> {
    fn queue(&self) -> MutexGuard<'_, ReadQueue> {
        // No code under this lock can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SocketTable {
    /// Returns the tables of this process's network, of IPv4 and of IPv6.
    pub fn of_kernel() -> Arc<Self> {
        SocketTable::of(|| {
            // An IPv6 socket may have connected to an IPv4 address: then it is in the second one.
            let names = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
            let opened = names.into_iter().filter_map(|name| File::open(name).ok());
            opened.map(|file| Box::new(BufReader::new(file)) as OpenTable).collect()
        })
    }
}

impl<T: Fn() -> Vec<OpenTable> + Send + Sync + 'static> SocketTable<T> {
    pub(super) fn of(tables: T) -> Arc<Self> {
        Arc::new(SocketTable { tables, queue: Mutex::default() })
    }

    /// Returns the user who owns the socket with these addresses.
    pub async fn owner_of(self: &Arc<Self>, tuple: FourTuple) -> Option<u32> {
        let (answer, answered) = oneshot::channel();
        if let Some(duty) = self.join(tuple, answer) {
            // It ends by itself when nobody waits.
            drop(tokio::task::spawn_blocking(move || duty.read_for_all()));
        }
        answered.await.ok().flatten()
    }

    /// Joins those who wait. Returns the duty to read for them if nobody has it yet.
    fn join(self: &Arc<Self>, tuple: FourTuple, answer: oneshot::Sender<Option<u32>>) -> Option<ReadDuty<T>> {
        let mut queue = self.queue();
        queue.waiting.push((tuple, answer));
        let has_reader = std::mem::replace(&mut queue.is_being_read, true);
        (!has_reader).then(|| ReadDuty { table: Arc::clone(self), is_done: false })
    }
}

impl<T: Fn() -> Vec<OpenTable>> ReadDuty<T> {
    /// Reads the tables again and again, until nobody waits.
    fn read_for_all(mut self) {
        loop {
            let waiting = {
                let mut queue = self.table.queue();
                queue.is_being_read = !queue.waiting.is_empty();
                std::mem::take(&mut queue.waiting)
            };
            if waiting.is_empty() {
                self.is_done = true;
                return;
            }
            let mut owners = waiting.iter().map(|(tuple, _)| (*tuple, None)).collect();
            (self.table.tables)().into_iter().for_each(|table| look_up(table, &mut owners));
            for (tuple, answer) in waiting {
                // The client may have gone meanwhile.
                let _ = answer.send(owners.get(&tuple).copied().flatten());
            }
        }
    }
}

/// Puts down the owner of each of these sockets that the table has.
pub(super) fn look_up(table: impl BufRead, owners: &mut HashMap<FourTuple, Option<u32>>) {
    let (mut table, mut line) = (table.take(MOST), Vec::new());
    while table.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let row = SocketRow::parse(&line);
        if let Some(row) = row
            && let Some(owner) = owners.get_mut(&row.tuple)
        {
            *owner = owner.or(row.owner());
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0000000000000000 100 0 0 10 0
   1: 0100007F:C350 0100007F:0019 01 00000000:00000000 00:00000000 00000000  1000        0 21 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:0019 0100007F:C350 01 00000000:00000000 00:00000000 00000000    33        0 22 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:C351 0100007F:0019 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0000000000000000
   4: 0100007F:C352 0100007F:0019 01 short
   5: 0100007F:C353 0100007F:0019 01 00000000:00000000 00:00000000 00000000  -1        0 21 1
   6: 0100007F:C355 0100007F:0019 05 00000000:00000000 00:00000000 00000000     0        0 0 1
   7: 0100007F:C355 0100007F:0019 02 00000000:00000000 00:00000000 00000000  1002        0 21 1
   8: 0100007F:C356 0100007F:0019 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0000000000000000
   9: 0100007F:C356 0100007F:0019 01 00000000:00000000 00:00000000 00000000  1003        0 23 1
";

    /// Returns the addresses of a client at this port of 127.0.0.1 that is connected to `to`.
    fn tuple(port: u16, to: &str) -> FourTuple {
        FourTuple::of(SocketAddr::new([127, 0, 0, 1].into(), port), to.parse().unwrap())
    }

    #[test]
    fn a_user_is_found_by_both_addresses_or_not_at_all() {
        if cfg!(target_endian = "big") {
            return;
        }
        let cases = [
            (0xC350, "127.0.0.1:25", Some(1000)),
            (0xC350, "127.0.0.1:26", None),
            (0xC350, "127.0.0.2:25", None),
            (0xC351, "127.0.0.1:25", None),
            (0xC352, "127.0.0.1:25", None),
            (0xC353, "127.0.0.1:25", None),
            (0xC354, "127.0.0.1:25", None),
            // The first socket is nobody's any more, and the second one is not connected yet.
            (0xC355, "127.0.0.1:25", None),
            // The first one is the end of an earlier connection.
            (0xC356, "127.0.0.1:25", Some(1003)),
        ];
        let mut owners = cases.iter().map(|(port, to, _)| (tuple(*port, to), None)).collect();
        look_up(TABLE.as_bytes(), &mut owners);
        for (port, to, expected) in cases {
            assert_eq!(owners[&tuple(port, to)], expected, "{port:X} {to}");
        }
    }

    #[test]
    fn a_table_is_read_up_to_a_bound() {
        let endless = BufReader::new(std::io::repeat(b'x'));
        look_up(endless, &mut HashMap::new());
    }

    /// Nobody ever read again, and each session waited for its answer in vain.
    #[tokio::test]
    async fn a_read_that_breaks_off_leaves_nobody_waiting_and_the_next_one_reads() {
        let reads = AtomicUsize::new(0);
        let table = SocketTable::of(move || {
            assert!(reads.fetch_add(1, Ordering::SeqCst) > 0, "this read breaks off");
            vec![Box::new(TABLE.as_bytes()) as OpenTable]
        });
        let asked = tuple(0xC350, "127.0.0.1:25");
        let (answer, no_thread) = oneshot::channel();
        drop(table.join(asked, answer));
        assert!(no_thread.await.is_err());
        assert_eq!(table.owner_of(asked).await, None);
        while table.queue().is_being_read {
            tokio::task::yield_now().await;
        }
        let expected = cfg!(target_endian = "little").then_some(1000);
        assert_eq!(table.owner_of(asked).await, expected);
    }

    /// Each of many connections read the table for itself, which took longer than the session.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn those_who_wait_share_the_next_read() {
        let reads = Arc::new(AtomicUsize::new(0));
        let (begun, begins) = channel();
        let (counted, begun) = (Arc::clone(&reads), Mutex::new(begun));
        let table = SocketTable::of(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let (go, gone) = channel::<()>();
            // The test lets the read go on by dropping this.
            let _: Result<(), _> = begun.lock().unwrap().send(go);
            let _ = gone.recv();
            vec![Box::new(TABLE.as_bytes()) as OpenTable]
        });
        let ask = |table: &Arc<SocketTable<_>>| {
            let table = Arc::clone(table);
            tokio::spawn(async move { table.owner_of(tuple(0xC350, "127.0.0.1:25")).await })
        };
        let first = ask(&table);
        let go: Sender<()> = begins.recv().unwrap();
        let others: Vec<_> = (0..50).map(|_| ask(&table)).collect();
        while table.queue().waiting.len() < 50 {
            tokio::task::yield_now().await;
        }
        drop(go);
        first.await.unwrap();
        drop(begins.recv().unwrap());
        let expected = cfg!(target_endian = "little").then_some(1000);
        for other in others {
            assert_eq!(other.await.unwrap(), expected);
        }
        assert_eq!(reads.load(Ordering::SeqCst), 2);
        // Nobody waits, so nobody reads: the next one begins anew.
        while table.queue().is_being_read {
            tokio::task::yield_now().await;
        }
        let next = ask(&table);
        drop(begins.recv().unwrap());
        assert_eq!(next.await.unwrap(), expected);
    }
}
