//! A real kube-apiserver on a store, and a client that speaks its API.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::ports::free_port;
use crate::tools;

/// How long an API server may take until it is ready.
const READY_MAX: Duration = Duration::from_secs(120);
const TOKEN: &str = "suite";

/// A running API server. Dropping it kills it.
pub struct ApiServer {
    child: Child,
    files: TempDir,
    api: Api,
}

impl ApiServer {
    /// Starts one on the store at `endpoint`, and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not get ready; the error has the end of its log.
    pub fn start(endpoint: &str, arguments: &[&str]) -> Result<ApiServer> {
        let files = tempfile::Builder::new().prefix("apiserver-").tempdir()?;
        let folder = files.path();
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        std::fs::write(folder.join("tls.crt"), certified.cert.pem())?;
        std::fs::write(folder.join("tls.key"), certified.signing_key.serialize_pem())?;
        std::fs::write(folder.join("tokens.csv"), format!("{TOKEN},admin,1,\"system:masters\"\n"))?;
        let port = free_port()?;
        let log = File::create(folder.join("log"))?;
        let child = command(folder, port, endpoint)?
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start kube-apiserver")?;
        let api = Api::new(port, certified.cert.der());
        let mut server = ApiServer { child, files, api };
        server.await_ready()?;
        Ok(server)
    }

    #[must_use]
    pub fn api(&self) -> Api {
        self.api.clone()
    }

    /// Runs kubectl against it, in the folder of the workspace.
    ///
    /// # Errors
    /// When it ends with another status than 0; the error has what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let kubectl = Command::new(tools::judge("kubectl")?)
            .args([&format!("--server={}", self.api.base), &format!("--token={TOKEN}")])
            .args(["--insecure-skip-tls-verify", "--cache-dir"])
            .arg(self.files.path().join("kubectl"))
            // No person's configuration.
            .arg("--kubeconfig=/dev/null")
            .args(arguments)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .stdin(Stdio::null())
            .output()
            .context("start kubectl")?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (told, complaint) = (said(&kubectl.stdout), said(&kubectl.stderr));
        ensure!(kubectl.status.success(), "kubectl {arguments:?}: {}\n{told}{complaint}", kubectl.status);
        Ok(told + &complaint)
    }

    /// The end of what it logged.
    #[must_use]
    pub fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.files.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("kube-apiserver ended with {status}:\n{}", self.log_end());
            }
            let namespace =
                || self.api.get("/api/v1/namespaces/default").is_ok_and(|answer| answer.status == 200);
            if self.api.get("/readyz").is_ok_and(|answer| answer.status == 200) && namespace() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("kube-apiserver is not ready:\n{}", self.log_end())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path, port: u16, endpoint: &str) -> Result<Command> {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(tools::judge("kube-apiserver")?);
    command.args([
        format!("--etcd-servers={endpoint}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        // Never dialled: an address that is not loopback makes it keep its endpoints object, and so leases.
        "--advertise-address=192.0.2.1".into(),
        "--service-cluster-ip-range=10.0.0.0/16".into(),
        "--authorization-mode=RBAC".into(),
        "--disable-admission-plugins=ServiceAccount".into(),
        format!("--cert-dir={}", folder.display()),
        format!("--tls-cert-file={}", file("tls.crt")),
        format!("--tls-private-key-file={}", file("tls.key")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--service-account-issuer=https://127.0.0.1".into(),
        format!("--service-account-key-file={}", file("tls.crt")),
        format!("--service-account-signing-key-file={}", file("tls.key")),
    ]);
    Ok(command)
}

/// An answer of the API: its HTTP status and its object.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The object's `metadata.resourceVersion`, which is the store's revision.
    #[must_use]
    pub fn version(&self) -> i64 {
        version(&self.body)
    }
}

/// An object's `metadata.resourceVersion`; 0 where it has none.
#[must_use]
pub fn version(object: &Value) -> i64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A client of one API server.
#[derive(Clone)]
pub struct Api {
    agent: ureq::Agent,
    base: Arc<str>,
}

impl Api {
    fn new(port: u16, certificate: &[u8]) -> Api {
        let roots = RootCerts::from([Certificate::from_der(certificate).to_owned()]);
        let tls = TlsConfig::builder().root_certs(roots).build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .build();
        Api { agent: config.into(), base: format!("https://127.0.0.1:{port}").into() }
    }

    /// # Errors
    /// When no answer comes.
    pub fn get(&self, path: &str) -> Result<Answer> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("Authorization", bearer());
        read(request.config().timeout_global(Some(Duration::from_secs(60))).build().call()?)
    }

    /// # Errors
    /// When no answer comes.
    pub fn delete(&self, path: &str) -> Result<Answer> {
        read(self.agent.delete(format!("{}{path}", self.base)).header("Authorization", bearer()).call()?)
    }

    /// # Errors
    /// When no answer comes.
    pub fn post(&self, path: &str, object: &Value) -> Result<Answer> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("Authorization", bearer());
        read(request.send_json(object)?)
    }

    /// # Errors
    /// When no answer comes.
    pub fn put(&self, path: &str, object: &Value) -> Result<Answer> {
        let request = self.agent.put(format!("{}{path}", self.base)).header("Authorization", bearer());
        read(request.send_json(object)?)
    }
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer> {
    let status = response.status().as_u16();
    let text = response.body_mut().with_config().limit(1 << 30).read_to_string()?;
    Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
}
