//! The replay window (RFC 3711 section 3.3.2): the last 128 indices.

const SIZE: u64 = 128;

/// Which of the last indices were seen. Bit 0 is the highest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window(u128);

impl Window {
    /// Whether `index` was neither seen nor is too old.
    pub(super) fn is_new(self, highest: u64, index: u64) -> bool {
        if self.0 == 0 || index > highest {
            return true;
        }
        let age = highest - index;
        age < SIZE && self.0 >> age & 1 == 0
    }

    /// Marks an index that has proven itself.
    pub(super) fn accept(&mut self, highest: &mut u64, index: u64) {
        if self.0 == 0 {
            *highest = index;
            self.0 = 1;
        } else if index > *highest {
            let step = index - *highest;
            self.0 = if step >= SIZE { 1 } else { self.0 << step | 1 };
            *highest = index;
        } else {
            let age = *highest - index;
            if age < SIZE {
                self.0 |= 1 << age;
            }
        }
    }
}
