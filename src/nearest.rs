//! What a misspelt name most likely means.

/// The nearest of `known`, if less than half of the letters differ.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = known.into_iter().map(|name| (edits(word, name), name)).min_by_key(|&(d, _)| d)?;
    (2 * distance < word.chars().count().max(name.chars().count())).then_some(name)
}

/// Levenshtein's distance.
pub fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_name_is_not() {
        assert_eq!((edits("", "abc"), edits("kitten", "sitting")), (3, 3));
        let known = ["sella", "nasion", "b"];
        let found = ["sela", "Nasion", "menton", "a", ""].map(|word| nearest(word, known));
        assert_eq!(found, [Some("sella"), Some("nasion"), None, None, None]);
    }
}
