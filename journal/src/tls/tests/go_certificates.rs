//! Certificates that Go takes: which of them are taken here, and what is said of the others.

use super::*;

/// One pair for everything, as `openssl req -x509` makes it.
#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_believed_where_it_is_named() {
    let files = Files::of(&Authority::new("ca"));
    let own = |leaf: Leaf| {
        let (authority, key) = Authority::alone(&Leaf { is_ca: true, ..leaf });
        files.put_pair("server", &(authority.pem(), key.clone()));
        files.put_pair("client", &(authority.pem(), key));
        files.put("ca.pem", &authority.pem());
        authority
    };
    let meets = || meet_once_owned(files.server(), files.client());
    let authority = own(Leaf::named("all"));
    assert_eq!(meets().await, (Ok(named("all")), true));
    // It is still asked for its name, its times, its uses and its revocation.
    files.put("crl.pem", &authority.revoke(&[1]));
    let crl = Some(files.path("crl.pem"));
    let revoked = Settings { crl: crl.clone(), ..files.server() };
    assert!(meet_once(&revoked, &files.client()).await.0.expect_err("it is revoked").contains("Revoked"));
    let revoked = Settings { crl, ..files.client() };
    assert!(!meet_once(&files.server(), &revoked).await.1);
    own(Leaf { hosts: &["127.0.0.2"], ..Leaf::named("all") });
    assert!(!meets().await.1);
    own(Leaf { expired: true, ..Leaf::named("all") });
    assert!(!meets().await.1);
    let anybody = Settings { believes_anybody: true, trusted_ca: None, ..files.client() };
    assert!(meet_once(&files.server(), &anybody).await.0.expect_err("it is old").contains("expired"));
    own(Leaf { for_clients: false, ..Leaf::named("all") });
    assert!(meets().await.0.is_err());
    // Another one of the same name is another one.
    own(Leaf::named("all"));
    let (other, key) = Authority::alone(&Leaf { is_ca: true, ..Leaf::named("all") });
    files.put_pair("client", &(other.pem(), key));
    assert!(meets().await.0.is_err());
}

async fn meet_once_owned(server: Settings, client: Settings) -> (Result<Option<Caller>, String>, bool) {
    meet_once(&server, &client).await
}

/// As by Go: the authority of the file has signed it.
#[tokio::test]
async fn a_certificate_that_could_be_an_authoritys_is_believed_where_one_of_the_file_has_signed_it() {
    let authority = Authority::new("ca");
    let files = Files::of(&authority);
    let both = |leaf: Leaf| {
        for name in ["server", "client"] {
            files.put_pair(name, &authority.issue(&Leaf { is_ca: true, name, ..leaf }));
        }
    };
    both(Leaf::named("either"));
    assert_eq!(meet_once(&files.server(), &files.client()).await, (Ok(named("client")), true));
    // It is still asked for its name, its times, its uses and its revocation.
    both(Leaf { hosts: &["127.0.0.2"], ..Leaf::named("either") });
    assert!(!meet_once(&files.server(), &files.client()).await.1);
    both(Leaf { expired: true, ..Leaf::named("either") });
    assert!(meet_once(&files.server(), &files.client()).await.0.is_err());
    both(Leaf { for_clients: false, ..Leaf::named("either") });
    assert!(meet_once(&files.server(), &files.client()).await.0.is_err());
    both(Leaf::named("either"));
    files.put("crl.pem", &authority.revoke(&[1]));
    let revoking = Settings { crl: Some(files.path("crl.pem")), ..files.server() };
    assert!(meet_once(&revoking, &files.client()).await.0.expect_err("it is revoked").contains("Revoked"));
}

/// The name of an authority is not enough. Of one that is not in the file, the log says what to do.
#[tokio::test]
async fn a_certificate_that_could_be_an_authoritys_is_refused_with_the_next_step() {
    let files = Files::of(&Authority::new("ca"));
    let stranger = Authority::new("ca");
    files.put_pair("client", &stranger.issue(&Leaf { is_ca: true, ..Leaf::named("client") }));
    let reason = meet_once(&files.server(), &files.client()).await.0.expect_err("it is refused");
    assert!(reason.contains("CaUsedAsEndEntity") && reason.contains("issue it with CA:FALSE"), "{reason}");
}

/// Go takes it. It has no extensions, so it names neither its uses nor its hosts.
#[test]
fn a_certificate_of_version_1_is_refused_with_the_next_step() {
    let files = Files::of(&Authority::new("ca"));
    files.put("client.key", include_str!("version1.key"));
    files.put("client.pem", include_str!("version1.pem"));
    let next = "of version 1, which names no uses: issue it with extensions";
    let own = Acceptor::new(&files.client(), H2).err().expect("it is refused").to_string();
    assert!(own.contains(next), "{own}");
    let cause = rustls::OtherError(std::sync::Arc::new(webpki::Error::UnsupportedCertVersion));
    let error = rustls::Error::InvalidCertificate(rustls::CertificateError::Other(cause));
    let shown = Refused::Handshake(std::io::Error::other(error)).to_string();
    assert!(shown.contains(next), "{shown}");
}

/// As by Go: of an authority the key and the name count.
#[tokio::test]
async fn an_authority_of_version_1_is_believed() {
    let files = Files::of(&Authority::new("ca"));
    files.put("ca.pem", include_str!("version1-authority.pem"));
    for name in ["server", "client"] {
        files.put(&format!("{name}.key"), include_str!("version1-issued.key"));
        files.put(&format!("{name}.pem"), include_str!("version1-issued.pem"));
    }
    assert_eq!(meet_once(&files.server(), &files.client()).await, (Ok(named("leaf")), true));
}

/// `etcd --auto-tls` makes such keys.
#[tokio::test]
async fn keys_of_p521_are_spoken_on_both_sides() {
    let files = Files::of(&Authority::new("ca"));
    for name in ["server", "client"] {
        files.put(&format!("{name}.key"), include_str!("p521.key"));
        files.put(&format!("{name}.pem"), include_str!("p521.pem"));
    }
    files.put("ca.pem", include_str!("p521.pem"));
    assert_eq!(meet_once(&files.server(), &files.client()).await, (Ok(named("p521")), true));
}
