//! When an identity is renewed, and how long a failure is waited out.

use avouch_words::Millis;
use std::time::Duration;

/// The moment to renew something valid from `from` to `until`: half its life, up to a tenth of its life earlier,
/// as `share` (0 to 1) says. What comes later is never past the end.
pub fn renewal(from: Millis, until: Millis, share: f64) -> Millis {
    let life = until.since(from);
    from.plus(life.mul_f64(0.5 - RENEWAL_JITTER * share.clamp(0.0, 1.0)))
}

/// How long to wait after so many failures in a row.
pub fn backoff(failures: u32, share: f64) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_RETRY);
    doubled.mul_f64(1.0 - 0.25 * share.clamp(0.0, 1.0))
}

const RENEWAL_JITTER: f64 = 0.1;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_at_half_life_or_a_little_before() {
        let (from, until) = (Millis(1_000_000), Millis(1_900_000));
        assert_eq!(renewal(from, until, 0.0), Millis(1_450_000));
        assert_eq!(renewal(from, until, 1.0), Millis(1_360_000));
        assert_eq!(renewal(until, from, 0.5), until, "a life of nothing is over at once");
    }

    #[test]
    fn waiting_grows_and_has_an_end() {
        assert_eq!(backoff(1, 0.0), FIRST_RETRY);
        assert_eq!(backoff(2, 0.0), FIRST_RETRY * 2);
        assert_eq!(backoff(u32::MAX, 0.0), LONGEST_RETRY);
        assert!(backoff(3, 1.0) < backoff(3, 0.0));
    }
}
