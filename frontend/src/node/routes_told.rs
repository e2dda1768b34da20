//! The journaled routes, one version after the other.

use journal::{Journal, Routes};
use tokio_util::sync::CancellationToken;

/// Tells `hear` of the routes that are known now, before it returns, and then of every later version that it sees, until
/// `closing` or the journal's end.
pub(super) fn follow(
    journal: &Journal,
    closing: CancellationToken,
    mut hear: impl FnMut(&Routes) + Send + 'static,
) {
    let mut status = journal.status();
    let known = status.borrow_and_update().routes.clone();
    hear(&known);
    let mut version = known.version();
    tokio::spawn(async move {
        loop {
            let later = status.wait_for(|status| version < status.routes.version());
            let routes = tokio::select! {
                () = closing.cancelled() => return,
                later = later => match later {
                    Ok(status) => status.routes.clone(),
                    Err(_) => return,
                },
            };
            version = routes.version();
            hear(&routes);
        }
    });
}
