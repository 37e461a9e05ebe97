//! The journal: messages and registrations are safe after one short write, long before the database has its pages in order.
//!
//! Two files take turns. A file is written from its start, over what it held before, so that a sync moves little more than
//! the messages themselves; it is used again once the database has everything in it. A record is its length, a checksum,
//! the generation of its file, and the message; the first that is not right ends the file. What a loss of power cut short
//! was never promised to anybody.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tandem_xmpp::jid::Jid;
use tandem_xmpp::ports::{ArchiveRow, Seq};

/// Bytes after which the other file takes its turn.
const SEGMENT: usize = 4 * 1024 * 1024;
/// Bytes by which a file grows: a sync of what lies beyond its end costs more than one of what lies within.
const STEP: usize = 256 * 1024;
/// Length, checksum and generation.
const HEAD: usize = 4 + 4 + 8;
/// What a record is.
const MESSAGE: u8 = 0;
const BINDINGS: u8 = 1;

/// Something between the journal and the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Pending {
    pub(in crate::store) seq: Seq,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Message(Message),
    Bindings(AccountBindings),
}

/// A message for archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) stanza: Bytes,
    pub(super) rows: Vec<ArchiveRow>,
    /// See `name_key`.
    pub(super) name: Option<i64>,
    /// See `once_key`.
    pub(super) once: Option<[u8; 16]>,
    pub(super) groupchat: bool,
}

/// Where the phones of an account are from now on: name and text of each binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct AccountBindings {
    pub(in crate::store) account: String,
    pub(in crate::store) rows: Vec<(String, String)>,
}

/// The two files.
#[derive(Debug)]
pub(in crate::store) struct Journal {
    current: Segment,
    other: Segment,
    generation: u64,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Segment {
    file: File,
    used: usize,
    size: usize,
    /// The last message in it.
    last: Seq,
}

impl Journal {
    /// Opens the journal beside a database, and gives what it holds in the order of places. `None`: a running program has it.
    pub(in crate::store) fn open(database: &Path) -> io::Result<Option<(Self, Vec<Pending>)>> {
        let open = |suffix: &str| {
            let mut name = database.as_os_str().to_owned();
            name.push(suffix);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).open(PathBuf::from(name))
        };
        let first = open(".log0")?;
        match first.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let second = open(".log1")?;
        if let Some(folder) = database.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        let (current, one, mut held) = Segment::read(first)?;
        let (other, two, more) = Segment::read(second)?;
        held.extend(more);
        held.sort_by_key(|pending| pending.seq);
        let generation = one.max(two) + 1;
        Ok(Some((Self { current, other, generation, buffer: Vec::new() }, held)))
    }

    /// The last message that the tables must have before these can be written.
    pub(super) fn needs(&self, messages: &[Pending]) -> Option<Seq> {
        let size: usize = messages.iter().map(Pending::size).sum();
        (self.current.used + size > SEGMENT).then_some(self.other.last)
    }

    /// Writes them and syncs; see [`Journal::needs`].
    pub(super) fn write(&mut self, messages: &[Pending]) -> io::Result<()> {
        if self.needs(messages).is_some() {
            std::mem::swap(&mut self.current, &mut self.other);
            self.current.used = 0;
            self.generation += 1;
        }
        self.buffer.clear();
        for message in messages {
            message.write(self.generation, &mut self.buffer);
        }
        self.current.append(&self.buffer)?;
        self.current.last = messages.last().map_or(self.current.last, |last| last.seq);
        // One large message does not keep its memory for good.
        self.buffer.shrink_to(STEP);
        Ok(())
    }
}

impl Segment {
    fn read(mut file: File) -> io::Result<(Self, u64, Vec<Pending>)> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        let (mut messages, mut generation) = (Vec::new(), 0);
        while let Some((found, message)) = Pending::read(&mut rest) {
            // What a failed write left behind the end was refused, and is older than what was written over its start.
            let is_older = messages.last().is_some_and(|last: &Pending| last.seq >= message.seq);
            if generation != 0 && found != generation || is_older {
                break;
            }
            generation = found;
            messages.push(message);
        }
        Ok((Self { file, used: 0, size: bytes.len(), last: 0 }, generation, messages))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.used + bytes.len();
        if end > self.size {
            let size = end.next_multiple_of(STEP);
            let zeros = vec![0; size - self.size];
            self.file.write_all_at(&zeros, self.size as u64)?;
            self.size = size;
        }
        self.file.write_all_at(bytes, self.used as u64)?;
        self.file.sync_data()?;
        self.used = end;
        Ok(())
    }
}

