//! What a person reads when the store has started.

use frontend::Summary;
use frontend::config::{Roles, Storage};
use frontend::version::{OWN, Version};

pub(crate) fn text(summary: &Summary, storage: &Storage, version: &Version) -> String {
    let revision = summary.revision.0;
    let data = match (storage, summary.is_new) {
        (Storage::Memory, _) => "in memory only: gone when this stops".to_owned(),
        (Storage::Directory(path), true) => format!("{} (new)", path.display()),
        (Storage::Directory(path), false) => format!("{} (found at revision {revision})", path.display()),
    };
    let mut text = format!("\nMainstem {OWN} is ready. It speaks etcd {}.\n\n", version.server());
    if summary.roles != Roles::ALL {
        text += &format!("  role     {}, in cluster {:x}\n", summary.roles, summary.cluster);
    }
    if summary.roles.journal || summary.roles.memstore {
        text += &format!("  data     {data}\n");
    }
    let urls = &summary.client_urls;
    for url in urls {
        text += &format!("  clients  {url}   also /health and /metrics\n");
    }
    if let Some(url) = urls.first() {
        let etcdctl = format!("etcdctl --endpoints={url}");
        text += &format!("\n  try      {etcdctl} put greeting hello\n           {etcdctl} get greeting\n");
    }
    text + "  stop     Ctrl-C\n\n"
}
