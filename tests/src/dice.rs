//! Numbers that nobody has chosen: what a test draws anew each time cannot be right by accident.

use std::hash::{BuildHasher, RandomState};

/// Random numbers of the system.
#[derive(Debug, Default)]
pub struct Dice;

impl Dice {
    /// One below a bound.
    pub fn number(&mut self, below: u32) -> u32 {
        // Every RandomState has keys of its own, from the system's random bytes.
        let drawn = RandomState::new().hash_one(0_u8) % u64::from(below.max(1));
        u32::try_from(drawn).unwrap_or_default()
    }

    /// A word that can be said.
    pub fn word(&mut self) -> String {
        const SOUNDS: [&str; 16] = [
            "ba", "do", "fe", "ki", "lu", "ma", "no", "ri", "sa", "te", "vo", "wu", "ga", "he",
            "pi", "zo",
        ];
        (0..4).map(|_| SOUNDS[self.number(16) as usize]).collect()
    }

    /// Two pitches for the two ends of a call, in hertz: within what a telephone passes, and far from each other and
    /// from each other's harmonics.
    pub fn pitches(&mut self) -> (u32, u32) {
        let low = 400 + self.number(20) * 10;
        let high = 700 + self.number(20) * 5;
        if self.number(2) == 0 { (low, high) } else { (high, low) }
    }
}
