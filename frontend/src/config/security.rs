//! What the settings say of TLS: etcd's rules for what goes together.
//!
//! Files are only named here. They are read when the node starts, and again when they change.

use std::path::PathBuf;

use journal::tls::{Allowed, KeyPair, Protocol, Settings as Side};

use super::settings::{Refusal, Settings};
use super::values::{self, Host, Url};
use super::{Address, Config};

/// TLS with clients, or with other members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Without an identity where it makes its own.
    pub side: Side,
    /// The years for which a certificate is made, where none is named.
    pub makes_its_own: Option<u32>,
}

fn refused(text: impl Into<String>) -> Refusal {
    Refusal::Configuration(text.into())
}

/// With clients. `None` where there is no certificate, and no address needs one.
pub(super) fn client(
    settings: &Settings,
    addresses: &[&Vec<Address>],
    metrics: &[Address],
) -> Result<Option<Tls>, Refusal> {
    let (protocol, _) = protocol(settings)?;
    let secure = addresses.iter().copied().flatten().find(|address| address.secure);
    let identity = pair(settings, "cert-file", "key-file")?;
    let own = makes_its_own(settings, "auto-tls", identity.as_ref())?;
    if identity.is_none() && own.is_none() {
        if let Some(address) = secure {
            return Err(refused(format!(
                "TLS key/cert (--cert-file, --key-file) must be provided for client url {} with HTTPS scheme",
                address.url
            )));
        }
        if metrics.iter().any(|address| address.secure) {
            let text =
                "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url";
            return Err(refused(text));
        }
        return Ok(None);
    }
    let trusted_ca = path(settings, "trusted-ca-file");
    if secure.is_some() {
        needs_authority(settings, "client-cert-auth", "trusted-ca-file", trusted_ca.as_ref())?;
    }
    let side = Side {
        identity,
        trusted_ca,
        crl: path(settings, "client-crl-file"),
        allowed: match list(settings, "client-cert-allowed-hostname") {
            hosts if hosts.is_empty() => Allowed::Anybody,
            hosts => Allowed::Hosts(hosts),
        },
        protocol,
        ..Side::default()
    };
    Ok(Some(Tls { side, makes_its_own: own }))
}

/// With other members. `None` where there is no certificate, and no address needs one.
pub(super) fn peer(settings: &Settings, addresses: &[&Vec<Address>]) -> Result<Option<Tls>, Refusal> {
    let (protocol, _) = protocol(settings)?;
    let secure = addresses.iter().copied().flatten().find(|address| address.secure);
    let identity = pair(settings, "peer-cert-file", "peer-key-file")?;
    let dials_with = pair(settings, "peer-client-cert-file", "peer-client-key-file")?;
    let own = makes_its_own(settings, "peer-auto-tls", identity.as_ref())?;
    let trusted_ca = path(settings, "peer-trusted-ca-file");
    if identity.is_none() && own.is_none() {
        if let Some(address) = secure {
            return Err(refused(format!(
                "cannot listen on TLS for {}: KeyFile and CertFile are not presented; name them by --peer-cert-file \
                 and --peer-key-file",
                address.socket
            )));
        }
        // Who only dials needs no more than to know whom to believe.
        if trusted_ca.is_none() {
            return Ok(None);
        }
    }
    if secure.is_some() {
        needs_authority(settings, "peer-client-cert-auth", "peer-trusted-ca-file", trusted_ca.as_ref())?;
    }
    let names = (list(settings, "peer-cert-allowed-cn"), list(settings, "peer-cert-allowed-hostname"));
    let allowed = match names {
        (names, hosts) if !names.is_empty() && !hosts.is_empty() => {
            return Err(refused(format!(
                "AllowedCNs and AllowedHostnames are mutually exclusive (cns={names:?}, hostnames={hosts:?})"
            )));
        }
        (names, _) if !names.is_empty() => Allowed::CommonNames(names),
        (_, hosts) if !hosts.is_empty() => Allowed::Hosts(hosts),
        _ => Allowed::Anybody,
    };
    let side = Side {
        identity,
        dials_with,
        trusted_ca,
        crl: path(settings, "peer-crl-file"),
        allowed,
        protocol,
        // Nobody can check what each has made for itself.
        believes_anybody: own.is_some(),
    };
    Ok(Some(Tls { side, makes_its_own: own }))
}

