//! Reads single values: durations, paths, addresses, names.

use crate::read::Value;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// The longest path of a Unix socket that the kernel takes (`sun_path` with its closing zero).
const MAX_SOCKET_PATH: usize = 107;
/// The longest file name that is made below a directory that holds sockets.
const SOCKET_NAME_ROOM: usize = 24;

/// A duration as `15m`, between two bounds.
pub(crate) fn duration(value: &Value<'_, '_>, least: Duration, most: Duration) -> Option<Duration> {
    let text = value.text()?;
    let Some(duration) = read_duration(text) else {
        return value
            .wrong(format!("is not a duration: write a whole number and s, m, h or d, such as \"15m\", not {text:?}"));
    };
    if duration < least || duration > most {
        let (least, most) = (write_duration(least), write_duration(most));
        return value.wrong(format!("is {text}, which is out of bounds: take one from {least} to {most}"));
    }
    Some(duration)
}

/// Reads `30s`, `15m`, `24h` and `7d`.
pub(crate) fn read_duration(text: &str) -> Option<Duration> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 60 * 60,
        b'd' => 24 * 60 * 60,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit).map(Duration::from_secs)
}

/// Writes a duration in the largest unit that is whole.
pub(crate) fn write_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, letter) in [(24 * 60 * 60, 'd'), (60 * 60, 'h'), (60, 'm')] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            return format!("{}{letter}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

/// An absolute path without `.` and `..`.
pub(crate) fn path(value: &Value<'_, '_>) -> Option<PathBuf> {
    let text = value.text()?;
    let path = Path::new(text);
    if !path.is_absolute() || path.components().any(|part| matches!(part, Component::CurDir | Component::ParentDir)) {
        return value.wrong(format!("must be an absolute path without \"..\", not {text:?}"));
    }
    Some(path.to_owned())
}

/// A directory that will hold Unix sockets.
pub(crate) fn socket_dir(value: &Value<'_, '_>) -> Option<PathBuf> {
    let path = path(value)?;
    let room = MAX_SOCKET_PATH - SOCKET_NAME_ROOM;
    if path.as_os_str().len() > room {
        return value.wrong(format!("is too long for Unix sockets: take a path of at most {room} bytes"));
    }
    Some(path)
}

/// An IP address with a port.
pub(crate) fn address(value: &Value<'_, '_>) -> Option<SocketAddr> {
    let text = value.text()?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => value.wrong(format!("must be an IP address and a port, such as \"127.0.0.1:8443\", not {text:?}")),
    }
}

/// A host name or IP address with a port.
pub(crate) fn host_port(value: &Value<'_, '_>) -> Option<String> {
    let text = value.text()?;
    let split = text.rsplit_once(':').filter(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        (bracketed || plain)
            && port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    match split {
        Some(_) => Some(text.to_owned()),
        None => value.wrong(format!("must be a host and a port, such as \"issuer.example:8443\", not {text:?}")),
    }
}

/// A number that fits the type and the bounds.
pub(crate) fn whole<T: TryFrom<i64>>(value: &Value<'_, '_>, what: &str) -> Option<T> {
    let number = value.number()?;
    match T::try_from(number) {
        Ok(number) => Some(number),
        Err(_) => value.wrong(format!("must be {what}, not {number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write() {
        for (text, seconds) in [("30s", 30), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(read_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "s", "15", "15 m", "-1s", "1.5h", "1w", "99999999999999999999s", "999999999999999999d", "é"] {
            assert_eq!(read_duration(bad), None, "{bad}");
        }
        for text in ["30s", "15m", "25h", "7d", "90s"] {
            assert_eq!(read_duration(text).map(write_duration).as_deref(), Some(text));
        }
    }
}
