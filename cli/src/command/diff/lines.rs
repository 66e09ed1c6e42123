//! Lines that differ between two texts, with a few around them. Pure.

/// Lines shown around a difference.
const CONTEXT: usize = 2;
/// Above this many pairs of lines the middle is shown as one block: an exact answer would cost too much.
const PAIRS_MAX: usize = 4_000_000;

/// The difference: `-` for a line of the old text, `+` for one of the new, ` ` for one of both, `…` where lines of
/// both are left out.
pub fn diff(old: &str, new: &str) -> Vec<String> {
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old
        .iter()
        .skip(head)
        .rev()
        .zip(new.iter().skip(head).rev())
        .take_while(|(a, b)| a == b)
        .count();
    let middle = |lines: &[&str]| -> Vec<String> {
        let end = lines.len().saturating_sub(tail);
        lines
            .get(head..end)
            .unwrap_or_default()
            .iter()
            .map(|line| (*line).to_owned())
            .collect()
    };
    let mut all: Vec<(char, String)> = old
        .iter()
        .take(head)
        .map(|line| (' ', (*line).to_owned()))
        .collect();
    all.extend(between(&middle(&old), &middle(&new)));
    all.extend(
        old.iter()
            .skip(old.len().saturating_sub(tail))
            .map(|line| (' ', (*line).to_owned())),
    );
    near(&all)
}

/// The shortest way from one list of lines to the other.
fn between(old: &[String], new: &[String]) -> Vec<(char, String)> {
    let line = |sign, text: &String| (sign, text.clone());
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        let gone = old.iter().map(|text| line('-', text));
        return gone.chain(new.iter().map(|text| line('+', text))).collect();
    }
    let width = new.len() + 1;
    // Length of the longest common part of what is left from each pair of places on.
    let mut common = vec![0u32; (old.len() + 1) * width];
    let get = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let value = if a == b {
                get(&common, i + 1, j + 1) + 1
            } else {
                get(&common, i + 1, j).max(get(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = value;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                out.push(line(' ', a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || get(&common, i + 1, j) >= get(&common, i, j + 1) => {
                out.push(line('-', a));
                i += 1;
            }
            (_, Some(b)) => {
                out.push(line('+', b));
                j += 1;
            }
            (_, None) => return out,
        }
    }
}

/// Only what differs and the lines near it.
fn near(all: &[(char, String)]) -> Vec<String> {
    let changed: Vec<usize> = all
        .iter()
        .enumerate()
        .filter(|(_, (sign, _))| *sign != ' ')
        .map(|(index, _)| index)
        .collect();
    let mut out = Vec::new();
    let mut skipped = false;
    let mut next = changed.iter().peekable();
    for (index, (sign, text)) in all.iter().enumerate() {
        while next.peek().is_some_and(|at| **at + CONTEXT < index) {
            next.next();
        }
        let close = next.peek().is_some_and(|at| **at <= index + CONTEXT);
        if close {
            if skipped && !out.is_empty() {
                out.push("…".to_owned());
            }
            skipped = false;
            out.push(format!("{sign}{text}"));
        } else {
            skipped = true;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_differs_and_its_neighbours_are_shown() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let new = "a\nb\nc\nD\ne\nf\ng\nh\ni\n";
        assert_eq!(
            diff(old, new),
            [" b", " c", "-d", "+D", " e", " f", " g", " h", "+i"]
        );
        assert_eq!(diff(old, old), [""; 0]);
        assert_eq!(diff("", "x\n"), ["+x"]);
    }

    proptest! {
        #[test]
        fn the_old_text_is_what_is_not_added_and_the_new_what_is_not_removed(
            old in proptest::collection::vec("[abc]", 0..12),
            new in proptest::collection::vec("[abc]", 0..12),
        ) {
            let all = between(&old, &new);
            let side = |sign: char| all.iter().filter(|(s, _)| *s != sign).map(|(_, l)| l.clone()).collect::<Vec<_>>();
            prop_assert_eq!(side('+'), old);
            prop_assert_eq!(side('-'), new);
        }
    }
}
