//! Little-endian numbers at places in bytes.

pub(crate) fn number(bytes: &[u8], at: usize, width: usize) -> usize {
    let field = bytes[at..at + width].iter().rev();
    field.fold(0, |sum, &byte| (sum << 8) | usize::from(byte))
}

pub(crate) fn put(bytes: &mut [u8], at: usize, width: usize, number: usize) {
    let number = u64::try_from(number).unwrap().to_le_bytes();
    assert!(number[width..].iter().all(|&byte| byte == 0));
    bytes[at..at + width].copy_from_slice(&number[..width]);
}

/// Where `wanted` stands.
pub(crate) fn places(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(wanted.len()).enumerate();
    let found = windows.filter(|(_, window)| *window == wanted);
    found.map(|(at, _)| at).collect()
}

/// The text at `at`, up to its null.
pub(crate) fn text(bytes: &[u8], at: usize) -> &str {
    let length = bytes[at..].iter().position(|&byte| byte == 0).unwrap();
    str::from_utf8(&bytes[at..at + length]).unwrap()
}
