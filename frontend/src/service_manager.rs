//! What the service manager that started this program is told of it, as systemd's `Type=notify` has it: that
//! linearizable reads work, and that it is about to end. Without such a manager nothing happens.

use frontend::Summary;
use sd_notify::NotifyState;

/// The state is there and linearizable reads are answered.
pub(crate) fn ready(summary: &Summary) {
    let found = if summary.is_new { "began with nothing" } else { "began" };
    let serves = if summary.roles.frontend { "clients" } else { "other processes" };
    let status = format!(
        "serving {serves}; member {:x} of cluster {:x}, {found} at revision {}",
        summary.member, summary.cluster, summary.revision.0
    );
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// It ends, which may take as long as its last snapshot.
pub(crate) fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("shutting down: a last snapshot, then the journal closes"),
    ]);
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told (NOTIFY_SOCKET); it may take this program for hung");
    }
}
