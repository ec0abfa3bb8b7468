//! The frames of a stream over HTTP/3, before the parser sees them: it would hold a frame of any size in memory before it looks at it.
//!
//! Only what stands before each frame is read. A crash loses the connection.

/// The frame that carries a body (RFC 9114, section 7.2.1), which is not held as a whole.
const DATA: u64 = 0;
/// The two numbers before a frame, at most.
const HEADER_BYTES_MAX: usize = 16;
/// The frames of one stream that are neither a request's head nor its body nor its trailers: reserved and unknown ones.
const OTHERS_MAX: u32 = 64;

/// Follows the frames of one stream.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Bytes of the largest frame.
    most: u64,
    /// Whether the type of the stream is still to come (RFC 9114, section 6.2).
    typed: bool,
    header: [u8; HEADER_BYTES_MAX],
    read: usize,
    /// Bytes to come of a frame.
    skip: u64,
    others: u32,
}

/// A stream that no client sends in earnest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame is too large, or too many carry nothing")]
pub(crate) struct Excessive;

impl Frames {
    /// Those of a request.
    pub(crate) fn of_request(most: usize) -> Self {
        Self::new(most, false)
    }

    /// Those of a stream in one direction, after its type. What is no control stream has none that count.
    pub(crate) fn of_control(most: usize) -> Self {
        Self::new(most, true)
    }

    fn new(most: usize, typed: bool) -> Self {
        Self { most: most as u64, typed, header: [0; HEADER_BYTES_MAX], read: 0, skip: 0, others: 0 }
    }

    /// Looks at the next bytes, which follow those of the last call in any division.
    ///
    /// # Errors
    /// [`Excessive`] ends the connection.
    pub(crate) fn inspect(&mut self, mut bytes: &[u8]) -> Result<(), Excessive> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.skip > 0 {
                let now = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= now as u64;
                bytes = bytes.get(now..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            // Both numbers are complete before there is no place left.
            let Some(place) = self.header.get_mut(self.read) else { return Err(Excessive) };
            *place = *first;
            self.read += 1;
            let header = self.header.get(..self.read).unwrap_or_default();
            if self.typed {
                if integer(header).is_some() {
                    (self.typed, self.read) = (false, 0);
                }
            } else if let Some((kind, len)) = integer(header).and_then(|(kind, rest)| Some((kind, integer(rest)?.0))) {
                self.read = 0;
                self.begin(kind, len)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, kind: u64, len: u64) -> Result<(), Excessive> {
        self.skip = len;
        if kind == DATA && len > 0 {
            return Ok(());
        }
        self.others += 1;
        if len > self.most || self.others > OTHERS_MAX { Err(Excessive) } else { Ok(()) }
    }
}

/// A number at the front (RFC 9000, section 16), and what follows it; `None` until all of it is there.
fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (more, rest) = rest.split_at_checked((1 << (first >> 6)) - 1)?;
    let value = more.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it is seen byte by byte, and at once.
    fn seen(frames: fn() -> Frames, bytes: &[u8]) -> Result<(), Excessive> {
        let (mut whole, mut apart) = (frames(), frames());
        let at_once = whole.inspect(bytes);
        assert_eq!(bytes.chunks(1).try_for_each(|byte| apart.inspect(byte)), at_once);
        at_once
    }

    #[test]
    fn integers_are_those_of_the_rfc() {
        // RFC 9000, appendix A.1.
        let cases: [(&[u8], u64); 4] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ];
        for (bytes, value) in cases {
            assert_eq!(integer(bytes), Some((value, &[][..])));
            assert_eq!(integer(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn bodies_are_as_long_as_they_are_and_heads_are_not() {
        let request = || Frames::of_request(300);
        // A head of 3 bytes, a body that says it has 2^30 - 1 bytes, of which some come.
        assert_eq!(seen(request, &[&[1, 3, 9, 9, 9, 0, 0xbf, 0xff, 0xff, 0xff][..], &[7; 5000]].concat()), Ok(()));
        assert_eq!(seen(request, &[1, 0x41, 0x2c]), Ok(()));
        assert_eq!(seen(request, &[1, 0x41, 0x2d]), Err(Excessive));
        // Of a type that nobody knows.
        assert_eq!(seen(request, &[0x21, 0x80, 0x10, 0, 0]), Err(Excessive));
        assert_eq!(seen(request, &[0x21, 0].repeat(64)), Ok(()));
        assert_eq!(seen(request, &[0x21, 0].repeat(65)), Err(Excessive));
        assert_eq!(seen(request, &[0, 0].repeat(65)), Err(Excessive), "empty parts of a body");
        assert_eq!(seen(request, &[0, 1, 5].repeat(1000)), Ok(()));
    }

    #[test]
    fn the_type_of_a_stream_stands_before_its_frames() {
        let control = || Frames::of_control(16);
        // Settings: two numbers.
        assert_eq!(seen(control, &[0x40, 0, 4, 4, 6, 0x44, 0, 1]), Ok(()));
        assert_eq!(seen(control, &[0, 4, 0x11]), Err(Excessive));
    }
}
