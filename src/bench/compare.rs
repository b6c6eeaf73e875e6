//! Results against earlier ones.

use super::format::Results;
use super::row::Row;

/// How a row's median changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The earlier median, seconds.
    pub before: f64,
    /// The median now, over the earlier, less 1: positive is slower.
    pub by: f64,
}

impl Change {
    /// As a signed percentage.
    pub fn text(&self) -> String {
        format!("{:+.1} %", 100.0 * self.by)
    }
}

/// The change of each row that the base has too.
pub fn compare(rows: &[Row], base: &Results) -> Vec<Option<Change>> {
    let change = |row: &Row| {
        let before = base.rows.iter().find(|other| other.subject == row.subject)?.median;
        Some(Change { before, by: row.median / before - 1.0 })
    };
    rows.iter().map(change).collect()
}

/// What is slower than allowed, as a phrase for messages; none if nothing is, or if nothing could be compared.
pub fn slower(rows: &[Row], changes: &[Option<Change>], percent: f64) -> Option<String> {
    let slower: Vec<String> = rows
        .iter()
        .zip(changes)
        .filter_map(|(row, change)| Some((row, change.as_ref().filter(|change| 100.0 * change.by > percent)?)))
        .map(|(row, change)| format!("{} on {} by {}", row.subject.kernel, row.subject.shape, change.text()))
        .collect();
    (!slower.is_empty()).then(|| {
        let (number, of) = (slower.len(), changes.iter().flatten().count());
        format!("{number} of {of} rows are slower by more than {percent} %: {}", slower.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::super::format::tests::row;
    use super::*;

    #[test]
    fn what_is_slower_is_named_and_what_is_new_is_not() {
        let base = Results { rows: vec![row("conv2d", 1.0), row("sum", 1.0)], ..Results::default() };
        let rows = [row("conv2d", 1.2), row("sum", 0.5), row("pool", 9.0)];
        let changes = compare(&rows, &base);
        let texts: Vec<_> = changes.iter().map(|c| c.as_ref().map(Change::text)).collect();
        assert_eq!(texts, [Some("+20.0 %".into()), Some("-50.0 %".into()), None]);
        let message = slower(&rows, &changes, 10.0).unwrap();
        assert!(message.starts_with("1 of 2 rows are slower by more than 10 %: conv2d on"), "{message}");
        assert_eq!(slower(&rows, &changes, 25.0), None);
    }
}
