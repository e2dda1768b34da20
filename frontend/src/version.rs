//! Which etcd this program passes for.
//!
//! API servers and kubeadm gate features on the version of etcd they talk to, so what is told is etcd's, and it
//! can be chosen. What this program is itself stands beside it where people look.

use serde_json::json;

/// What is told unless chosen otherwise.
pub const EMULATED_DEFAULT: &str = "3.6.16";

/// Our own version.
pub const OWN: &str = env!("CARGO_PKG_VERSION");

/// An etcd version, of the form 3.6.16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    server: String,
    /// Of the cluster and of the storage: 3.6.0.
    cluster: String,
}

impl Version {
    /// A version from its text. `None` where it is not of the form of three numbers.
    #[must_use]
    pub fn parse(text: &str) -> Option<Version> {
        let numbers: Vec<u32> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let [major, minor, _] = numbers[..] else { return None };
        Some(Version { server: text.to_owned(), cluster: format!("{major}.{minor}.0") })
    }

    /// The second number of the version.
    #[must_use]
    pub fn minor(&self) -> u32 {
        self.server.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or_default()
    }

    /// As in `Status` and `/version`.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The version of the cluster and of its storage.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The four lines of `etcd --version`, which scripts take apart, and our own.
    #[must_use]
    pub fn lines(&self) -> String {
        let (os, arch) = (std::env::consts::OS, arch());
        format!(
            "etcd Version: {}\nGit SHA: Not provided\nGo Version: none\nGo OS/Arch: {os}/{arch}\nMainstem Version: {OWN}\n",
            self.server
        )
    }

    pub(crate) fn document(&self) -> String {
        // By hand, because the order of the names is part of what is compared.
        let text = |text: &str| json!(text).to_string();
        let (server, cluster) = (text(&self.server), text(&self.cluster));
        format!("{{\"etcdserver\":{server},\"etcdcluster\":{cluster},\"storage\":{cluster}}}")
    }
}

impl Default for Version {
    fn default() -> Version {
        Version::parse(EMULATED_DEFAULT).expect("our own default has three numbers")
    }
}

/// The machine, as Go names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_three_numbers() {
        assert_eq!(Version::parse("3.7.3").map(|version| version.cluster), Some("3.7.0".to_owned()));
        for text in ["3.6", "v3.6.1", "3.6.1-rc0", "", "a.b.c"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn scripts_find_etcds_version_in_the_first_line() {
        let lines = Version::default().lines();
        assert!(lines.starts_with("etcd Version: 3.6.16\nGit SHA: "), "{lines}");
        assert_eq!(lines.lines().count(), 5);
    }

    #[test]
    fn the_document_is_etcds() {
        let document = Version::default().document();
        assert_eq!(document, r#"{"etcdserver":"3.6.16","etcdcluster":"3.6.0","storage":"3.6.0"}"#);
    }
}