/// What is odd, and is no reason not to start.
pub(super) fn warnings(settings: &Settings, config: &Config) -> Vec<String> {
    let mut told = Vec::new();
    if let Ok((_, missing)) = protocol(settings)
        && !missing.is_empty()
    {
        told.push(format!("--cipher-suites: {} are not spoken: they are not safe", missing.join(", ")));
    }
    for url in config.journal_endpoints.iter().filter(|url| leaves_the_machine(url)) {
        told.push(format!(
            "--journal-endpoints={url} is not encrypted: whoever is between here and there reads and changes \
             everything; use https://"
        ));
    }
    let clients = config.listen_client.iter().chain(&config.listen_http).filter(|_| config.roles.frontend);
    let peers = config.listen_peer.iter().filter(|_| config.serve_peers);
    let memstores = config.listen_memstore.iter().filter(|_| config.roles.serves_frontends());
    let sides = [
        (&config.client_tls, "", "client-cert-auth", clients.collect::<Vec<_>>()),
        (&config.peer_tls, "peer-", "peer-client-cert-auth", peers.chain(memstores).collect()),
    ];
    for (tls, prefix, auth, addresses) in sides {
        for url in addresses.iter().filter(|address| !address.secure).map(|address| &address.url) {
            if tls.as_ref().is_some_and(|tls| tls.side.identity.is_some()) {
                told.push(format!(
                    "scheme is http while key and cert files are present; --{prefix}cert-file and \
                     --{prefix}key-file are ignored for {url}"
                ));
            }
            if settings.flag(auth) {
                told.push(format!("scheme is http while --{auth} is enabled; it is ignored for {url}"));
            }
        }
        let Some(tls) = tls else { continue };
        if tls.side.identity.is_some()
            && settings.flag(if prefix.is_empty() { "auto-tls" } else { "peer-auto-tls" })
        {
            told.push(format!("--{prefix}auto-tls is ignored: certificates are given"));
        }
        if tls.side.trusted_ca.is_none() && (tls.side.crl.is_some() || tls.side.allowed != Allowed::Anybody) {
            told.push(format!(
                "nobody is asked for a certificate without --{prefix}trusted-ca-file: revocations and allowed names \
                 are ignored"
            ));
        }
    }
    told
}

/// Whether what is said to `url` in plain text can be heard elsewhere.
fn leaves_the_machine(url: &str) -> bool {
    let Ok(Url { secure, host: Host::Network { name, .. }, .. }) = values::url(url) else { return false };
    let is_loopback = name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    !secure && !is_loopback
}

fn protocol(settings: &Settings) -> Result<(Protocol, Vec<String>), Refusal> {
    let suites = list(settings, "cipher-suites");
    let suites: Vec<&str> = suites.iter().map(String::as_str).collect();
    Protocol::parse(settings.text("tls-min-version"), settings.text("tls-max-version"), &suites)
        .map_err(refused)
}

fn path(settings: &Settings, name: &'static str) -> Option<PathBuf> {
    Some(settings.text(name)).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn list(settings: &Settings, name: &'static str) -> Vec<String> {
    values::list(settings.text(name))
}

fn pair(settings: &Settings, cert: &'static str, key: &'static str) -> Result<Option<KeyPair>, Refusal> {
    match (path(settings, cert), path(settings, key)) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(KeyPair { cert, key })),
        _ => Err(refused(format!(
            "KeyFile and CertFile must both be present[key: {}, cert: {}]: give --{key} and --{cert}",
            settings.text(key),
            settings.text(cert)
        ))),
    }
}

fn makes_its_own(
    settings: &Settings,
    flag: &'static str,
    identity: Option<&KeyPair>,
) -> Result<Option<u32>, Refusal> {
    if !settings.flag(flag) || identity.is_some() {
        return Ok(None);
    }
    match u32::try_from(settings.count("self-signed-cert-validity")) {
        Ok(years @ 1..=1_000) => Ok(Some(years)),
        Ok(0) => Err(refused("selfSignedCertValidity is invalid,it should be greater than 0")),
        _ => Err(refused("--self-signed-cert-validity is above 1000 years; choose less")),
    }
}

