//! Medians, quartiles, and an interval for a median that assumes no distribution.

/// What is told about a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Numbers in the sample.
    pub count: usize,
    /// The middle one.
    pub median: f64,
    /// The one below which a quarter lies.
    pub lower_quartile: f64,
    /// The one above which a quarter lies.
    pub upper_quartile: f64,
    /// Lower end of the interval that covers the population's median in 95 % of all samples.
    pub median_low: f64,
    /// Upper end of that interval.
    pub median_high: f64,
}

impl Summary {
    /// Summarises a sample, or `None` if it is empty. Numbers that are not finite are left out.
    pub fn of(sample: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = sample.iter().copied().filter(|x| x.is_finite()).collect();
        if sorted.is_empty() {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let (low, high) = median_ranks(sorted.len());
        Some(Self {
            count: sorted.len(),
            median: quantile(&sorted, 0.5),
            lower_quartile: quantile(&sorted, 0.25),
            upper_quartile: quantile(&sorted, 0.75),
            median_low: sorted[low],
            median_high: sorted[high],
        })
    }

    /// Half the distance between the quartiles, as a share of the median.
    pub fn spread(&self) -> f64 {
        (self.upper_quartile - self.lower_quartile) / 2.0 / self.median
    }

    /// Length of the interval of the median, as a share of the median.
    pub fn uncertainty(&self) -> f64 {
        (self.median_high - self.median_low) / self.median
    }
}

/// The quantile of a sorted, non-empty sample, between neighbours by proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = floor_index(position);
    let above = (below + 1).min(sorted.len() - 1);
    let part = position - below as f64;
    sorted[below] * (1.0 - part) + sorted[above] * part
}

/// Ranks whose values enclose the population's median with 95 % probability: the number of values
/// below it is binomial with one half, here by its normal approximation.
fn median_ranks(count: usize) -> (usize, usize) {
    let half = count as f64 / 2.0;
    let reach = 1.96 * (count as f64).sqrt() / 2.0;
    let low = floor_index((half - reach).max(0.0));
    let high = floor_index((half + reach).ceil()).min(count - 1);
    (low.min(count - 1), high)
}

#[expect(clippy::cast_possible_truncation, reason = "indexes of samples in memory")]
fn floor_index(position: f64) -> usize {
    position.max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_sample_lies_between_the_middle_two() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(summary.median, 2.5);
        assert_eq!((summary.lower_quartile, summary.upper_quartile), (1.75, 3.25));
        assert!((summary.spread() - 0.3).abs() < 1e-12);
    }

    #[test]
    fn an_empty_sample_has_no_summary_and_one_value_is_all_of_it() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[f64::NAN]), None);
        let one = Summary::of(&[7.0]).unwrap();
        assert_eq!((one.median, one.median_low, one.median_high), (7.0, 7.0, 7.0));
    }

    #[test]
    fn the_interval_covers_the_true_median_in_about_95_of_100_samples() {
        let mut state = 1_u64;
        let mut covered = 0;
        for _ in 0..2000 {
            let sample: Vec<f64> = (0..100)
                .map(|_| {
                    state = crate::keys::mix(state.wrapping_add(1));
                    (state >> 11) as f64 / (1_u64 << 53) as f64
                })
                .collect();
            let summary = Summary::of(&sample).unwrap();
            covered += usize::from(summary.median_low <= 0.5 && 0.5 <= summary.median_high);
        }
        assert!((1860..=1980).contains(&covered), "{covered} of 2000");
    }

    #[test]
    fn an_outlier_does_not_move_the_median() {
        let mut sample = vec![100.0; 50];
        sample.push(1e9);
        assert_eq!(Summary::of(&sample).unwrap().median, 100.0);
    }
}
