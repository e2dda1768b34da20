//! Which cluster and which member a data directory is, and how it began.
//!
//!     identity    "mainstem cluster 00000000000000c0 member 0000000000000007"
//!                 "voter 0000000000000007 http://10.0.0.1:2380 n1"        a line for each voter of a new cluster
//!                 "joins"                                                 or this, where there is one already
//!
//! Written at the first start and the same for ever: clients check the cluster's id in every answer, and a member
//! that has a vote must not come back as another. What `--initial-cluster` says later changes nothing.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use journal::{Dialer, Member};

use super::StartError;
use super::bootstrap;
use crate::config::{Config, InitialCluster, Storage};

pub(super) const FILE: &str = "identity";
/// No identity is longer; what is, is damaged.
const BYTES_MAX: u64 = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster: u64,
    pub(super) member: u64,
    pub(super) begins: Begins,
    /// Whether it was chosen just now.
    pub(super) is_new: bool,
}

/// What a journal without data begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// As the only voter.
    Alone,
    /// All of them, this one among them.
    With(Vec<Member>),
    /// With what the cluster's leader sends.
    Joins,
}

impl Identity {
    pub(super) async fn of(config: &Config, dialer: &Dialer) -> Result<Identity, StartError> {
        let Storage::Directory(path) = &config.storage else { return Identity::chosen(config, dialer).await };
        let failed = |error| StartError::Directory { path: path.clone(), error };
        let is_new = read(path).map_err(failed)?.is_none();
        if is_new {
            // Where it has no place, nothing is touched.
            let identity = Identity::chosen(config, dialer).await?;
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
            write(path, &identity).map_err(failed)?;
        }
        // Another process may have been quicker: then what it wrote counts. Whoever it was may have been killed before the
        // name was on disk.
        File::open(path).and_then(|directory| directory.sync_all()).map_err(failed)?;
        let text = read(path).map_err(failed)?.unwrap_or_default();
        let identity = parse(&text).ok_or_else(|| StartError::Identity { path: path.join(FILE) })?;
        if let Some(cluster) = &config.initial_cluster
            && let Some((own, other)) = identity.of_another(cluster, &config.name)
        {
            return Err(StartError::Cluster(format!(
                "the data directory {} is that of member {:x} ({other}), and this process is started as member {own:x} \
                 ({}): two data directories may have been swapped. Give each member its own one, or correct --name and \
                 --data-dir",
                path.display(),
                identity.member,
                config.name
            )));
        }
        Ok(Identity { is_new, ..identity })
    }

    async fn chosen(config: &Config, dialer: &Dialer) -> Result<Identity, StartError> {
        match &config.initial_cluster {
            None => Ok(Identity::random()),
            Some(cluster) => {
                cluster.check(&config.name, &config.advertise_peer).map_err(StartError::Cluster)?;
                bootstrap::identity(cluster, &config.name, dialer).await.map_err(StartError::Cluster)
            }
        }
    }

    /// The id that the flags give, and the name of the member whose identity it is, where the flags name that one
    /// beside this. Members that were added later are in no flags with their ids, and are not compared.
    fn of_another<'a>(&self, cluster: &'a InitialCluster, name: &str) -> Option<(u64, &'a str)> {
        let own = cluster.member_id(name).filter(|own| *own != self.member)?;
        let names = cluster.members.keys().map(String::as_str);
        let other = names.into_iter().find(|other| cluster.member_id(other) == Some(self.member))?;
        Some((own, other)).filter(|_| cluster.cluster_id() == self.cluster)
    }

    fn random() -> Identity {
        // 0 means "none" to clients.
        let id = || rand::random::<u64>().max(1);
        Identity { cluster: id(), member: id(), begins: Begins::Alone, is_new: true }
    }
}

