//! The voter registry as a file of text, a line each. `docs/format.md` has the picture.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::table::{Table, VoterRecord};
use crate::raft::promise::Promise;

pub(super) const NAME: &str = "storage";
const NAME_WHILE_WRITTEN: &str = "storage.new";
/// No registry is longer; what is, is damaged.
const BYTES_MAX: u64 = 64 << 10;

/// # Errors
/// `InvalidData` where it is damaged.
pub(super) fn read(directory: &Path) -> io::Result<Option<Table>> {
    let file = match File::open(directory.join(NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text)?;
    let table = parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is damaged"))?;
    Ok(Some(table))
}

/// Written aside and renamed, so that it is there as a whole or not at all. Durable when it returns.
pub(super) fn write(directory: &Path, table: &Table) -> io::Result<()> {
    let new = directory.join(NAME_WHILE_WRITTEN);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text(table).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

pub(super) fn text(table: &Table) -> String {
    let mut text = format!("storage {:016x}\n", table.storage);
    if let Some(missing) = table.missing {
        writeln!(text, "missing {}", promise_text(missing)).expect("a string takes everything");
    }
    for (id, VoterRecord { storage, promise }) in &table.voters {
        let promise = promise_text(*promise);
        writeln!(text, "voter {id:016x} {storage:016x} {promise}").expect("a string takes everything");
    }
    text
}

/// Term of the vote, term of the last entry, and one more than its index.
fn promise_text(promise: Promise) -> String {
    let (last_term, end) = promise.last.map_or((0, 0), |(term, index)| (term, index + 1));
    format!("{} {last_term} {end}", promise.term)
}

pub(super) fn parse(text: &str) -> Option<Table> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let storage = id(lines.next()?.strip_prefix("storage ")?)?;
    let mut table = Table { storage, ..Table::default() };
    for line in lines {
        let mut words = line.split(' ');
        match words.next()? {
            "missing" => table.missing = Some(promise(&mut words)?),
            "voter" => {
                let (voter, storage) = (id(words.next()?)?, id(words.next()?)?);
                table.voters.insert(voter, VoterRecord { storage, promise: promise(&mut words)? });
            }
            _ => return None,
        }
        if words.next().is_some() {
            return None;
        }
    }
    Some(table)
}

fn id(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok().filter(|id| *id != 0)
}

fn promise<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Promise> {
    let mut number = || words.next()?.parse::<u64>().ok();
    let (term, last_term, end) = (number()?, number()?, number()?);
    Some(Promise { term, last: end.checked_sub(1).map(|index| (last_term, index)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_read_back() {
        let record = VoterRecord { storage: 0xb, promise: Promise { term: 7, last: Some((6, 120)) } };
        let mut table = Table { storage: 0xa, ..Table::default() };
        assert_eq!(parse(&text(&table)).as_ref(), Some(&table));
        table.voters.insert(3, record);
        table.voters.insert(5, VoterRecord { storage: 1, promise: Promise::default() });
        table.missing = Some(record.promise);
        let text = text(&table);
        assert_eq!(parse(&text).as_ref(), Some(&table));
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(read(scratch.path()).unwrap(), None);
        write(scratch.path(), &table).unwrap();
        assert_eq!(read(scratch.path()).unwrap(), Some(table));
        std::fs::write(scratch.path().join(NAME), "storage 0\n").unwrap();
        assert_eq!(read(scratch.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn damage_is_no_registry() {
        for text in
            ["", "storage a", "storage 0\n", "storage a\nvoter 1\n", "storage a\nmissing 1 2 x\n", "x\n"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
