//! A partition that goes from one memstore to another while it is in use.
//!
//!     routes      [a, b] ──► [a, b, c] ─────────────────────────► [b, c]
//!     memstore c              builds · serves · has what was committed
//!
//! Both changes are made by comparing, and the second only once the new one answers for the partition. Whoever gives
//! up in between leaves the partition with one replica more; the same command goes on from there.

use journal::{RouteRefusal, Routes};

/// What is to go where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relocation {
    pub(super) partition: u64,
    pub(super) from: String,
    pub(super) to: String,
    /// How many replicas a partition should have: with more, it may be on its way already.
    pub(super) replicas: usize,
}

type Changed = Result<Option<Routes>, RouteRefusal>;

impl Relocation {
    /// The routes with the new replica. `None`: it is there, and the old one, too.
    pub(super) fn begun(&self, routes: &Routes) -> Changed {
        let Ends { from, to, replicas } = self.ends(routes)?;
        let Relocation { partition, from: from_name, to: to_name, .. } = self;
        match (replicas.contains(&from), replicas.contains(&to)) {
            _ if from == to => {
                refuse(format!("memstore {to_name} cannot take partition {partition} from itself"))
            }
            (true, false) => routes.add_replica(*partition, to).map(Some),
            (true, true) if replicas.len() > self.replicas => Ok(None),
            (true, true) => refuse(format!(
                "memstore {to_name} has partition {partition} already, as {from_name} has: choose one that has not"
            )),
            (false, true) => refuse(format!(
                "memstore {to_name} has partition {partition} already, and {from_name} does not: nothing is left to \
                 move"
            )),
            (false, false) => refuse(format!(
                "memstore {from_name} does not have partition {partition}: `mainstem partition list` shows who does"
            )),
        }
    }

    /// The routes without the old replica. `None`: somebody has removed it already.
    pub(super) fn ended(&self, routes: &Routes) -> Changed {
        let Ends { from, to, replicas } = self.ends(routes)?;
        if !replicas.contains(&to) {
            let Relocation { partition, to, .. } = self;
            return refuse(format!(
                "partition {partition} was taken from memstore {to} meanwhile: look at `mainstem partition list`, and \
                 try again"
            ));
        }
        match replicas.contains(&from) {
            true => routes.remove_replica(self.partition, from).map(Some),
            false => Ok(None),
        }
    }

    /// The new memstore's id.
    pub(super) fn target(&self, routes: &Routes) -> Result<u64, RouteRefusal> {
        id_of(routes, &self.to)
    }

    fn ends<'a>(&self, routes: &'a Routes) -> Result<Ends<'a>, RouteRefusal> {
        let partition = self.partition;
        let route = routes.partition(partition).ok_or_else(|| {
            RouteRefusal(format!(
                "there is no partition {partition}: it may have been split or merged meanwhile"
            ))
        })?;
        let (from, to) = (id_of(routes, &self.from)?, id_of(routes, &self.to)?);
        Ok(Ends { from, to, replicas: &route.replicas })
    }
}

struct Ends<'a> {
    from: u64,
    to: u64,
    replicas: &'a [u64],
}

/// The id of the memstore of that name.
pub(super) fn id_of(routes: &Routes, name: &str) -> Result<u64, RouteRefusal> {
    let known = || routes.memstores().iter().map(|info| &info.name[..]).collect::<Vec<_>>().join(", ");
    routes.memstore_named(name).map(|info| info.id).ok_or_else(|| match routes.memstores() {
        [] => RouteRefusal(format!("there is no memstore {name:?}: none has registered itself")),
        _ => RouteRefusal(format!("there is no memstore {name:?}, only {}", known())),
    })
}

fn refuse<T>(why: String) -> Result<T, RouteRefusal> {
    Err(RouteRefusal(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use journal::MemstoreInfo;

    /// Three memstores, of which two hold everything.
    fn routes() -> Routes {
        let memstore = |id: u64, name: &str| MemstoreInfo {
            id,
            name: name.to_owned(),
            url: format!("http://{name}"),
            zone: String::new(),
            process: id,
        };
        let mut routes = Routes::default().begin(&[]).expect("there is room");
        for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
            routes = routes.register(memstore(id, name)).expect("there is room");
        }
        routes.add_replica(1, 1).and_then(|routes| routes.add_replica(1, 2)).expect("they are there")
    }

    fn relocation(partition: u64, from: &str, to: &str) -> Relocation {
        Relocation { partition, from: from.to_owned(), to: to.to_owned(), replicas: 2 }
    }

    fn replicas(routes: &Routes) -> &[u64] {
        &routes.partition(1).expect("it is there").replicas
    }

    #[track_caller]
    fn refused(changed: Changed, expected: Expect) {
        expected.assert_eq(&changed.expect_err("it cannot be done").to_string());
    }

    #[test]
    fn it_is_in_both_places_before_it_has_left_one() {
        let (routes, relocation) = (routes(), relocation(1, "a", "c"));
        let begun = relocation.begun(&routes).expect("it can be done").expect("it is to be done");
        assert_eq!(replicas(&begun), [1, 2, 3]);
        let ended = relocation.ended(&begun).expect("it can be done").expect("it is to be done");
        assert_eq!(replicas(&ended), [2, 3]);
    }

    #[test]
    fn the_same_command_goes_on() {
        let (routes, relocation) = (routes(), relocation(1, "a", "c"));
        let begun = relocation.begun(&routes).expect("it can be done").expect("it is to be done");
        assert_eq!(relocation.begun(&begun), Ok(None));
        let ended = relocation.ended(&begun).expect("it can be done").expect("it is to be done");
        assert_eq!(relocation.ended(&ended), Ok(None), "somebody was quicker");
        refused(
            relocation.begun(&ended),
            expect!["memstore c has partition 1 already, and a does not: nothing is left to move"],
        );
    }

    #[test]
    fn what_cannot_be_moved_is_refused_in_a_sentence() {
        let routes = routes();
        let refused = |relocation: Relocation, expected| refused(relocation.begun(&routes), expected);
        refused(
            relocation(7, "a", "c"),
            expect!["there is no partition 7: it may have been split or merged meanwhile"],
        );
        refused(relocation(1, "d", "c"), expect![[r#"there is no memstore "d", only a, b, c"#]]);
        refused(relocation(1, "a", "d"), expect![[r#"there is no memstore "d", only a, b, c"#]]);
        refused(relocation(1, "c", "c"), expect!["memstore c cannot take partition 1 from itself"]);
        refused(
            relocation(1, "a", "b"),
            expect!["memstore b has partition 1 already, as a has: choose one that has not"],
        );
        let without = routes.remove_replica(1, 2).expect("there is another");
        expect!["memstore b does not have partition 1: `mainstem partition list` shows who does"]
            .assert_eq(&relocation(1, "b", "c").begun(&without).expect_err("it has not").to_string());
    }

    #[test]
    fn a_replica_that_others_have_removed_is_not_waited_for() {
        refused(
            relocation(1, "a", "c").ended(&routes()),
            expect![[
                "partition 1 was taken from memstore c meanwhile: look at `mainstem partition list`, and try again"
            ]],
        );
    }
}
