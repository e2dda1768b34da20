//! One election from its first candidate to its last, as those who take part and those who look on see it.

use bytes::Bytes;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::*;
use crate::client::Turns;
use crate::{Config, Node};

const IDENTITY: Identity = Identity { cluster_id: 11, member_id: 12 };

async fn start() -> (Node, ElectionService) {
    let node = Node::start(Config::ephemeral()).await.expect("it needs nothing");
    let turns = Turns::new(node.client(), CancellationToken::new());
    (node, ElectionService::new(turns, IDENTITY))
}

fn campaign(value: &'static str, lease: i64) -> Request<CampaignRequest> {
    Request::new(CampaignRequest { name: Bytes::from("e"), lease, value: Bytes::from(value) })
}

fn leader() -> Request<LeaderRequest> {
    Request::new(LeaderRequest { name: Bytes::from("e") })
}

fn refused<T>(response: Result<Response<T>, Status>) -> (Code, String) {
    let status = response.map(|_| ()).expect_err("it is refused");
    (status.code(), status.message().to_owned())
}

async fn next(leaders: &mut Leaders) -> Bytes {
    let leader = leaders.next().await.expect("it goes on").expect("it goes well");
    assert!(leader.header.expect("it has one").revision > 1);
    leader.kv.expect("somebody leads").value
}

#[tokio::test]
async fn a_leader_is_told_and_so_is_what_it_proclaims() {
    let (node, election) = start().await;
    assert_eq!(refused(election.leader(leader()).await), (Code::Unknown, "election: no leader".into()));
    let mut leaders = election.observe(leader()).await.expect("it begins").into_inner();
    let first = election.campaign(campaign("one", 0)).await.expect("nobody leads").into_inner();
    let key = first.leader.expect("it leads");
    assert_eq!(next(&mut leaders).await, "one");
    let proclaim = |value: &'static str| {
        Request::new(ProclaimRequest { leader: Some(key.clone()), value: Bytes::from(value) })
    };
    election.proclaim(proclaim("two")).await.expect("it leads");
    assert_eq!(next(&mut leaders).await, "two");
    let told = election.leader(leader()).await.expect("somebody leads").into_inner().kv.expect("it has one");
    assert_eq!((told.value, told.lease), (Bytes::from("two"), key.lease));
    election.resign(Request::new(ResignRequest { leader: Some(key.clone()) })).await.expect("it leads");
    assert_eq!(
        refused(election.proclaim(proclaim("three")).await),
        (Code::Unknown, "election: not leader".into())
    );
    election.campaign(campaign("four", 0)).await.expect("nobody leads");
    assert_eq!(next(&mut leaders).await, "four");
    node.shutdown().await;
}

#[tokio::test]
async fn a_leader_that_campaigns_again_proclaims() {
    let (node, election) = start().await;
    let first = election.campaign(campaign("one", 0)).await.expect("nobody leads").into_inner().leader;
    let lease = first.as_ref().expect("it leads").lease;
    let again = election.campaign(campaign("two", lease)).await.expect("it leads").into_inner().leader;
    assert_eq!(first, again);
    let told = election.leader(leader()).await.expect("somebody leads").into_inner().kv.expect("it has one");
    assert_eq!(told.value, "two");
    node.shutdown().await;
}

#[tokio::test]
async fn refusals_have_etcds_texts_and_no_code() {
    let (node, election) = start().await;
    let missing = (Code::Unknown, "\"leader\" field must be provided".to_owned());
    assert_eq!(refused(election.proclaim(Request::new(ProclaimRequest::default())).await), missing);
    assert_eq!(refused(election.resign(Request::new(ResignRequest::default())).await), missing);
    let text = "etcdserver: requested lease not found".to_owned();
    assert_eq!(refused(election.campaign(campaign("one", 77)).await), (Code::Unknown, text));
    let nobody = Request::new(ResignRequest { leader: Some(LeaderKey::default()) });
    let text = "etcdserver: key is not provided".to_owned();
    assert_eq!(refused(election.resign(nobody).await), (Code::Unknown, text));
    node.shutdown().await;
}
