//! Aggregates and window functions.

use std::ops::Range;

use sandmill::{Column, Record};

/// The sum of whole numbers.
#[derive(Default, Clone, Record)]
pub struct MySum {
    sum: i64,
    count: i64,
}

/// The sum of whole numbers; NULL where there is none.
#[sandmill::aggregate]
impl MySum {
    pub fn update(&mut self, x: i64) {
        self.sum = self.sum.wrapping_add(x);
        self.count += 1;
    }

    pub fn retract(&mut self, x: i64) {
        self.sum = self.sum.wrapping_sub(x);
        self.count -= 1;
    }

    pub fn merge(&mut self, other: Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.count += other.count;
    }

    pub fn finish(&self) -> Option<i64> {
        (self.count != 0).then_some(self.sum)
    }
}

/// A mean.
#[derive(Default, Clone, Record)]
pub struct MyAvg {
    sum: f64,
    count: i64,
}

/// The mean; NULL where there is no number.
#[sandmill::aggregate]
impl MyAvg {
    pub fn update(&mut self, x: f64) {
        self.sum += x;
        self.count += 1;
    }

    pub fn retract(&mut self, x: f64) {
        self.sum -= x;
        self.count -= 1;
    }

    pub fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    pub fn finish(&self) -> Option<f64> {
        (self.count != 0).then(|| self.sum / self.count as f64)
    }
}

/// The longest text so far.
#[derive(Default, Clone, Record)]
pub struct Longest {
    text: Option<String>,
}

/// The first of the longest texts, in bytes.
#[sandmill::aggregate]
impl Longest {
    pub fn update(&mut self, text: &str) {
        if self
            .text
            .as_deref()
            .is_none_or(|best| text.len() > best.len())
        {
            self.text = Some(text.to_owned());
        }
    }

    pub fn merge(&mut self, other: Self) {
        if let Some(text) = &other.text {
            self.update(text);
        }
    }

    pub fn finish(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

/// The sum of logarithms.
#[derive(Default, Clone, Record)]
pub struct GeoMean {
    logs: f64,
    count: i64,
}

/// The geometric mean of positive numbers; NULL where there is none.
#[sandmill::aggregate]
impl GeoMean {
    pub fn update(&mut self, x: f64) -> Result<(), String> {
        if x <= 0.0 {
            return Err(format!("{x:?} is not positive"));
        }
        self.logs += x.ln();
        self.count += 1;
        Ok(())
    }

    pub fn merge(&mut self, other: Self) {
        self.logs += other.logs;
        self.count += other.count;
    }

    pub fn finish(&self) -> Option<f64> {
        (self.count != 0).then(|| (self.logs / self.count as f64).exp())
    }
}

/// The sum of a partition up to each row; NULL adds nothing, and has no sum.
#[sandmill::window(strict)]
pub fn running_sum(x: Column<'_, Option<i64>>) -> impl Iterator<Item = i64> {
    x.iter().scan(0i64, |sum, x| {
        *sum = sum.wrapping_add(x.unwrap_or(0));
        Some(*sum)
    })
}

/// The greatest number of each frame; NULL where there is none.
#[sandmill::window(frame)]
pub fn frame_max(x: Column<'_, Option<i64>>, frame: Range<usize>) -> Option<i64> {
    frame.filter_map(|row| x.get(row).flatten()).max()
}
