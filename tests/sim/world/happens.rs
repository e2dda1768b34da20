//! What goes wrong in a world, and goes right again, one event at a time.

use std::time::Duration;

use journal::machine::Faults;
use rand::RngExt;

use super::World;
use crate::faults::Event;
use crate::operator;

/// How many bits change at once. Many hit nothing that is ever read.
const ROTTEN_BITS: u64 = 32;

impl World {
    pub(super) fn schedule(&mut self, after: Duration, event: Event) {
        self.events += 1;
        self.due.insert((self.now + after, self.events), event);
    }

    pub(super) fn start_later(&mut self, number: usize) {
        let after = Duration::from_millis(self.chance.random_range(20..800));
        self.schedule(after, Event::Start(number));
    }

    pub(super) fn happens(&mut self, event: &Event) {
        let name = |number: &usize| self.hosts[*number].name.clone();
        let told = match event {
            Event::PowerLoss(one) => format!("{} loses its power", name(one)),
            Event::TornWrite(one, after) => {
                format!("{} will stop in the {after}th write from now", name(one))
            }
            Event::KilledWrite(one, after) => {
                format!("{} will be killed in the {after}th write from now", name(one))
            }
            Event::Kill(one) => format!("{} is killed", name(one)),
            Event::Stop(one) => format!("{} is asked to stop", name(one)),
            Event::Start(one) if self.hosts[*one].is_running() => return,
            Event::Start(one) => format!("{} starts", name(one)),
            Event::Pause(one) => format!("{} is paused", name(one)),
            Event::Resume(one) => format!("{} goes on", name(one)),
            Event::Cut(from, to) => format!("nothing comes from {} to {}", name(from), name(to)),
            Event::Heal(from, to) => format!("{} reaches {} again", name(from), name(to)),
            Event::Reset(one, other) => {
                format!("connections between {} and {} break", name(one), name(other))
            }
            Event::LateMessage(from, to, by) => {
                format!("the next message from {} to {} comes {by:?} later", name(from), name(to))
            }
            Event::Network(delay, lost) => format!("the network takes {delay:?} and loses {lost} of 1000"),
            Event::Disk(one, Some(takes)) => format!("the disk of {} takes {takes:?}", name(one)),
            Event::Disk(one, None) => format!("the disk of {} hangs", name(one)),
            Event::SyncError(one, after) => {
                format!("the {after}th write of {} from now will fail", name(one))
            }
            Event::FullDisk(one) => format!("the disk of {} is full", name(one)),
            Event::RoomAgain(one) => format!("the disk of {} has room again", name(one)),
            Event::BitRot(one, _) => format!("bits change on the disk of {}", name(one)),
            Event::CopyDisk([one, ..], _) => format!("the disk of {} is copied", name(one)),
            Event::NotePromise(_) => return self.note_promise(),
            Event::OlderDisk(one) => format!("{} is to get the copy", name(one)),
            Event::BlankDisk(one) => format!("{} is to lose its disk", name(one)),
            Event::SwapDisks(one, other) => format!("{} and {} are to swap disks", name(one), name(other)),
            Event::Rate(one, rate) => format!("the clock of {} goes {rate:.4} times as fast", name(one)),
            Event::Routes(change) => format!("an operator asks for {change:?}"),
            Event::Replace(one) => format!("an operator wants another member in the place of {}", name(one)),
        };
        self.story.tell(told);
        match event {
            Event::PowerLoss(one) => self.hosts[*one].lose_power(),
            Event::Kill(one) => self.hosts[*one].kill(),
            Event::Stop(one) => self.hosts[*one].ask_to_stop(),
            Event::Start(one) => self.hosts[*one].start(),
            Event::Pause(one) => self.hosts[*one].is_paused = true,
            Event::Resume(one) => self.hosts[*one].is_paused = false,
            Event::Cut(from, to) => self.net.set_way(*from, *to, |way| way.is_cut = true),
            Event::Heal(from, to) => self.net.set_way(*from, *to, |way| way.is_cut = false),
            Event::Reset(one, other) => self.net.reset(*one, *other),
            Event::LateMessage(from, to, by) => self.net.delay_next(*from, *to, *by),
            Event::Network(delay, lost) => self.set_network(*delay, *lost),
            Event::Disk(one, takes) => self.hosts[*one].disk().slow(*takes),
            Event::TornWrite(one, after) => {
                let crash_at = Some(self.hosts[*one].disk().operations() + after);
                self.set_faults(*one, |faults| faults.crash_at = crash_at);
            }
            Event::KilledWrite(one, after) => {
                let kill_at = Some(self.hosts[*one].disk().operations() + after);
                self.set_faults(*one, |faults| faults.kill_at = kill_at);
            }
            Event::SyncError(one, after) => {
                let fail_at = Some(self.hosts[*one].disk().operations() + after);
                self.set_faults(*one, |faults| faults.fail_at = fail_at);
            }
            Event::FullDisk(one) => self.set_faults(*one, |faults| faults.bytes_max = Some(1)),
            Event::RoomAgain(one) => self.set_faults(*one, |faults| faults.bytes_max = None),
            Event::BitRot(one, seed) => {
                (0..ROTTEN_BITS).for_each(|nth| self.hosts[*one].disk().rot(seed.wrapping_add(nth)));
            }
            Event::CopyDisk(journals, down) => self.copy_disk(*journals, *down),
            // It is no event to be told of.
            Event::NotePromise(_) => {}
            Event::OlderDisk(one) => self.older_disk(*one),
            Event::BlankDisk(one) => self.blank_disk(*one),
            Event::SwapDisks(one, other) => self.swap_disks(*one, *other),
            Event::Rate(one, rate) => self.hosts[*one].rate = *rate,
            Event::Replace(one) => self.replace(*one),
            Event::Routes(change) => {
                let journal =
                    self.frontends().find_map(|number| Some((number, self.hosts[number].client()?)));
                if let Some((number, client)) = journal {
                    self.hosts[number].spawn(operator::change(client, change.clone()));
                }
            }
        }
    }

    fn set_network(&mut self, delay: Duration, lost_in_1000: u32) {
        for from in 0..self.hosts.len() {
            for to in 0..self.hosts.len() {
                self.net.set_way(from, to, |way| (way.delay, way.lost_in_1000) = (delay, lost_in_1000));
            }
        }
    }

    pub(super) fn set_faults(&mut self, number: usize, change: impl FnOnce(&mut Faults)) {
        let mut faults = Faults { seed: self.chance.random(), ..Faults::default() };
        change(&mut faults);
        self.hosts[number].disk().suffer(faults);
    }
}
