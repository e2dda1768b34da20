//! `mainstem member …`: putting a new member in the place of one that is gone.
//!
//!     replace n2 ──► n2 leaves ──► the new one comes ──► it follows, catches up, and votes
//!                        └── broken off here: asked again, it says how to go on
//!
//! What is gone leaves first: so the cluster never waits for a vote that cannot come. What is done next follows from the
//! members that there are. Where neither is one, nobody can tell a name that was mistyped from one that has left.

use std::io::Write;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use proto::etcdserverpb::cluster_client::ClusterClient;
use proto::etcdserverpb::{Member, MemberAddRequest, MemberListRequest, MemberRemoveRequest};
use tokio::net::TcpStream;
use tonic::Status;

use super::Failure;
use super::reach::{self, Reach};

/// What one change of the members may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time that members may take until they were connected for five seconds, and between two questions.
const HEALTHY_WITHIN: Duration = Duration::from_secs(8);
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Answer of a leader that refuses a change until then.
const UNHEALTHY: &str = "etcdserver: unhealthy cluster";
/// How long one that is gone may take to take a call.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Changes who is a member of the cluster. For one change at a time there is `etcdctl member`.
#[derive(Debug, Parser)]
#[command(name = "member", bin_name = "mainstem member")]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    wish: Wish,
}

#[derive(Debug, Subcommand)]
enum Wish {
    /// Put a new member in the place of one that is gone for good. What it had is lost, and the others have it.
    Replace(Replace),
}

#[derive(Debug, clap::Args)]
struct Replace {
    /// The name of the one that is gone, or its id.
    gone: String,
    /// The name of the new one.
    #[arg(long)]
    name: String,
    /// Where the others reach the new one.
    #[arg(long, required = true, value_delimiter = ',')]
    peer_urls: Vec<String>,
}

/// What is to be done next.
#[derive(Debug, PartialEq)]
enum Step {
    /// The one of this id leaves.
    Remove(u64),
    /// It is a member already.
    Done(u64),
}

impl Arguments {
    /// From a command line that begins with the word "member".
    #[must_use]
    pub fn read(arguments: &[String]) -> Arguments {
        Arguments::parse_from(arguments)
    }
}

/// Does what was asked for.
///
/// # Errors
/// Why not, for a person.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let Wish::Replace(wish) = &arguments.wish;
    reach::tell(out, replace(&arguments.reach, wish))
}

async fn replace(reach: &Reach, wish: &Replace) -> Result<String, Failure> {
    let list = MemberListRequest { linearizable: true };
    let listed = async |channel| ClusterClient::new(channel).member_list(list).await;
    let members = reach.ask(PATIENCE, listed).await?.into_inner().members;
    let id = match wish.next(&members)? {
        Step::Done(id) => return Ok(wish.told(id, &members)),
        Step::Remove(id) => id,
    };
    let gone = members.iter().find(|member| member.id == id).expect("it was found by that");
    if let Some(url) = answering(gone).await {
        return Err(Failure(format!(
            "{} is not gone: {url} takes calls. Stop it first; one that has only moved keeps its data and is told by \
             `etcdctl member update {id:x} --peer-urls=…`",
            name_of(gone)
        )));
    }
    let removed = async |channel| {
        let client = ClusterClient::new(channel);
        once_healthy(async || client.clone().member_remove(MemberRemoveRequest { id }).await).await
    };
    reach.ask(PATIENCE, removed).await?;
    let request = MemberAddRequest { peer_ur_ls: wish.peer_urls.clone(), is_learner: false };
    let added = async |channel| {
        let client = ClusterClient::new(channel);
        once_healthy(async || client.clone().member_add(request.clone()).await).await
    };
    let added = reach.ask(PATIENCE, added).await.map_err(|Failure(why)| {
        Failure(format!(
            "{} has left, and {} could not be added: {why}. To go on: etcdctl member add {} --peer-urls={}",
            wish.gone,
            wish.name,
            wish.name,
            wish.peer_urls.join(",")
        ))
    })?;
    let added = added.into_inner();
    Ok(wish.told(added.member.map_or(0, |member| member.id), &added.members))
}

/// Asks again for as long as members were not connected for five seconds, or are not known to be down yet.
async fn once_healthy<T>(ask: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(status) if status.message() == UNHEALTHY && begun.elapsed() < HEALTHY_WITHIN => {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            answer => return answer,
        }
    }
}

/// An address of the member at which somebody takes calls.
async fn answering(member: &Member) -> Option<&String> {
    for url in member.client_ur_ls.iter().chain(&member.peer_ur_ls) {
        let (_, address) = url.split_once("://").unwrap_or(("", url));
        let call = TcpStream::connect(address.trim_end_matches('/').to_owned());
        if let Ok(Ok(_)) = tokio::time::timeout(ANSWERS_WITHIN, call).await {
            return Some(url);
        }
    }
    None
}

