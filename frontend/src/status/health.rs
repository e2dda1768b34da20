//! From what members say to how the cluster is, and what to do about it.

use super::{Document, Health, Member, Role};

/// Entries that a member may be behind without anybody being told: less than a second of a busy cluster.
const LAG_MAX: u64 = 10_000;

impl Document {
    /// Fills in the health, the sentence and the next steps.
    pub(super) fn judge(mut self) -> Document {
        let has_vote = |member: &&Member| member.role != Role::Learner && !member.awaits_vote;
        let voters: Vec<&Member> = self.members.iter().filter(has_vote).collect();
        let (count, here) = (voters.len(), voters.iter().filter(|voter| self.follows(voter)).count());
        let needed = count / 2 + 1;
        let led = self.leader.is_some();
        self.may_fail = if led { here.saturating_sub(needed) } else { 0 };
        self.next_steps = self.steps(count);
        let works = led && needed <= here;
        self.health = match (works, self.next_steps.is_empty()) {
            (false, _) => Health::Unavailable,
            (true, false) => Health::Degraded,
            (true, true) => Health::Healthy,
        };
        self.summary = match self.health {
            Health::Unavailable if needed <= here => "unavailable: the voters have no leader".to_owned(),
            Health::Unavailable => {
                format!("unavailable: {here} of {} answer, {needed} are needed", votes(count))
            }
            Health::Degraded => format!("degraded: {here} of {}, {}", votes(count), may(self.may_fail)),
            Health::Healthy => format!("healthy: {here} of {}, {}", votes(count), may(self.may_fail)),
        };
        self
    }

    /// Whether a voter counts: it answers, knows the same leader, and has what it had acknowledged.
    fn follows(&self, voter: &Member) -> bool {
        voter.missing_up_to.is_none() && self.knows_leader(voter)
    }

    fn knows_leader(&self, voter: &Member) -> bool {
        voter.answers && (self.leader.is_none() || voter.leader == self.leader)
    }

    fn steps(&self, voters: usize) -> Vec<String> {
        let silent = self.members.iter().filter(|member| !member.answers && !member.unstarted);
        let silent = silent.map(|member| {
            format!(
                "{} does not answer at {}: start it, or look at the network between; if it is gone for good, \
                 `mainstem member replace {}` puts another in its place",
                named(member),
                member.peer_urls.join(", "),
                member.id
            )
        });
        let unstarted = self.members.iter().filter(|member| member.unstarted);
        let unstarted = unstarted.map(|member| match member.answers {
            true => format!(
                "{} is starting: it serves no clients yet, or has not told the others where; if it lasts, look at its log",
                named(member)
            ),
            false => format!(
                "{} was added and has never started: start it with --initial-cluster-state=existing and an empty data \
                 directory; if it is not to come, `etcdctl member remove {}`",
                named(member),
                member.id
            ),
        });
        let joining = self.members.iter().filter(|member| member.awaits_vote && member.answers);
        let joining = joining.map(|member| {
            format!(
                "{} has no vote yet: it gets one when it has what the others have; if it lasts, look at its log",
                named(member)
            )
        });
        let older = self.members.iter().filter_map(|member| Some((member, member.missing_up_to?)));
        let older = older.map(|(member, position)| {
            format!(
                "{} does not vote: its data directory is older than what it had acknowledged, up to {position}, as of a \
                 copy that was put back; a leader sends it what is missing, and if there is none, start the other members",
                named(member)
            )
        });
        let stalled = self.members.iter().filter(|member| member.stalled && member.lag <= LAG_MAX);
        let stalled = stalled.map(|member| {
            format!(
                "{} is {} entries behind and does not catch up: look at its log, and at the network between it and the \
                 leader",
                named(member),
                member.lag
            )
        });
        let is_stray = |one: &&Member| one.answers && !one.awaits_vote && !self.knows_leader(one);
        let stray = self.members.iter().filter(is_stray);
        let stray = stray.map(|member| {
            format!("{} follows another leader or none: it should find the leader within seconds; if not, look at \
                     its log", named(member))
        });
        let behind = self.members.iter().filter(|member| member.answers && LAG_MAX < member.lag);
        let behind = behind.map(|member| {
            format!(
                "{} is {} entries behind: look at its disk and at its processor",
                named(member),
                member.lag
            )
        });
        let gone = self.memstores.iter().filter(|memstore| memstore.answers == Some(false));
        let gone = gone.map(|memstore| {
            format!(
                "memstore {} does not answer at {}: start it, or look at the network between; if it is gone for good, \
                 `mainstem partition forget {}`",
                memstore.name, memstore.url, memstore.name
            )
        });
        let lost = self.partitions.iter().filter(|partition| partition.lost);
        let lost = lost.map(|partition| {
            format!(
                "partition {} is served by no memstore, and requests for its keys wait: start one of {}",
                partition.id,
                partition.replicas.join(", ")
            )
        });
        let alarms = self.alarms.iter().map(|alarm| match alarm.alarm.as_str() {
            "NOSPACE" => {
                "alarm NOSPACE: the store takes nothing that makes it grow; delete keys and compact, or \
                          start the members with a larger --quota-backend-bytes"
                    .to_owned()
            }
            other => format!(
                "alarm {other} of member {}: stop writing and look at that member's log",
                alarm.member
            ),
        });
        let even = (voters > 1 && voters.is_multiple_of(2))
            .then(|| format!("{voters} voters bear no more than {} do: add one, or remove one", voters - 1));
        silent
            .chain(unstarted)
            .chain(older)
            .chain(stray)
            .chain(joining)
            .chain(stalled)
            .chain(behind)
            .chain(lost)
            .chain(gone)
            .chain(alarms)
            .chain(even)
            .collect()
    }
}

fn named(member: &Member) -> String {
    if member.name.is_empty() {
        format!("member {}", member.id)
    } else {
        format!("member {} ({})", member.name, member.id)
    }
}

fn votes(count: usize) -> String {
    if count == 1 { "1 voter".to_owned() } else { format!("{count} voters") }
}

fn may(fail: usize) -> String {
    if fail == 0 { "none may fail".to_owned() } else { format!("{fail} may fail") }
}
