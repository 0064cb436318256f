sandmill::package!();

/// Great-circle distance between two places in kilometres; angles in degrees.
#[sandmill::udf]
pub fn haversine(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let (p1, p2) = (lat1.to_radians(), lat2.to_radians());
    let a = ((p2 - p1) / 2.0).sin().powi(2)
        + p1.cos() * p2.cos() * ((lon2 - lon1).to_radians() / 2.0).sin().powi(2);
    12_742.0 * a.sqrt().asin()
}

#[cfg(test)]
mod tests {
    #[test]
    fn berlin_to_paris() {
        assert!((super::haversine(52.52, 13.405, 48.857, 2.352) - 878.0).abs() < 1.0);
    }
}
