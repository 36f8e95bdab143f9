//! Tables of medians and of ratios.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::carrier::Carrier;
use crate::figures::Number;
use crate::lab::Path;

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    numbers: BTreeMap<(Path, &'static str), BTreeMap<Carrier, Vec<f64>>>,
    /// The columns in the order in which they came.
    order: Vec<&'static str>,
}

// === impl Report ===

impl Report {
    pub(crate) fn add(&mut self, path: Path, carrier: Carrier, numbers: &[Number]) {
        for (name, value) in numbers {
            if !self.order.contains(name) {
                self.order.push(name);
            }
            let row = self.numbers.entry((path, name)).or_default();
            row.entry(carrier).or_default().push(*value);
        }
    }

    /// A Markdown table of the medians on `path`, one row a number.
    pub(crate) fn table(&self, path: Path, carriers: &[Carrier]) -> String {
        let mut table = format!("\n### {path:?}\n\n| median |");
        for carrier in carriers {
            let _ = write!(table, " {} |", carrier.name());
        }
        table.push_str("\n| --- |");
        table.push_str(&" --- |".repeat(carriers.len()));
        for name in &self.order {
            let Some(row) = self.numbers.get(&(path, *name)) else {
                continue;
            };
            let _ = write!(table, "\n| {name} |");
            for carrier in carriers {
                match row.get(carrier).and_then(|values| median(values)) {
                    Some(value) => {
                        let _ = write!(table, " {} |", shown(value));
                    }
                    None => table.push_str(" – |"),
                }
            }
        }
        table
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted.get(middle).copied(),
        _ => Some(f64::midpoint(
            *sorted.get(middle.checked_sub(1)?)?,
            *sorted.get(middle)?,
        )),
    }
}

fn shown(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_medians() {
        let mut report = Report::default();
        for value in [3.0, 1.0, 250.0] {
            report.add(Path::Clean, Carrier::Plain, &[("conn/s", value)]);
        }

        let table = report.table(Path::Clean, &[Carrier::Plain, Carrier::Tombolo]);

        assert!(table.ends_with("| conn/s | 3.00 | – |"), "{table}");
    }

    #[test]
    fn the_median_of_an_even_number_is_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