/// Go would believe every authority of the system; nobody who asks for certificates means that.
fn needs_authority(
    settings: &Settings,
    auth: &'static str,
    authority: &str,
    path: Option<&PathBuf>,
) -> Result<(), Refusal> {
    match settings.flag(auth) && path.is_none() {
        true => Err(refused(format!(
            "--{auth} needs the authorities to believe: name their file by --{authority}"
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Persona, Refusal, Start, read};
    use super::*;

    const ADVERTISED: &str = "--advertise-client-urls https://a:1 --listen-client-urls";

    fn started(line: &str) -> Result<Start, Refusal> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match read(Persona::Mainstem, &arguments, std::iter::empty())? {
            Command::Start(start) => Ok(*start),
            other => panic!("{line} asks for {other:?}"),
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_in_etcds_words() {
        let check = |line: &str, expected: &str| {
            let told = started(line).expect_err(line).to_string();
            assert!(told.starts_with(expected), "{line}: {told}");
        };
        let https = format!("{ADVERTISED} https://127.0.0.1:1");
        check(
            &https,
            "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme",
        );
        check(
            "--listen-metrics-urls https://127.0.0.1:1",
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
        );
        check("--cert-file a.crt", "KeyFile and CertFile must both be present[key: , cert: a.crt]");
        check("--peer-key-file a.key", "KeyFile and CertFile must both be present[key: a.key, cert: ]");
        check(
            &format!("{https} --cert-file a --key-file b --client-cert-auth"),
            "--client-cert-auth needs the authorities to believe: name their file by --trusted-ca-file",
        );
        check(
            "--listen-peer-urls https://127.0.0.1:2380",
            "cannot listen on TLS for 127.0.0.1:2380: KeyFile and CertFile are not presented",
        );
        check(
            "--peer-cert-file a --peer-key-file b --peer-cert-allowed-cn c --peer-cert-allowed-hostname d",
            "AllowedCNs and AllowedHostnames are mutually exclusive",
        );
        check("--tls-min-version TLS1.1", "unexpected TLS version \"TLS1.1\"");
        check("--cipher-suites A,B", "unexpected TLS cipher suite \"A\"");
        check("--auto-tls --self-signed-cert-validity 0", "selfSignedCertValidity is invalid");
    }

    #[test]
    fn files_and_rules_are_taken_as_they_are_named() {
        let line = format!(
            "{ADVERTISED} https://127.0.0.1:1,http://127.0.0.1:2 --cert-file a --key-file b --trusted-ca-file c \
             --client-crl-file d --client-cert-allowed-hostname x,y --peer-auto-tls --self-signed-cert-validity 3"
        );
        let start = started(&line).expect("it is well formed");
        let tls = start.config.client_tls.expect("there is a certificate");
        assert_eq!(tls.side.identity, Some(KeyPair { cert: "a".into(), key: "b".into() }));
        assert_eq!((tls.side.trusted_ca, tls.side.crl), (Some("c".into()), Some("d".into())));
        assert_eq!(tls.side.allowed, Allowed::Hosts(vec!["x".to_owned(), "y".to_owned()]));
        let secure: Vec<bool> = start.config.listen_client.iter().map(|address| address.secure).collect();
        assert_eq!(secure, [true, false]);
        let peer = start.config.peer_tls.expect("it makes its own");
        assert_eq!((peer.makes_its_own, peer.side.believes_anybody), (Some(3), true));
    }

    #[test]
    fn what_is_ignored_is_told() {
        let told = |line: &str| {
            let start = started(line).expect("it is well formed");
            start.warnings.into_iter().map(|warning| warning.0).collect::<Vec<String>>()
        };
        let line = "--cert-file a --key-file b --client-cert-auth --trusted-ca-file c --auto-tls";
        assert_eq!(
            told(line),
            [
                "scheme is http while key and cert files are present; --cert-file and --key-file are ignored for \
                 http://localhost:2379",
                "scheme is http while --client-cert-auth is enabled; it is ignored for http://localhost:2379",
                "--auto-tls is ignored: certificates are given",
            ]
        );
        let line = format!("{ADVERTISED} https://127.0.0.1:1 --auto-tls --client-crl-file d");
        assert_eq!(told(&line).len(), 1);
        let line = "--cipher-suites TLS_RSA_WITH_AES_128_CBC_SHA,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        assert_eq!(
            told(line),
            ["--cipher-suites: TLS_RSA_WITH_AES_128_CBC_SHA are not spoken: they are not safe"]
        );
        assert!(told("").is_empty());
        let elsewhere =
            |host: &str| told(&format!("--role memstore,frontend --journal-endpoints {host}:2380"));
        assert!(
            elsewhere("http://10.0.0.1")[0]
                .starts_with("--journal-endpoints=http://10.0.0.1:2380 is not encrypted")
        );
        assert!(elsewhere("http://127.0.0.1").is_empty());
    }
}
