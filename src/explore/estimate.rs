//! How many traces there are, guessed from the part of the tree that was searched.
//!
//! Knuth's idea: at a node with `b` branches each is taken to be as large as the others, so what
//! was left of the present path, weighed like this, says how much of the whole was done.
//!
//! Always: between 0 and 1; it is 1 when nothing is left. Branches that are found later make it
//! smaller, so early guesses of the whole are too low.

/// The part of a tree that was searched: for each node of the present path, from the root, how
/// many branches were left behind and how many are known in all, with the present one.
pub(super) fn done(path: impl IntoIterator<Item = (usize, usize)>) -> f64 {
    let (mut whole, mut done) = (1.0, 0.0);
    for (left, all) in path {
        let share = whole / all.max(1) as f64;
        done += share * left as f64;
        whole = share;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_each_half_adds_up() {
        assert_eq!(done([]), 0.0);
        assert_eq!(done([(1, 2)]), 0.5);
        assert_eq!(done([(1, 2), (1, 2)]), 0.75);
        assert_eq!(done([(2, 2)]), 1.0);
    }
}
