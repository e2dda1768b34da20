//! Routes as bytes: in a record, in the journal's state and in its status. `docs/format.md` has the picture.
//!
//! A partition ends where the next one begins, so a gap cannot even be written.

use bytes::Bytes;

use super::{MEMSTORES_MAX, MemstoreInfo, PARTITIONS_MAX, Route, Routes};
use crate::codec::parts::{Counted, DecodeError, Reader, Sink, put_bytes, put_length, put_varint};

/// The least that a partition, a replica and a memstore take.
const ROUTE_BYTES_MIN: usize = 3;
const REPLICA_BYTES: usize = 8;
const MEMSTORE_BYTES_MIN: usize = 19;

/// What `put_routes` writes, in bytes.
pub(super) fn bytes(routes: &Routes) -> usize {
    let mut counted = Counted::default();
    put_routes(routes, &mut counted);
    counted.bytes
}

pub(crate) fn put_routes(routes: &Routes, out: &mut impl Sink) {
    put_varint(out, routes.version);
    put_varint(out, routes.next_partition);
    put_length(out, routes.partitions.len());
    for route in &routes.partitions {
        put_varint(out, route.partition);
        put_bytes(out, &route.start);
        put_length(out, route.replicas.len());
        route.replicas.iter().for_each(|replica| out.slice(&replica.to_le_bytes()));
    }
    put_length(out, routes.memstores.len());
    for memstore in &routes.memstores {
        out.slice(&memstore.id.to_le_bytes());
        put_bytes(out, memstore.name.as_bytes());
        put_bytes(out, memstore.url.as_bytes());
        put_bytes(out, memstore.zone.as_bytes());
        out.slice(&memstore.process.to_le_bytes());
    }
}

/// Reads what `put_routes` wrote. It shares no memory with the input.
///
/// # Errors
/// `Malformed`, also where they are not what routes must be.
pub(crate) fn read_routes(reader: &mut Reader) -> Result<Routes, DecodeError> {
    let version = reader.varint("version of the routes")?;
    let next_partition = reader.varint("next partition")?;
    let count = reader.count(ROUTE_BYTES_MIN, "number of partitions")?.min(PARTITIONS_MAX + 1);
    let mut partitions = (0..count).map(|_| route(reader)).collect::<Result<Vec<Route>, _>>()?;
    let starts: Vec<Bytes> = partitions.iter().skip(1).map(|route| route.start.clone()).collect();
    for (route, start) in partitions.iter_mut().zip(starts) {
        route.end = Some(start);
    }
    let count = reader.count(MEMSTORE_BYTES_MIN, "number of memstores")?.min(MEMSTORES_MAX + 1);
    let memstores = (0..count).map(|_| memstore(reader)).collect::<Result<_, _>>()?;
    let routes = Routes::new(version, next_partition, partitions, memstores);
    routes.map_err(|_| reader.malformed("routes"))
}

fn route(reader: &mut Reader) -> Result<Route, DecodeError> {
    let partition = reader.varint("partition")?;
    let start = Bytes::copy_from_slice(&reader.bytes("start")?);
    let count = reader.count(REPLICA_BYTES, "number of replicas")?;
    let replicas = (0..count).map(|_| reader.fixed("replica")).collect::<Result<_, _>>()?;
    Ok(Route { partition, start, end: None, replicas })
}

fn memstore(reader: &mut Reader) -> Result<MemstoreInfo, DecodeError> {
    Ok(MemstoreInfo {
        id: reader.fixed("memstore")?,
        name: text(reader, "name")?,
        url: text(reader, "url")?,
        zone: text(reader, "zone")?,
        process: reader.fixed("process")?,
    })
}

fn text(reader: &mut Reader, what: &'static str) -> Result<String, DecodeError> {
    let bytes = reader.bytes(what)?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| reader.malformed(what))
}
