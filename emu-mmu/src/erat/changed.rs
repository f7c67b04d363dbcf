//! Which elements of an array were ever changed: a copy of such an array need not touch the others.
//!
//! Owns a bit each. Refuses to take one back.

/// Bits for `64 * WORDS` elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changed<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Changed<WORDS> {
    pub const fn none() -> Self {
        Changed([0; WORDS])
    }

    /// Notes a change of an element.
    #[inline(always)]
    pub fn note(&mut self, element: usize) {
        self.0[element / 64 % WORDS] |= 1 << (element % 64);
    }

    /// Takes over the elements of another array that were changed in either.
    #[inline]
    pub fn copy<T: Copy>(&mut self, to: &mut [T], other: &Self, from: &[T]) {
        for (word, (mine, theirs)) in self.0.iter_mut().zip(other.0).enumerate() {
            let mut either = *mine | theirs;
            *mine = theirs;
            while either != 0 {
                let element = word * 64 + either.trailing_zeros() as usize;
                either &= either - 1;
                if let (Some(to), Some(from)) = (to.get_mut(element), from.get(element)) {
                    *to = *from;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_whole() {
        let (mut a, mut b) = ([0u8; 128], [0u8; 128]);
        let (mut of_a, mut of_b) = (Changed::<2>::none(), Changed::<2>::none());
        for element in [0, 5, 63, 64, 127] {
            a[element] = 1;
            of_a.note(element);
        }
        for element in [5, 6, 70] {
            b[element] = 2;
            of_b.note(element);
        }
        of_b.copy(&mut b, &of_a, &a);
        assert_eq!(a, b);
        // What is like the beginning again is still told to be changed.
        of_a.copy(&mut a, &Changed::none(), &[0; 128]);
        assert_eq!(a, [0; 128]);
    }
}
