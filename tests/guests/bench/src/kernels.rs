// The kernels that are measured: compiled into the guest and, the very same source, into the host.

/// Great-circle distance in kilometres; angles in degrees.
#[inline(always)]
pub fn haversine_km(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let (p1, p2) = (lat1.to_radians(), lat2.to_radians());
    let a = ((p2 - p1) / 2.0).sin().powi(2)
        + p1.cos() * p2.cos() * ((lon2 - lon1).to_radians() / 2.0).sin().powi(2);
    12_742.0 * a.sqrt().asin()
}

/// Greatest common divisor.
#[inline(always)]
pub fn gcd_of(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a.wrapping_rem(b));
    }
    a
}

/// A cheap kernel.
#[inline(always)]
pub fn affine_of(x: f64) -> f64 {
    x * 1.5 + 2.0
}