impl Pending {
    /// No less than its record takes.
    pub(super) fn size(&self) -> usize {
        let body: usize = match &self.what {
            What::Message(message) => {
                let size =
                    |row: &ArchiveRow| row.owner.as_str().len() + row.peer.as_str().len() + 9;
                message.stanza.len() + message.rows.iter().map(size).sum::<usize>()
            }
            What::Bindings(bindings) => {
                let size = |(name, text): &(String, String)| name.len() + text.len() + 8;
                bindings.account.len() + bindings.rows.iter().map(size).sum::<usize>()
            }
        };
        HEAD + 64 + body
    }

    /// What recognises a second sending.
    pub(super) fn once(&self) -> Option<[u8; 16]> {
        match &self.what {
            What::Message(message) => message.once,
            What::Bindings(_) => None,
        }
    }

    fn write(&self, generation: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&generation.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        match &self.what {
            What::Message(message) => {
                out.push(MESSAGE);
                message.write(out);
            }
            What::Bindings(bindings) => {
                out.push(BINDINGS);
                bindings.write(out);
            }
        }
        let Some((head, body)) = out.get_mut(start..).and_then(|all| all.split_at_mut_checked(8))
        else {
            return;
        };
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    }

    /// The next record and the generation it was written in. `None`: there is none, or it is not whole.
    fn read(rest: &mut &[u8]) -> Option<(u64, Self)> {
        let length = usize::try_from(u32::from_le_bytes(read_array(rest)?)).ok()?;
        let sum = u32::from_le_bytes(read_array(rest)?);
        let mut body = rest.split_off(..length)?;
        if length == 0 || crc32fast::hash(body) != sum {
            return None;
        }
        let body = &mut body;
        let generation = u64::from_le_bytes(read_array(body)?);
        let seq = i64::from_le_bytes(read_array(body)?);
        let what = match read_array(body)? {
            [MESSAGE] => What::Message(Message::read(body)?),
            [BINDINGS] => What::Bindings(AccountBindings::read(body)?),
            _ => return None,
        };
        Some((generation, Self { seq, what }))
    }
}

impl Message {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.groupchat));
        out.push(u8::from(self.name.is_some()));
        out.extend_from_slice(&self.name.unwrap_or_default().to_le_bytes());
        out.push(u8::from(self.once.is_some()));
        out.extend_from_slice(&self.once.unwrap_or_default());
        write_bytes(&self.stanza, out);
        for row in &self.rows {
            out.push(u8::from(row.waits));
            write_bytes(row.owner.as_str().as_bytes(), out);
            write_bytes(row.peer.as_str().as_bytes(), out);
        }
    }

    fn read(body: &mut &[u8]) -> Option<Self> {
        let groupchat = read_flag(body)?;
        let has_name = read_flag(body)?;
        let name = i64::from_le_bytes(read_array(body)?);
        let has_once = read_flag(body)?;
        let once = read_array(body)?;
        let stanza = Bytes::copy_from_slice(read_bytes(body)?);
        let mut rows = Vec::new();
        while !body.is_empty() {
            let waits = read_flag(body)?;
            let (owner, peer) = (read_jid(body)?, read_jid(body)?);
            rows.push(ArchiveRow { owner, peer, waits });
        }
        let (name, once) = (has_name.then_some(name), has_once.then_some(once));
        Some(Self { stanza, rows, name, once, groupchat })
    }
}

impl AccountBindings {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.account.as_bytes(), out);
        for (name, text) in &self.rows {
            write_bytes(name.as_bytes(), out);
            write_bytes(text.as_bytes(), out);
        }
    }

    fn read(body: &mut &[u8]) -> Option<Self> {
        let account = read_text(body)?;
        let mut rows = Vec::new();
        while !body.is_empty() {
            rows.push((read_text(body)?, read_text(body)?));
        }
        Some(Self { account, rows })
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn read_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*array)
}

fn read_flag(rest: &mut &[u8]) -> Option<bool> {
    read_array::<1>(rest).map(|[flag]| flag != 0)
}

fn read_bytes<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(u32::from_le_bytes(read_array(rest)?)).ok()?;
    rest.split_off(..length)
}

