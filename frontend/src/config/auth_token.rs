//! `--auth-token`: how tokens of users would be made. There are no users in this release, so nothing is made of it; what
//! etcd refuses is refused all the same.

use super::settings::{Refusal, Settings};

/// The methods that etcd signs tokens by.
const SIGN_METHODS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

pub(super) fn check(settings: &mut Settings) -> Result<(), Refusal> {
    let text = settings.text("auth-token").to_owned();
    let refused = |why: &str| {
        Err(Refusal::Configuration(format!(
            "--auth-token={text}: {why}; it takes simple, or jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256"
        )))
    };
    let mut parts = text.split(',');
    match parts.next().unwrap_or_default() {
        "simple" | "" => return Ok(()),
        "jwt" => {}
        _ => return refused("auth: invalid auth options"),
    }
    let mut options = Vec::new();
    for option in parts {
        match option.split_once('=') {
            Some((name, value)) if options.iter().all(|(before, _)| *before != name) => {
                options.push((name, value))
            }
            _ => return refused("auth: invalid auth options"),
        }
    }
    match options.iter().find(|(name, _)| *name == "sign-method") {
        Some((_, method)) if SIGN_METHODS.contains(method) || method.starts_with("HS") => {}
        _ => return refused("auth: invalid auth signature method"),
    }
    settings.warn(
        "--auth-token=jwt has no effect yet: users and their tokens come in a later release".to_owned(),
    );
    Ok(())
}
