//! Which run of the machine this is.

use std::fs;

/// The identity of the running kernel: two processes that get the same words run under one boot of
/// one machine.
///
/// On Linux it is the random number of `/proc/sys/kernel/random/boot_id`. Where that cannot be
/// read, as on other systems, the words are 0 and tell nothing: content from another boot is then
/// not recognised, so a segment should live where a restart removes it (tmpfs).
pub fn boot_id() -> [u64; 2] {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| parse(&text))
        .unwrap_or([0, 0])
}

/// The 128 bits of an identifier in hexadecimal digits with dashes anywhere.
fn parse(text: &str) -> Option<[u64; 2]> {
    let digits: String = text.trim().chars().filter(|&digit| digit != '-').collect();
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let (high, low) = digits.split_at(16);
    Some([u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?])
}

#[cfg(test)]
mod tests {
    use super::{boot_id, parse};

    #[test]
    fn an_identifier_is_its_hexadecimal_digits() {
        assert_eq!(
            parse("01234567-89ab-cdef-fedc-ba9876543210\n"),
            Some([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210])
        );
        for wrong in
            ["", "0123", "0123456789abcdef0123456789abcdeg", "+123456789abcdef+123456789abcdef"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_boot_keeps_its_identity() {
        assert_ne!(boot_id(), [0, 0]);
        assert_eq!(boot_id(), boot_id());
    }
}
