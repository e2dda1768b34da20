//! What a node speaks TLS with, made from its settings: once, for all that listens and dials.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use journal::Dialer;
use journal::tls::{Acceptor, Guard, Tiers, self_signed};

use super::error::StartError;
use crate::config::{Address, Config, Roles, Storage, Tls};

/// HTTP/2 for gRPC; HTTP/1.1 for probes, metrics and JSON.
const FOR_CLIENTS: &[&[u8]] = &[b"h2", b"http/1.1"];

const FOR_PEERS: &[&[u8]] = &[b"h2"];

/// The sides that there are certificates for.
pub(super) struct Security {
    pub(super) clients: Option<Acceptor>,
    pub(super) peers: Option<Acceptor>,
    pub(super) dialer: Dialer,
    /// Which tiers the services for other processes answer.
    pub(super) guard: Arc<Guard>,
}

impl Security {
    /// # Errors
    /// `Tls`: what is wrong with the files, or with the directory for those that are made.
    pub(super) fn of(config: &Config) -> Result<Security, StartError> {
        let own = config.listen_client.iter().chain(&config.listen_http).chain(&config.listen_metrics);
        let clients = match &config.client_tls {
            None => None,
            Some(tls) => {
                let tls = with_identity(config, tls, "client", own)?;
                Some(Acceptor::new(&tls.side, FOR_CLIENTS).map_err(StartError::Tls)?)
            }
        };
        let (peers, dialer, guard) = match &config.peer_tls {
            None => (None, Dialer::plain(), Guard::default()),
            Some(tls) => {
                let tls = with_identity(
                    config,
                    tls,
                    "peer",
                    config.listen_peer.iter().chain(&config.listen_memstore),
                )?;
                let accepts = tls.side.identity.is_some().then(|| Acceptor::new(&tls.side, FOR_PEERS));
                let dials = Dialer::tls(&tls.side).map_err(StartError::Tls)?;
                let guard = Guard::of(&tls.side).map_err(StartError::Tls)?;
                suits(config.roles, &guard)?;
                (accepts.transpose().map_err(StartError::Tls)?, dials, guard)
            }
        };
        Ok(Security { clients, peers, dialer, guard: Arc::new(guard) })
    }
}

/// A process with another tier's certificate would be refused everywhere.
fn suits(roles: Roles, guard: &Guard) -> Result<(), StartError> {
    let Roles { journal, memstore, frontend } = roles;
    match guard.own() {
        Some(own) if !own.cover(Tiers { journal, memstore, frontend }) => {
            Err(StartError::Tls(journal::Error::Io(format!(
                "this process runs {roles}, and its certificate is for {own}: give it one for all that it runs by \
                 --peer-cert-file, or change --role"
            ))))
        }
        _ => Ok(()),
    }
}

/// With a certificate of its own, where none was named.
fn with_identity<'a>(
    config: &Config,
    tls: &Tls,
    name: &str,
    addresses: impl Iterator<Item = &'a Address>,
) -> Result<Tls, StartError> {
    let Some(years) = tls.makes_its_own else { return Ok(tls.clone()) };
    let Storage::Directory(directory) = &config.storage else {
        let text = "a certificate of its own needs a data directory to stand in: name files of one";
        return Err(StartError::Tls(journal::Error::Io(text.to_owned())));
    };
    let hosts: Vec<String> =
        addresses.filter_map(|address| Some(address.socket.tcp()?.ip().to_string())).collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    // Where etcd has them.
    let directory = directory.join("fixtures").join(name);
    let pair = self_signed(&directory, &hosts, now, years).map_err(StartError::Tls)?;
    let mut tls = tls.clone();
    tls.side.identity = Some(pair);
    Ok(tls)
}
