//! Randomness that only spreads load: nothing depends on its quality.

use hawser_base::tls;

/// A random number from 0 to 1; the middle when there is no randomness to be had.
pub fn chance() -> f64 {
    let mut bytes = [0; 4];
    match tls::provider().secure_random.fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
