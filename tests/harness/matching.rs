//! Who made what, where each of several may have made it and nobody made two things.
//!
//!     things     0      1      2            each names its suspects
//!               / \      \    / \
//!     suspects 0   1      1  2   1          a matching gives every thing one of its own
//!
//! Bipartite matching by augmenting paths (Kuhn 1955).

/// For each thing, the suspect that is taken to have made it.
///
/// # Errors
/// The first thing that no suspect is left for.
pub fn matching(things: &[Vec<usize>]) -> Result<Vec<usize>, Unmatched> {
    let suspects = things.iter().flatten().max().map_or(0, |most| most + 1);
    let mut made = vec![None; suspects];
    for at in 0..things.len() {
        let mut tried = vec![false; suspects];
        if !place(at, things, &mut made, &mut tried) {
            let rivals = made.iter().enumerate().filter(|(suspect, _)| tried[*suspect]);
            let taken = rivals.filter_map(|(suspect, thing)| Some((suspect, (*thing)?))).collect();
            return Err(Unmatched { thing: at, taken });
        }
    }
    let mut by_thing = vec![0; things.len()];
    for (suspect, thing) in made.into_iter().enumerate() {
        if let Some(thing) = thing {
            by_thing[thing] = suspect;
        }
    }
    Ok(by_thing)
}

/// A thing that nobody is left for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    pub thing: usize,
    /// Its suspects, and those whom moving others would have freed, each with what it has made.
    pub taken: Vec<(usize, usize)>,
}

/// Gives this thing a suspect, moving others to other suspects where that helps.
fn place(at: usize, things: &[Vec<usize>], made: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for suspect in &things[at] {
        if std::mem::replace(&mut tried[*suspect], true) {
            continue;
        }
        let is_free = match made[*suspect] {
            None => true,
            Some(other) => place(other, things, made, tried),
        };
        if is_free {
            made[*suspect] = Some(at);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_can_make_something_else_makes_way() {
        assert_eq!(matching(&[vec![0, 1], vec![0]]), Ok(vec![1, 0]));
        assert_eq!(matching(&[vec![0, 1], vec![1, 2], vec![0]]), Ok(vec![1, 2, 0]));
        assert_eq!(matching(&[]), Ok(Vec::new()));
    }

    #[test]
    fn nobody_makes_two_things() {
        let nobody_left = Unmatched { thing: 2, taken: vec![(0, 1), (1, 0)] };
        assert_eq!(matching(&[vec![0, 1], vec![0], vec![1]]), Err(nobody_left));
        assert_eq!(matching(&[vec![]]), Err(Unmatched { thing: 0, taken: Vec::new() }));
    }
}
