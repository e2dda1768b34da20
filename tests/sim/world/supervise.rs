//! Who looks after the processes of a world: what has ended is started again, a bad disk is replaced, and frontends that
//! serve have people.

use frontend::Client;
use rand::RngExt;

use super::World;
use crate::clients::{Person, watch_everything};
use crate::faults::Event;
use crate::host::{Host, Life};

impl World {
    pub(super) fn supervise(&mut self) {
        for number in 0..self.hosts.len() {
            let host = &mut self.hosts[number];
            if host.disk().has_crashed() && host.is_running() {
                self.story.tell(format!("{} stops in the middle of a write", host.name));
                host.lose_power();
                self.start_later(number);
                continue;
            }
            if host.disk().has_killed() && host.is_running() {
                self.story.tell(format!("{} is killed in the middle of a write", host.name));
                host.kill();
                self.start_later(number);
                continue;
            }
            match host.life() {
                Some(Life::Ended(why)) => self.has_ended(number, &why),
                None => {
                    let start = |event: &Event| *event == Event::Start(number);
                    if !self.due.values().any(start) {
                        self.start_later(number);
                    }
                }
                Some(Life::Starts | Life::Serves) => {}
            }
            let (host, endpoint) = (&self.hosts[number], (number, self.hosts[number].starts));
            if let Some(client) = host.client().filter(|_| !self.peopled.contains(&endpoint)) {
                self.peopled.push(endpoint);
                self.people_come(&client, endpoint);
            }
        }
    }

    fn has_ended(&mut self, number: usize, why: &str) {
        let Host { name, .. } = &self.hosts[number];
        self.story.tell(format!("{name} has ended: {}", why.lines().next().unwrap_or_default()));
        self.hosts[number].kill();
        self.find_disk(number, why);
        if why.contains("damaged at offset") {
            self.replace_disk(number, why);
        }
        self.start_later(number);
    }

    fn replace_disk(&mut self, number: usize, why: &str) {
        let host = &self.hosts[number];
        if !host.disk().is_rotten() {
            self.wrong.push(format!("{} takes a good disk for bad: {why}", host.name));
        }
        self.story.tell(format!("the disk of {} is put right", host.name));
        host.disk().mend();
        self.repairs += 1;
    }

    fn people_come(&mut self, client: &Client, endpoint: (usize, u32)) {
        let (history, habits) = (self.history.clone(), self.habits);
        for _ in 0..self.people_each {
            let seed = self.chance.random();
            let (client, history) = (client.clone(), history.clone());
            self.hosts[endpoint.0].spawn(Person { client, endpoint, history, habits, seed }.run());
        }
        self.hosts[endpoint.0].spawn(watch_everything(client.clone(), endpoint, history));
    }
}
