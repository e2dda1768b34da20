//! Hearing what another memstore says of itself, for as long as somebody looks.
//!
//!     connect ─► reports … ── none for 250 ms ─► quiet ── none for 1 s ─► down ─► connect again
//!
//! A report comes at least every 100 ms, so silence means that the process, or the way to it, stands still.

use std::time::Duration;

use proto::memstore::FollowRequest;
use proto::memstore::memstore_client::MemstoreClient;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{debug, error};

use super::Remote;
use super::mirror::{Health, Mirror, Mirroring, mirror as new_mirror};
use crate::wire::{MESSAGE_BYTES_MAX, reports};

/// How often a memstore speaks, whether or not anything has happened.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_millis(100);
/// Without a report for so long others are asked first.
const QUIET_AFTER: Duration = Duration::from_millis(250);
/// And for so long again, it is given up.
const DOWN_AFTER: Duration = Duration::from_millis(750);
/// How long until one that could not be reached is tried again.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn mirror(remote: &Remote, channel: Channel) -> Mirror {
    let (hears, looks) = new_mirror();
    tokio::spawn(run(remote.clone(), channel, hears));
    looks
}

async fn run(remote: Remote, channel: Channel, mirroring: Mirroring) {
    let mut refused = false;
    loop {
        let end = tokio::select! {
            () = mirroring.closed() => return,
            end = listen(&remote, &channel, &mirroring) => end,
        };
        mirroring.is(Health::Down);
        // Once is enough.
        if end.code() == Code::FailedPrecondition && !std::mem::replace(&mut refused, true) {
            error!(url = remote.url, reason = end.message(), "a memstore is left alone");
        }
        debug!(url = remote.url, error = %end, "a memstore says nothing");
        tokio::select! {
            () = mirroring.closed() => return,
            () = remote.clock.until(remote.clock.now() + PAUSE) => {}
        }
    }
}

/// Answers why it ended.
async fn listen(remote: &Remote, channel: &Channel, mirroring: &Mirroring) -> Status {
    let mut client = MemstoreClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let opening = client.follow(FollowRequest { cluster: remote.cluster });
    let opened = tokio::select! {
        opened = opening => opened,
        () = remote.clock.until(remote.clock.now() + QUIET_AFTER + DOWN_AFTER) => return silent(),
    };
    let mut parts = match opened {
        Ok(opened) => opened.into_inner(),
        Err(status) => return status,
    };
    let mut quiet = false;
    loop {
        let patience = if quiet { DOWN_AFTER } else { QUIET_AFTER };
        let message = tokio::select! {
            biased;
            message = parts.message() => message,
            () = remote.clock.until(remote.clock.now() + patience) => {
                if quiet {
                    return silent();
                }
                quiet = true;
                mirroring.is(Health::Quiet);
                continue;
            }
        };
        let report = match message {
            Ok(Some(report)) => reports::read(report),
            Ok(None) => return Status::unavailable("it has hung up"),
            Err(status) => return status,
        };
        match report {
            Ok(report) => mirroring.hear(report),
            Err(malformed) => return malformed.into(),
        }
        quiet = false;
    }
}

fn silent() -> Status {
    Status::deadline_exceeded("it says nothing any more")
}
