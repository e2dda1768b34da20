//! Work that takes long, on another thread: copying and hashing a partition.

use std::panic::resume_unwind;

use journal::machine;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// Works on another thread, which is told when nobody waits for it any more.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce(&CancellationToken) -> T + Send + 'static,
) -> Result<T, Error> {
    let given_up = CancellationToken::new();
    let _gives_up = given_up.clone().drop_guard();
    match machine::spawn_blocking(move || work(&given_up)).await {
        Ok(done) => Ok(done),
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Error::Closed),
        },
    }
}
