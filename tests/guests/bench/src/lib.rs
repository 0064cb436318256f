//! Functions for the benchmarks and the demo.

pub mod kernels;

sandmill::package!();

/// Great-circle distance in kilometres; angles in degrees.
#[sandmill::udf(example = "SELECT haversine(52.5, 13.4, 48.9, 2.4)")]
pub fn haversine(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    kernels::haversine_km(lat1, lon1, lat2, lon2)
}

/// Greatest common divisor.
#[sandmill::udf]
pub fn gcd(a: i64, b: i64) -> i64 {
    kernels::gcd_of(a, b)
}

/// `x * 1.5 + 2`.
#[sandmill::udf]
pub fn affine(x: f64) -> f64 {
    kernels::affine_of(x)
}

/// Gives its argument back.
#[sandmill::udf]
pub fn same(x: i64) -> i64 {
    x
}

/// Gives its argument back.
#[sandmill::udf]
pub fn same_text(x: &str) -> &str {
    x
}

/// Sum of whole numbers.
#[derive(Default, Clone, sandmill::Record)]
pub struct Total {
    sum: i64,
}

#[sandmill::aggregate]
impl Total {
    fn update(&mut self, x: i64) {
        self.sum = self.sum.wrapping_add(x);
    }

    fn merge(&mut self, other: Self) {
        self.sum = self.sum.wrapping_add(other.sum);
    }

    fn finish(&self) -> i64 {
        self.sum
    }
}

/// Never returns.
#[sandmill::udf(volatility = "volatile")]
pub fn spin(x: i64) -> i64 {
    loop {
        if sandmill::random() == 0 && sandmill::random() == 0 {
            return x;
        }
    }
}
