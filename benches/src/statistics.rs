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

    /// The same sample, its median and what that is known to lie in told by the medians of parts
    /// of it that have more in common than chance; by itself if there are no two parts.
    pub fn between(self, medians: &[f64]) -> Self {
        match Self::of(medians) {
            Some(Self { count, median, median_low, median_high, .. }) if count > 1 => {
                Self { median, median_low, median_high, ..self }
            }
            _ => self,
        }
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

/// The median of values that a clock gives in steps, each with how often it was seen, in ascending
/// order: within the step that holds it, by proportion. Whatever took between two steps is told as
/// either by chance, so that counts say what a step is too coarse for.
pub fn median_of_steps(counts: &[(u64, u64)]) -> Option<f64> {
    let half = counts.iter().map(|(_, count)| count).sum::<u64>() as f64 / 2.0;
    let step = counts.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap_or(0) as f64;
    let mut below = 0.0;
    for &(value, count) in counts.iter().filter(|(_, count)| *count > 0) {
        let count = count as f64;
        if below + count >= half {
            return Some(value as f64 + step * ((half - below) / count - 0.5));
        }
        below += count;
    }
    None
}

/// Ranks whose values enclose the population's median with 95 % probability: the number of values
/// below it is binomial with one half, here by its normal approximation.
fn median_ranks(count: usize) -> (usize, usize) {
    let half = count as f64 / 2.0;
    let reach = 1.96 * (count as f64).sqrt() / 2.0;
    let low = floor_index((half - reach).max(0.0)).min((count - 1) / 2);
    (low, count - 1 - low)
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
    fn the_median_of_a_coarse_clock_is_finer_than_its_steps() {
        // What takes 174 and starts at any time is told as 170 or as 180 by a clock of tens.
        let told = median_of_steps(&[(160, 50), (170, 550), (180, 350), (190, 50)]).unwrap();
        assert!((told - 173.2).abs() < 0.1, "{told}");
        let slower = median_of_steps(&[(160, 50), (170, 350), (180, 550), (190, 50)]).unwrap();
        assert!((slower - 176.8).abs() < 0.1, "{slower}");
        assert_eq!(median_of_steps(&[(5, 1)]), Some(5.0));
        // How far an outlier is says nothing about the steps.
        let lonely = median_of_steps(&[(50, 10), (60, 80), (15_000, 10)]).unwrap();
        assert!((lonely - 60.0).abs() < 0.1, "{lonely}");
        assert_eq!(median_of_steps(&[]), None);
    }

    #[test]
    fn of_nine_values_the_second_and_the_second_last_are_ends() {
        // Two of 512 times five by which all but one are on one side: 96.1 %.
        assert_eq!(median_ranks(9), (1, 7));
        assert_eq!((median_ranks(6), median_ranks(1), median_ranks(2)), ((0, 5), (0, 0), (0, 1)));
    }

    #[test]
    fn an_outlier_does_not_move_the_median() {
        let mut sample = vec![100.0; 50];
        sample.push(1e9);
        assert_eq!(Summary::of(&sample).unwrap().median, 100.0);
    }
}
