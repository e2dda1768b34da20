//! A memstore behind a socket: it answers as it does here, and one that does not answer is found out.

mod doubts;
mod failing;
mod leaving;
mod older;
mod same;
mod world;
