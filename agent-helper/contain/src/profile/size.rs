//! How much: bytes, or a share of the host's memory.

/// An amount of memory or of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// So many bytes.
    Bytes(u64),
    /// This part of a hundred of the host's memory.
    Share(u8),
}

impl Size {
    /// How many bytes that is on this host.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(share) => {
                let host = rustix::system::sysinfo();
                let total = host.totalram.saturating_mul(u64::from(host.mem_unit.max(1)));
                total / HUNDRED * u64::from(share)
            }
        }
    }

    /// As it stands in a profile: `8GiB`, `512MiB`, `75%`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
        if unit == "%" {
            return u8::try_from(number).ok().filter(|share| *share <= 100).map(Self::Share);
        }
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(*scale).map(Self::Bytes)
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{share}% of the host's memory"),
            Self::Bytes(bytes) => {
                let whole = UNITS.iter().find(|(_, scale)| bytes.is_multiple_of(*scale));
                let (name, scale) = whole.unwrap_or(&("B", 1));
                write!(f, "{} {name}", bytes / scale)
            }
        }
    }
}

const HUNDRED: u64 = 100;
/// From the largest to the smallest.
const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
