//! Sizes on the command line.

/// Parses bytes (`1048576`), binary units (`64KiB`, `64MiB`, `4GiB`) and decimal ones (`64kB`, `64MB`, `4GB`).
///
/// # Errors
/// A message for clap.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err("not a size\n  hint: write bytes or a unit, for example `65536`, `64MiB` or `16MB`".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "not a size\n  hint: write for example `64MiB`".to_owned())?;
    number.checked_mul(scale).ok_or_else(|| "the size is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_binary_and_decimal_units() {
        for (text, bytes) in [("0", 0), ("65536", 65536), ("64KiB", 65536), ("16MB", 16_000_000), ("4 GiB", 1 << 32)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_be_misread() {
        for text in ["", "MiB", "64M", "1.5MiB", "-1", "64mib", "99999999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
