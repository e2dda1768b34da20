//! What happened in a run, for a person: the last steps of it, told when the run is repeated from its seed.

use std::collections::VecDeque;
use std::fmt;

use super::record::Time;

const LINES_MAX: usize = 150;

#[derive(Debug, Default)]
pub(crate) struct Story {
    lines: VecDeque<(Time, String)>,
}

impl Story {
    pub(crate) fn add(&mut self, now: Time, line: String) {
        self.lines.push_back((now, line));
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(now, line)| writeln!(f, "  {now:>6}  {line}"))
    }
}

/// Adds a line to the world's story, if one is told. It costs nothing where none is.
macro_rules! tell {
    ($world:expr, $($what:tt)+) => {
        if let Some(story) = &mut $world.story {
            story.add($world.now, format!($($what)+));
        }
    };
}
pub(crate) use tell;
