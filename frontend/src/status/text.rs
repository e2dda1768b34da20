//! A document as a page for people: the health first, then what is to be done, then the tables.

use std::fmt::Write;

use super::{Document, Role};

/// Ends with a newline.
pub(super) fn page(document: &Document) -> String {
    let mut page = format!("{}\n", document.summary);
    for step in &document.next_steps {
        line(&mut page, format_args!("  next: {step}"));
    }
    line(
        &mut page,
        format_args!(
            "\ncluster {}, term {}, revision {}, compacted at {}",
            document.cluster, document.term, document.revision, document.compacted_revision
        ),
    );
    page += "\n";
    page += &table(&members(document));
    page += "\n";
    page += &table(&partitions(document));
    if !document.memstores.is_empty() {
        page += "\n";
        page += &table(&memstores(document));
    }
    let alarms: Vec<String> =
        document.alarms.iter().map(|alarm| format!("{} of {}", alarm.alarm, alarm.member)).collect();
    let alarms = if alarms.is_empty() { "none".to_owned() } else { alarms.join(", ") };
    line(&mut page, format_args!("\nalarms: {alarms}"));
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("a string takes everything");
}

fn members(document: &Document) -> Vec<Vec<String>> {
    let head =
        ["MEMBER", "ID", "ROLE", "TERM", "APPLIED", "LAG", "JOURNAL", "DATABASE", "VERSION", "CLIENTS"];
    let rows = document.members.iter().map(|member| {
        let role = match member.role {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Learner => "learner",
        };
        let role = match (member.answers, member.unstarted, member.awaits_vote) {
            (_, true, _) => "unstarted",
            (false, ..) => "no answer",
            (true, false, true) => "joining",
            (true, false, false) => role,
        };
        let known = |text: String| if member.answers { text } else { "?".to_owned() };
        vec![
            member.name.clone(),
            member.id.clone(),
            role.to_owned(),
            known(member.term.to_string()),
            known(member.applied.to_string()),
            known(member.lag.to_string()),
            known(bytes(member.journal_bytes)),
            member.database_bytes.map_or_else(|| "?".to_owned(), bytes),
            member.version.clone().unwrap_or_else(|| "?".to_owned()),
            member.client_urls.join(" "),
        ]
    });
    with_head(&head, rows)
}

fn partitions(document: &Document) -> Vec<Vec<String>> {
    let rows = document.partitions.iter().map(|partition| {
        vec![
            partition.id.to_string(),
            quoted(&partition.start),
            partition.end.as_deref().map_or_else(|| "the end".to_owned(), quoted),
            partition.keys.to_string(),
            bytes(partition.bytes),
            if partition.lost { "lost".to_owned() } else { partition.applied.to_string() },
            partition.watchers.to_string(),
            if partition.replicas.is_empty() { "all".to_owned() } else { partition.replicas.join(" ") },
        ]
    });
    with_head(&["PARTITION", "FROM", "TO", "KEYS", "BYTES", "APPLIED", "WATCHERS", "MEMSTORES"], rows)
}

fn memstores(document: &Document) -> Vec<Vec<String>> {
    let rows = document.memstores.iter().map(|memstore| {
        let (applied, lag, serves) = match memstore.answers {
            Some(true) => (memstore.applied.to_string(), memstore.lag.to_string(), serves(&memstore.serves)),
            Some(false) => ("no answer".to_owned(), "?".to_owned(), "?".to_owned()),
            None => ("?".to_owned(), "?".to_owned(), "?".to_owned()),
        };
        let (name, id) = (memstore.name.clone(), memstore.id.clone());
        vec![name, id, memstore.zone.clone(), applied, lag, serves, memstore.url.clone()]
    });
    with_head(&["MEMSTORE", "ID", "ZONE", "APPLIED", "LAG", "PARTITIONS", "URL"], rows)
}

fn serves(partitions: &[u64]) -> String {
    match partitions {
        [] => "none".to_owned(),
        all => all.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
    }
}

fn with_head(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    let head = head.iter().map(|&name| name.to_owned()).collect();
    std::iter::once(head).chain(rows).collect()
}

/// Columns as wide as what is in them.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut table = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let text = cells.collect::<Vec<_>>().join("  ");
        line(&mut table, format_args!("{}", text.trim_end()));
    }
    table
}

/// Its escapes stay as they are.
fn quoted(key: &str) -> String {
    format!("\"{key}\"")
}

fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{} KiB", count >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", count >> 20),
        _ => format!("{:.1} GiB", (count >> 20) as f64 / 1024.0),
    }
}
