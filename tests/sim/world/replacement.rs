//! A member that is replaced by a new one at the same address: removed, added, and started with a blank disk.
//!
//!     removed ──► added ──► its host gets a blank disk and starts ──► it votes

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt;

use super::World;
use crate::host::PEER_PORT;
use crate::operator;

/// The one replacement that is under way.
pub(super) struct Replacement {
    host: usize,
    plan: operator::Replacement,
    /// The start of a frontend through which an operator works at it. It ends with that process.
    operator: Option<(usize, u32)>,
    has_begun: bool,
}

impl World {
    pub(super) fn is_replacing(&self) -> bool {
        self.replacement.is_some()
    }

    /// Begins, unless another replacement is under way or a journal has another disk.
    pub(super) fn replace(&mut self, host: usize) {
        if self.is_replacing() || !self.is_on_own_disks() {
            return;
        }
        self.forget_copy();
        let url = format!("http://{}:{PEER_PORT}", self.hosts[host].name);
        let plan = operator::Replacement {
            url,
            id: self.chance.random(),
            learns_first: self.chance.random(),
            is_added: Arc::new(AtomicBool::new(false)),
            is_done: Arc::new(AtomicBool::new(false)),
        };
        self.replacement = Some(Replacement { host, plan, operator: None, has_begun: false });
    }

    /// Sees to it that an operator works at it, and starts the new member once it is added.
    pub(super) fn go_on_replacing(&mut self) {
        let Some(replacement) = &mut self.replacement else { return };
        let (host, plan) = (replacement.host, replacement.plan.clone());
        if plan.is_added.load(Ordering::Relaxed) && !replacement.has_begun {
            replacement.has_begun = true;
            let host = &mut self.hosts[host];
            self.story.tell(format!("{} is a new member, and blank", host.name));
            host.kill();
            host.begin_anew();
            host.start();
        }
        if plan.is_done.load(Ordering::Relaxed) {
            self.replacement = None;
            self.new_members += 1;
            self.story.tell(format!("the new member at {} has its place", self.hosts[host].name));
            return self.is_new_voter();
        }
        let works = |(number, starts): (usize, u32)| {
            self.hosts[number].starts == starts && self.hosts[number].client().is_some()
        };
        if replacement.operator.is_some_and(works) {
            return;
        }
        let free = |number: &usize| *number != host && self.hosts[*number].client().is_some();
        let Some(number) = self.frontends().find(free) else { return };
        let client = self.hosts[number].client().expect("it was just looked at");
        self.hosts[number].spawn(operator::replace(client, plan));
        let by = Some((number, self.hosts[number].starts));
        self.replacement.as_mut().expect("it is under way").operator = by;
    }
}
