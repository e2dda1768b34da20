//! Journals that start on a disk which is not their own: a blank one, an older copy of theirs, or that of another.
//!
//!     blank      refused, as soon as it reaches one that knows; then its own disk is found again
//!     older      it starts, and must not vote before it has caught up
//!     swapped    both are refused; then they are swapped back
//!
//! One journal at a time, as one of three may fail, and none while a member is replaced: two voters are left then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CALM, World};
use crate::faults::{Event, JOURNALS};
use crate::host::{Host, Kept, Life};

/// How long nothing else goes wrong after a journal has started on an older disk: it must be able to ask the one that
/// knows better. What nobody tells it cannot know (ADR 26).
const ASKED_WITHIN: Duration = Duration::from_millis(2_500);

/// Time after which the voters have told each other by which disk each is known, and that it has promised something.
const KNOWN_AFTER: Duration = Duration::from_millis(2_500);
/// Operations of a disk within which there is a vote or an entry: files that are made and trimmed take fewer.
const OPERATIONS_OF_A_PROMISE: u64 = 16;

/// Copy of a journal's disk.
pub(super) struct Copy {
    of: usize,
    kept: Kept,
    /// Operations of the disk when it was copied.
    operations: u64,
    /// The journal has promised something since then, and told it.
    has_promised: bool,
    /// The journal that hears those promises, and the one that is down. Neither may start meanwhile.
    witness: (usize, u32),
    third: (usize, u32),
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
    /// Time from which on every journal is known by its disk.
    known_from: Duration,
    folders: usize,
    /// How often a journal got another disk.
    pub(super) exchanged: usize,
}

impl World {
    fn aside(&mut self) -> PathBuf {
        self.disks.folders += 1;
        self.directory.join(format!("aside-{}", self.disks.folders))
    }

    /// Notes that an added member votes, or that all vote for the first time.
    pub(super) fn is_new_voter(&mut self) {
        self.disks.known_from = self.now + KNOWN_AFTER;
    }

    /// Returns true where the disk of a journal may be exchanged.
    fn may_exchange(&self) -> bool {
        self.disks.stranger.is_none() && !self.is_replacing() && self.disks.known_from <= self.now
    }

    /// Returns true where a member may be replaced: every journal is on its own disk, and has all that it had promised.
    pub(super) fn is_on_own_disks(&self) -> bool {
        self.disks.stranger.is_none() && self.disks.calm_until <= self.now
    }

    /// Copies the disk of the first one. The second one hears what it promises from now on, and the third stays down.
    pub(super) fn copy_disk(&mut self, [of, witness, third]: [usize; JOURNALS], down: Duration) {
        let serves = self.hosts[of].life() == Some(Life::Serves);
        if !serves || !self.may_exchange() {
            return;
        }
        let until = self.now + down;
        self.due.retain(|(at, _), event| until <= *at || *event != Event::Start(third));
        let aside = self.aside();
        let starts = |number: usize| (number, self.hosts[number].starts);
        let (witness, third) = (starts(witness), starts(third));
        let (kept, operations) = (self.hosts[of].copy(&aside), self.hosts[of].disk().operations());
        self.disks.copy = Some(Copy { of, kept, operations, has_promised: false, witness, third });
    }

    /// Notes whether the journal whose disk was copied has promised anything since.
    pub(super) fn note_promise(&mut self) {
        let Some(copy) = &mut self.disks.copy else { return };
        let operations = self.hosts[copy.of].disk().operations();
        copy.has_promised = copy.operations + OPERATIONS_OF_A_PROMISE <= operations;
    }

    /// Forgets the copy: members are about to change.
    pub(super) fn forget_copy(&mut self) {
        self.disks.copy = None;
    }

    pub(super) fn older_disk(&mut self, one: usize) {
        let Some(copy) = self.disks.copy.take() else { return };
        let Copy { of, kept, has_promised, witness: (witness, starts), third, .. } = copy;
        let host = &self.hosts[witness];
        let hears = host.life() == Some(Life::Serves) && host.starts == starts && !host.is_paused;
        let is_alone = self.hosts[third.0].starts == third.1 && !self.hosts[third.0].is_running();
        if of != one || !hears || !is_alone || !has_promised || !self.may_exchange() {
            return;
        }
        self.disks.exchanged += 1;
        self.story.tell(format!("{} starts on an older disk", self.hosts[one].name));
        for (from, to) in [(one, witness), (witness, one)] {
            self.net.set_way(from, to, |way| *way = CALM);
        }
        for host in [one, witness] {
            self.set_faults(host, |_| ());
            self.hosts[host].disk().slow(Some(Duration::from_micros(500)));
        }
        self.net.forget_late();
        self.disks.calm_until = self.now + ASKED_WITHIN;
        let until = self.disks.calm_until;
        let is_fault = |event: &Event| {
            matches!(event, Event::Kill(_) | Event::CopyDisk(..) | Event::BlankDisk(_) | Event::SwapDisks(..))
        };
        self.due.retain(|(at, _), event| until < *at || !is_fault(event));
        let aside = self.aside();
        if self.hosts[one].is_running() {
            self.hosts[one].kill();
        }
        drop(self.hosts[one].take_disk(&aside));
        self.hosts[one].put_disk(kept);
        self.hosts[one].start();
    }

    pub(super) fn blank_disk(&mut self, one: usize) {
        if !self.may_exchange() {
            return;
        }
        self.disks.exchanged += 1;
        self.story.tell(format!("{} has lost its disk", self.hosts[one].name));
        let aside = self.aside();
        if self.hosts[one].is_running() {
            self.hosts[one].kill();
        }
        let own = self.hosts[one].take_disk(&aside);
        self.disks.stranger = Some(Stranger::Blank(one, own));
    }

    /// Members that were added later stand in no flags, and so nothing tells that their directories were swapped.
    pub(super) fn swap_disks(&mut self, one: usize, other: usize) {
        let were_added = [one, other].iter().any(|number| self.hosts[*number].has_begun_anew);
        if !self.may_exchange() || were_added || one == other {
            return;
        }
        self.disks.exchanged += 1;
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
