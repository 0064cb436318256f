/// Levenshtein distance of two names, letters of either case alike.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Whether somebody who wrote `wanted` may have meant a name at this distance.
pub fn is_near(wanted: &str, distance: usize) -> bool {
    distance <= 2.max(wanted.len() / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_distances() {
        for (a, b, expected) in [
            ("haversin", "haversine", 1),
            ("Name", "name", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected));
        }
        assert!(is_near("ab", 2) && !is_near("ab", 3) && is_near("haversine", 3));
    }
}
