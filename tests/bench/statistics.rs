//! Medians and percentiles of a few samples.

/// The `percent`-th percentile by the nearest rank; 50 is the median. `None` without samples.
pub(crate) fn percentile(samples: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Nearest rank: the smallest sample that at least `percent` of all are not above.
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The median.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    percentile(samples, 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_rank() {
        let samples = [5.0, 1.0, 4.0, 2.0, 3.0];
        for (percent, want) in [
            (0, 1.0),
            (20, 1.0),
            (21, 2.0),
            (50, 3.0),
            (95, 5.0),
            (100, 5.0),
        ] {
            assert_eq!(percentile(&samples, percent), Some(want), "{percent}");
        }
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }
}
