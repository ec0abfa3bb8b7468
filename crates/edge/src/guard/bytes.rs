//! Runs of bytes of one kind, eight at a time: a head is mostly names, targets and values. Pure.

/// May be in a method or a field's name (RFC 9110, section 5.6.2).
const TOKEN: u8 = 1;
/// May be in a request's target.
const TARGET: u8 = 2;
/// May be in a field's value.
const VALUE: u8 = 4;

const KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let value = byte == 0x09 || (byte >= 0x20 && byte != 0x7f);
        // Only visible ASCII; a fragment is for the client alone (RFC 9110, section 4.2.5).
        let target = byte > 0x20 && byte < 0x7f && byte != 0x23;
        kinds[byte] = ((value as u8) * VALUE) | ((target as u8) * TARGET);
        byte += 1;
    }
    let token = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut at = 0;
    while at < token.len() {
        kinds[token[at] as usize] |= TOKEN;
        at += 1;
    }
    kinds
}

pub(super) fn is_token(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// How many bytes at the beginning may be in a name.
pub(super) fn token(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_token(**byte)).count()
}

/// How many bytes at the beginning may be in a target.
pub(super) fn target(bytes: &[u8]) -> usize {
    let plain = |word| below(word, 0x21) | is_in(word, 0x7f) | is_in(word, b'#') | (word & HIGH) == 0;
    run(bytes, TARGET, plain)
}

/// How many bytes at the beginning may be in a value.
pub(super) fn value(bytes: &[u8]) -> usize {
    run(bytes, VALUE, |word| below(word, 0x20) | is_in(word, 0x7f) == 0)
}

fn is(byte: u8, kind: u8) -> bool {
    KINDS[usize::from(byte)] & kind != 0
}

/// How many bytes are of a kind, of which whole words are if `plain` says so; it may be wrong the other way.
fn run(bytes: &[u8], kind: u8, plain: impl Fn(u64) -> bool) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let whole = words.iter().take_while(|word| plain(u64::from_le_bytes(**word))).count() * 8;
    let rest = bytes.get(whole..).unwrap_or_default();
    whole + rest.iter().take_while(|byte| is(**byte, kind)).count()
}

const LOW: u64 = u64::MAX / 255;
const HIGH: u64 = LOW << 7;

/// Not 0 if a byte of the word is below `least`, which is at most 128.
fn below(word: u64, least: u8) -> u64 {
    word.wrapping_sub(LOW * u64::from(least)) & !word & HIGH
}

/// Not 0 if a byte of the word is that one.
fn is_in(word: u64, byte: u8) -> u64 {
    below(word ^ (LOW * u64::from(byte)), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_at_the_first_byte_of_another_kind() {
        for byte in 0..=255 {
            for at in 0..20 {
                let mut bytes = [b'a'; 20];
                bytes[at] = byte;
                let expected = |kind| if is(byte, kind) { 20 } else { at };
                assert_eq!(target(&bytes), expected(TARGET), "{byte} at {at}");
                assert_eq!(value(&bytes), expected(VALUE), "{byte} at {at}");
            }
        }
    }
}
