//! Chunk buffers that come back: a fresh mebibyte from the allocator costs the kernel more, page by page, than hashing it.
//! In memory only.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers that wait to be used again, at most.
const WAITING_MAX: usize = 32;

/// Buffers of one size.
pub(super) struct Buffers {
    len: usize,
    waiting: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer that goes back when the last [`Bytes`] over it is dropped.
struct Lent {
    bytes: Vec<u8>,
    waiting: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffers {
    /// Of `len` bytes each; none is made before it is needed.
    pub(super) fn new(len: usize) -> Self {
        Self { len, waiting: Arc::default() }
    }

    /// `len` bytes, filled by `fill`. Other lengths than the pool's own are not kept.
    pub(super) fn filled<E>(&self, len: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Bytes, E> {
        if len != self.len {
            let mut bytes = vec![0; len];
            fill(&mut bytes)?;
            return Ok(bytes.into());
        }
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = waiting.unwrap_or_else(|| vec![0; len]);
        fill(&mut bytes)?;
        Ok(Bytes::from_owner(Lent { bytes, waiting: Arc::clone(&self.waiting) }))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_nobody_reads_it() {
        let buffers = Buffers::new(4);
        let fill = |byte| {
            move |bytes: &mut [u8]| {
                bytes.fill(byte);
                Ok::<_, ()>(())
            }
        };
        let first = buffers.filled(4, fill(1)).unwrap();
        let second = buffers.filled(4, fill(2)).unwrap();
        assert_eq!((&first[..], &second[..]), (&[1; 4][..], &[2; 4][..]));
        let clone = first.clone();
        drop(first);
        assert_eq!(buffers.waiting.lock().unwrap().len(), 0, "a clone reads it");
        drop(clone);
        assert_eq!(buffers.waiting.lock().unwrap().len(), 1);
        assert_eq!(buffers.filled(3, fill(3)).unwrap(), [3; 3][..]);
        assert_eq!(buffers.waiting.lock().unwrap().len(), 1, "another length takes none");
    }
}
