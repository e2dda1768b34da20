//! Journals that start on a disk which is not their own: a blank one, an older copy of theirs, or that of another.
//!
//!     blank      refused, as soon as it reaches one that knows; then its own disk is found again
//!     older      it starts, and must not vote before it has caught up
//!     swapped    both are refused; then they are swapped back
//!
//! One journal at a time, as one of three may fail.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CALM, World};
use crate::host::{Host, Kept, Life};

/// How long nothing else goes wrong after a journal has started on an older disk: it must be able to ask the one that
/// knows better. What nobody tells it cannot know (ADR 26).
const ASKED_WITHIN: Duration = Duration::from_millis(2_500);

/// A copy of a journal's disk, and whether the one that knows better has run ever since.
pub(super) struct Copy {
    of: usize,
    kept: Kept,
    witness: (usize, u32),
}

/// Which journal is on a disk that is not its own.
pub(super) enum Stranger {
    /// And its own disk.
    Blank(usize, Kept),
    Swapped(usize, usize),
}

#[derive(Default)]
pub(super) struct Disks {
    copy: Option<Copy>,
    stranger: Option<Stranger>,
    /// Until when nothing else goes wrong.
    pub(super) calm_until: Duration,
    folders: usize,
}

impl World {
    fn aside(&mut self) -> PathBuf {
        self.disks.folders += 1;
        self.directory.join(format!("aside-{}", self.disks.folders))
    }

    /// `witness` goes on, and hears what the host promises from now on.
    pub(super) fn copy_disk(&mut self, of: usize, witness: usize) {
        let aside = self.aside();
        let witness = (witness, self.hosts[witness].starts);
        let is_own = self.disks.stranger.is_none() && self.hosts[of].life() == Some(Life::Serves);
        self.disks.copy = is_own.then(|| Copy { of, kept: self.hosts[of].copy(&aside), witness });
    }

    pub(super) fn older_disk(&mut self, one: usize) {
        let Some(Copy { of, kept, witness: (witness, starts) }) = self.disks.copy.take() else { return };
        let host = &self.hosts[witness];
        let hears = host.life() == Some(Life::Serves) && host.starts == starts && !host.is_paused;
        if of != one || !hears || self.disks.stranger.is_some() {
            return;
        }
        self.story.tell(format!("{} starts on an older disk", self.hosts[one].name));
        for (from, to) in [(one, witness), (witness, one)] {
            self.net.set_way(from, to, |way| *way = CALM);
        }
        for host in [one, witness] {
            self.set_faults(host, |_| ());
            self.hosts[host].disk().slow(Some(Duration::from_micros(500)));
        }
        self.disks.calm_until = self.now + ASKED_WITHIN;
        let aside = self.aside();
        if self.hosts[one].is_running() {
            self.hosts[one].kill();
        }
        drop(self.hosts[one].take_disk(&aside));
        self.hosts[one].put_disk(kept);
        self.hosts[one].start();
    }

    pub(super) fn blank_disk(&mut self, one: usize) {
        if self.disks.stranger.is_some() {
            return;
        }
        self.story.tell(format!("{} has lost its disk", self.hosts[one].name));
        let aside = self.aside();
        if self.hosts[one].is_running() {
            self.hosts[one].kill();
        }
        let own = self.hosts[one].take_disk(&aside);
        self.disks.stranger = Some(Stranger::Blank(one, own));
    }

    pub(super) fn swap_disks(&mut self, one: usize, other: usize) {
        if self.disks.stranger.is_some() || one == other {
            return;
        }
        self.story.tell(format!(
            "the disks of {} and {} are swapped",
            self.hosts[one].name, self.hosts[other].name
        ));
        self.exchange(one, other);
        self.disks.stranger = Some(Stranger::Swapped(one, other));
    }

    fn exchange(&mut self, one: usize, other: usize) {
        for number in [one, other] {
            if self.hosts[number].is_running() {
                self.hosts[number].kill();
            }
        }
        let (aside, beside) = (self.aside(), self.aside());
        let first = self.hosts[one].take_disk(&aside);
        let second = self.hosts[other].take_disk(&beside);
        self.hosts[one].put_disk(second);
        self.hosts[other].put_disk(first);
    }

    /// A process on a disk that is not its own has ended: it gets its own again.
    pub(super) fn find_disk(&mut self, number: usize, why: &str) {
        match &self.disks.stranger {
            Some(Stranger::Blank(one, _)) if *one == number => self.own_disks(),
            Some(Stranger::Swapped(one, other)) if [*one, *other].contains(&number) => {
                if !why.contains("may have been swapped") {
                    self.wrong
                        .push(format!("{} ends on the disk of another: {why}", self.hosts[number].name));
                }
                self.own_disks();
            }
            _ => {}
        }
    }

    /// Every journal has its own disk again.
    pub(super) fn own_disks(&mut self) {
        match self.disks.stranger.take() {
            None => {}
            Some(Stranger::Blank(one, own)) => {
                self.story.tell(format!("the disk of {} is found again", self.hosts[one].name));
                if self.hosts[one].is_running() {
                    self.hosts[one].kill();
                }
                let aside = self.aside();
                drop(self.hosts[one].take_disk(&aside));
                self.hosts[one].put_disk(own);
                self.start_later(one);
            }
            Some(Stranger::Swapped(one, other)) => {
                self.exchange(one, other);
                self.start_later(one);
                self.start_later(other);
            }
        }
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

impl Host {
    /// A copy of its disk and of its data directory, in the folder `aside`.
    fn copy(&self, aside: &Path) -> Kept {
        copy_folder(&self.data, aside).expect("there is room");
        Kept { disk: self.disk().copy(), folder: aside.to_owned() }
    }

    /// Takes its disk and its data directory away. The next start finds nothing.
    fn take_disk(&mut self, aside: &Path) -> Kept {
        if std::fs::rename(&self.data, aside).is_err() {
            std::fs::create_dir_all(aside).expect("there is room");
        }
        Kept { disk: self.replace_disk(None), folder: aside.to_owned() }
    }

    fn put_disk(&mut self, kept: Kept) {
        let Kept { disk, folder } = kept;
        std::fs::rename(folder, &self.data).expect("there is nothing in its place");
        self.replace_disk(Some(disk));
    }
}