fn read(directory: &Path) -> io::Result<Option<String>> {
    let file = match File::open(directory.join(FILE)) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Written aside and linked, so that it is there as a whole or not at all, and never replaces another. On disk once the
/// directory is synced.
fn write(directory: &Path, identity: &Identity) -> io::Result<()> {
    let aside = directory.join(format!("{FILE}.{:016x}", rand::random::<u64>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(text(identity).as_bytes())?;
    file.sync_all()?;
    match std::fs::hard_link(&aside, directory.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::remove_file(&aside)
}

fn text(identity: &Identity) -> String {
    let Identity { cluster, member, begins, .. } = identity;
    let mut text = format!("mainstem cluster {cluster:016x} member {member:016x}\n");
    match begins {
        Begins::Alone => {}
        Begins::Joins => text += "joins\n",
        Begins::With(voters) => {
            for Member { id, name, peer_urls, .. } in voters {
                text += &format!("voter {id:016x} {} {name}\n", peer_urls.join(","));
            }
        }
    }
    text
}

fn parse(text: &str) -> Option<Identity> {
    let (ids, begins) = text.split_once('\n')?;
    let (cluster, member) = ids.strip_prefix("mainstem cluster ")?.split_once(" member ")?;
    let begins = match begins {
        "" => Begins::Alone,
        "joins\n" => Begins::Joins,
        voters => Begins::With(voters.strip_suffix('\n')?.split('\n').map(voter).collect::<Option<_>>()?),
    };
    Some(Identity { cluster: id(cluster)?, member: id(member)?, begins, is_new: false })
}

fn voter(line: &str) -> Option<Member> {
    let mut parts = line.strip_prefix("voter ")?.splitn(3, ' ');
    let (ident, urls, name) = (id(parts.next()?)?, parts.next()?, parts.next()?.to_owned());
    let peer_urls = urls.split(',').map(str::to_owned).collect();
    Some(Member { id: ident, name, peer_urls, ..Member::default() })
}

fn id(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok().filter(|id| *id != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Config) {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let config = Config::in_directory(scratch.path().join("data"));
        (scratch, config)
    }

    #[tokio::test]
    async fn it_is_chosen_once() {
        let (_scratch, config) = scratch();
        let first = Identity::of(&config, &Dialer::plain()).await.expect("it is chosen");
        let second = Identity::of(&config, &Dialer::plain()).await.expect("it is there");
        assert!(first.is_new && !second.is_new);
        assert_eq!((first.cluster, first.member), (second.cluster, second.member));
        assert_ne!(first.cluster, Identity::random().cluster);
    }

    #[test]
    fn how_it_began_is_kept_with_it() {
        let member = |id, name: &str, urls: &[&str]| Member {
            id,
            name: name.to_owned(),
            peer_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            ..Member::default()
        };
        let voters = vec![member(7, "n 1", &["http://a:1", "http://a:2"]), member(9, "", &["http://b:1"])];
        for begins in [Begins::Alone, Begins::Joins, Begins::With(voters)] {
            let identity = Identity { cluster: 3, member: 7, begins, is_new: false };
            assert_eq!(parse(&text(&identity)), Some(identity));
        }
    }

    #[test]
    fn a_directory_of_another_member_is_refused() {
        let members = ["a", "b"].map(|name| (name.to_owned(), vec![format!("http://{name}:1")]));
        let cluster = InitialCluster { members: members.into(), token: "t".to_owned(), exists: false };
        let of = |name: &str| cluster.member_id(name).expect("it is a member");
        let identity = Identity { cluster: cluster.cluster_id(), member: of("b"), ..Identity::random() };
        assert_eq!(identity.of_another(&cluster, "b"), None);
        assert_eq!(identity.of_another(&cluster, "a"), Some((of("a"), "b")));
        assert_eq!(identity.of_another(&cluster, "renamed"), None);
        let later = Identity { member: 9, ..identity };
        assert_eq!(later.of_another(&cluster, "a"), None, "one that joined");
    }

    #[tokio::test]
    async fn damage_is_refused_and_not_chosen_anew() {
        let (scratch, config) = scratch();
        Identity::of(&config, &Dialer::plain()).await.expect("it is chosen");
        let damaged = [
            "",
            "mainstem cluster 0 member 1\n",
            "mainstem cluster 1 member 1",
            "xxxx",
            "mainstem cluster 1 member 1\nvoter 1\n",
            "mainstem cluster 1 member 1\nvoter 1 http://a:1 a",
            "mainstem cluster 1 member 1\njoin\n",
        ];
        for text in damaged {
            std::fs::write(scratch.path().join("data").join(FILE), text).expect("there is room");
            let error = Identity::of(&config, &Dialer::plain()).await.expect_err("it is damaged");
            assert!(error.to_string().contains("identity is damaged"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_no_directory_is_refused_with_its_name() {
        let (scratch, config) = scratch();
        std::fs::write(scratch.path().join("data"), "").expect("there is room");
        let error = Identity::of(&config, &Dialer::plain()).await.expect_err("it is a file").to_string();
        assert!(
            error.starts_with("cannot use the data directory ") && error.contains("data: File exists"),
            "{error}"
        );
    }
}