fn name_of(member: &Member) -> String {
    if member.name.is_empty() { format!("member {:x}", member.id) } else { member.name.clone() }
}

impl Replace {
    fn next(&self, members: &[Member]) -> Result<Step, Failure> {
        let is_gone = |member: &&Member| member.name == self.gone || format!("{:x}", member.id) == self.gone;
        let takes = |member: &&Member| member.peer_ur_ls.iter().any(|url| self.peer_urls.contains(url));
        match (members.iter().find(is_gone), members.iter().find(takes)) {
            // One that comes back at the same address without its data is a new member, too.
            (Some(gone), Some(same)) if gone.id == same.id => Ok(Step::Remove(gone.id)),
            (Some(_), Some(other)) => Err(Failure(format!(
                "{} is where the new member would be: {}",
                name_of(other),
                other.peer_ur_ls.join(",")
            ))),
            (Some(gone), None) => Ok(Step::Remove(gone.id)),
            (None, Some(new)) if new.name.is_empty() || new.name == self.name => Ok(Step::Done(new.id)),
            (None, _) => {
                let names: Vec<String> = members.iter().map(name_of).collect();
                Err(Failure(format!(
                    "there is no member {}: the members are {}. If it has left already, go on with: etcdctl member add \
                     {} --peer-urls={}",
                    self.gone,
                    names.join(", "),
                    self.name,
                    self.peer_urls.join(",")
                )))
            }
        }
    }

    /// What was done, and how the new one is started.
    fn told(&self, id: u64, members: &[Member]) -> String {
        let named = |member: &Member| {
            let name = if member.id == id { self.name.clone() } else { member.name.clone() };
            member.peer_ur_ls.iter().map(move |url| format!("{name}={url}")).collect::<Vec<_>>()
        };
        let cluster: Vec<String> = members.iter().flat_map(named).collect();
        let Replace { gone, name, peer_urls } = self;
        format!(
            "{gone} has left, and {name} is member {id:x}. It votes once it has what the others have. Start it without \
             any data, with its other flags and:\n\n  --name={name}\n  --initial-advertise-peer-urls={}\n  \
             --initial-cluster={}\n  --initial-cluster-state=existing\n",
            peer_urls.join(","),
            cluster.join(",")
        )
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn member(id: u64, name: &str, port: u16) -> Member {
        let peer_ur_ls = vec![format!("http://127.0.0.1:{port}")];
        Member { id, name: name.to_owned(), peer_ur_ls, ..Member::default() }
    }

    fn replaced(gone: &str, port: u16, members: &[Member]) -> Result<Step, String> {
        let peer_urls = vec![format!("http://127.0.0.1:{port}")];
        let wish = Replace { gone: gone.to_owned(), name: "new".to_owned(), peer_urls };
        wish.next(members).map_err(|Failure(why)| why)
    }

    #[test]
    fn what_is_done_next_follows_from_who_is_there() {
        let all = [member(1, "a", 1), member(0xb2, "b", 2), member(3, "c", 3)];
        assert_eq!(replaced("b", 4, &all), Ok(Step::Remove(0xb2)));
        assert_eq!(replaced("b2", 4, &all), Ok(Step::Remove(0xb2)));
        assert_eq!(replaced("b", 2, &all), Ok(Step::Remove(0xb2)), "at the same address, with nothing");
        assert!(replaced("b", 3, &all).is_err_and(|why| why.contains("c is where the new member would be")));
        assert!(replaced("x", 4, &all).is_err_and(|why| why.contains("the members are a, b, c.")));
        let begun = [member(1, "a", 1), member(3, "c", 3), member(4, "", 4)];
        assert_eq!(replaced("b", 4, &begun), Ok(Step::Done(4)));
        assert!(replaced("b", 3, &begun).is_err(), "c is another");
    }

    #[test]
    fn the_new_one_is_told_how_it_starts() {
        let peer_urls = vec!["http://127.0.0.1:4".to_owned()];
        let wish = Replace { gone: "b".to_owned(), name: "new".to_owned(), peer_urls };
        expect![[r#"
            b has left, and new is member 4. It votes once it has what the others have. Start it without any data, with its other flags and:

              --name=new
              --initial-advertise-peer-urls=http://127.0.0.1:4
              --initial-cluster=a=http://127.0.0.1:1,new=http://127.0.0.1:4
              --initial-cluster-state=existing
        "#]]
        .assert_eq(&wish.told(4, &[member(1, "a", 1), member(4, "", 4)]));
    }
}