fn read_text(rest: &mut &[u8]) -> Option<String> {
    String::from_utf8(read_bytes(rest)?.to_owned()).ok()
}

fn read_jid(rest: &mut &[u8]) -> Option<Jid> {
    Jid::parse(std::str::from_utf8(read_bytes(rest)?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: Seq, size: usize) -> Pending {
        let row = |owner: &str, waits| ArchiveRow {
            owner: Jid::parse(owner).unwrap(),
            peer: Jid::parse("b@d/x").unwrap(),
            waits,
        };
        if seq % 7 == 0 {
            let rows = vec![("phone".to_owned(), "s".repeat(size)), ("other".into(), "x".into())];
            let what = What::Bindings(AccountBindings { account: "a@d".into(), rows });
            return Pending { seq, what };
        }
        let message = Message {
            stanza: vec![b's'; size].into(),
            rows: vec![row("a@d", false), row("b@d", true)],
            name: (seq % 2 == 0).then_some(-7),
            once: (seq % 3 == 0).then_some([9; 16]),
            groupchat: seq % 5 == 0,
        };
        Pending { seq, what: What::Message(message) }
    }

    fn reopen(path: &Path) -> Vec<Pending> {
        Journal::open(path).unwrap().unwrap().1
    }

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tandem.db");
        let messages: Vec<_> = (1..40).map(|seq| message(seq, seq as usize * 10)).collect();
        {
            let (mut journal, held) = Journal::open(&path).unwrap().unwrap();
            assert!(held.is_empty());
            assert!(Journal::open(&path).unwrap().is_none());
            for chunk in messages.chunks(7) {
                journal.write(chunk).unwrap();
            }
        }
        assert_eq!(reopen(&path), messages);
    }

    #[test]
    fn files_take_turns_and_the_older_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tandem.db");
        let (mut journal, _) = Journal::open(&path).unwrap().unwrap();
        let mut needed = Vec::new();
        for seq in 1..=10 {
            let batch = [message(seq, SEGMENT / 3)];
            needed.extend(journal.needs(&batch));
            journal.write(&batch).unwrap();
        }
        // Two go into a file; the third needs the other file, and so all that was in it before.
        assert_eq!(needed, [0, 2, 4, 6]);
        drop(journal);
        let seqs: Vec<_> = reopen(&path).iter().map(|message| message.seq).collect();
        assert_eq!(seqs, [7, 8, 9, 10]);
        let (mut journal, _) = Journal::open(&path).unwrap().unwrap();
        journal.write(&[message(11, 5)]).unwrap();
        drop(journal);
        let seqs: Vec<_> = reopen(&path).iter().map(|message| message.seq).collect();
        // Written over from its start: what lay behind it is of another generation.
        assert!(seqs == [7, 8, 11] || seqs == [9, 10, 11], "{seqs:?}");
    }

    #[test]
    fn what_was_refused_is_not_read_behind_what_was_written_over_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tandem.db");
        {
            let (mut journal, _) = Journal::open(&path).unwrap().unwrap();
            journal.write(&[message(1, 30), message(2, 30), message(3, 30)]).unwrap();
            // As if the sync had failed.
            journal.current.used = 0;
            journal.write(&[message(11, 30)]).unwrap();
        }
        assert_eq!(reopen(&path), [message(11, 30)]);
    }

    #[test]
    fn a_record_cut_at_any_byte_ends_the_file() {
        let mut whole = Vec::new();
        for seq in 1..4 {
            message(seq, 20).write(3, &mut whole);
        }
        let mut ends = Vec::new();
        let mut rest = whole.as_slice();
        while Pending::read(&mut rest).is_some() {
            ends.push(whole.len() - rest.len());
        }
        assert_eq!(ends.len(), 3);
        for cut in 0..whole.len() {
            let mut rest = &whole[..cut];
            let mut read = 0;
            while Pending::read(&mut rest).is_some() {
                read += 1;
            }
            assert_eq!(read, ends.iter().filter(|end| **end <= cut).count());
            let mut damaged = whole.clone();
            damaged[cut] ^= 0x55;
            let mut rest = damaged.as_slice();
            let mut read = 0;
            while Pending::read(&mut rest).is_some() {
                read += 1;
            }
            assert_eq!(read, ends.iter().filter(|end| **end <= cut).count());
        }
    }
}
