//! One value of one setting: its text read, checked against its range, and refused with what is allowed.
//!
//! A flag, an environment variable and a file's key give the same text, so each setting has one reader.

use std::{
    env,
    ffi::OsString,
    fmt::Debug,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{Endpoint, FilePath, Listen};

/// The directory that fits the user: see [`data_dir`].
pub(super) const AUTO: &str = "auto";

/// Instead of an address or a file: there is none.
pub(super) const OFF: &str = "off";

const KIB: u64 = 1024;

/// Units of [`bytes()`], the largest first.
const BYTE_UNITS: [(&str, u64); 4] = [("GiB", KIB * KIB * KIB), ("MiB", KIB * KIB), ("KiB", KIB), ("B", 1)];

/// `IP:PORT`, or `localhost:PORT` for the loopback address that is nobody's choice.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    SocketAddr::from_str(numeric.as_deref().unwrap_or(text))
        .map_err(|_| format!("must be IP:PORT, as 127.0.0.1:50051 or [::1]:50051, not {text:?}"))
}

/// As [`address`], or `off` (or nothing) for no port at all.
pub(super) fn http_address(text: &str) -> Result<Listen, String> {
    match text {
        "" | OFF => Ok(Listen::Off),
        text => address(text).map(Listen::At).map_err(|error| format!("{error}; \"{OFF}\" for no such port")),
    }
}

/// A directory, or [`AUTO`] for the one that fits the user.
pub(super) fn data_dir(text: &str) -> Result<PathBuf, String> {
    match text {
        AUTO => Ok(state_dir(|name| env::var_os(name), is_root())),
        blank if blank.trim().is_empty() => Err(format!("must be a path, or \"{AUTO}\"")),
        path => Ok(path.into()),
    }
}

/// A file, or `off` (or nothing) for none.
pub(super) fn file_path(text: &str) -> Result<FilePath, String> {
    match text {
        "" | OFF => Ok(FilePath::Off),
        blank if blank.trim().is_empty() => Err(format!("must be a path, or \"{OFF}\"")),
        path => Ok(FilePath::At(path.into())),
    }
}

/// `http://` or `https://` and where, or `off` (or nothing) for nowhere.
pub(super) fn otlp_endpoint(text: &str) -> Result<Endpoint, String> {
    let uri: Option<http::Uri> = text.parse().ok();
    match text {
        "" | OFF => Ok(Endpoint::Off),
        _ if uri.as_ref().and_then(|uri| uri.authority()).is_some_and(|authority| authority.as_str().contains('@')) => {
            Err("must not contain a user or password: OTLP over gRPC does not send them".to_owned())
        }
        text if uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https"))) => {
            Ok(Endpoint::At(text.into()))
        }
        text => Err(format!("must be a URL as http://localhost:4317, or \"{OFF}\", not {text:?}")),
    }
}

/// A ratio from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| format!("must be a ratio from 0 to 1, not {text:?}"))
}

/// Where a user's programs keep their state, as the XDG base directories have it: a relative `XDG_STATE_HOME` counts as
/// not set. Without a home it is a service's.
fn state_dir(variable: impl Fn(&str) -> Option<OsString>, is_root: bool) -> PathBuf {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let user = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    match user {
        Some(state) => state.join("fuseboard"),
        None if is_root => PathBuf::from("/var/lib/fuseboard"),
        None => PathBuf::from("fuseboard-data"),
    }
}

#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self").metadata().is_ok_and(|process| process.uid() == 0)
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

/// A whole number inside a range.
pub(super) fn count<T>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: TryFrom<u64, Error: Debug>,
{
    move |text| {
        let value = text.replace('_', "").parse().ok().filter(|value| range.contains(value));
        value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| {
            format!("must be a whole number, {} to {}, not {text:?}", range.start(), grouped(*range.end()))
        })
    }
}

/// A number with its thousands told apart: `10,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let is_break = |index: usize| index > 0 && (digits.len() - index).is_multiple_of(3);
    let grouped =
        digits.char_indices().map(|(index, digit)| format!("{}{digit}", if is_break(index) { "," } else { "" }));
    grouped.collect()
}

/// A size in bytes inside a range: a number, or one with `B`, `KiB`, `MiB` or `GiB` behind it.
pub(super) fn bytes<T>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: TryFrom<u64, Error: Debug>,
{
    move |text| {
        let value = parse_bytes(text).filter(|value| range.contains(value));
        value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| {
            let (least, most) = (format_bytes(*range.start()), format_bytes(*range.end()));
            format!("must be a size as \"{least}\" or a number of bytes, {least} to {most}, not {text:?}")
        })
    }
}

/// A length of time inside a range.
pub(super) fn duration(
    range: RangeInclusive<Duration>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync {
    move |text| {
        let value = parse_duration(text)?;
        if range.contains(&value) {
            return Ok(value);
        }
        let (least, most) = (format_duration(*range.start()), format_duration(*range.end()));
        Err(format!("must be {least} to {most}, not {text:?}"))
    }
}

/// Which log lines are written: `info`, or `warn,fuseboard=debug`.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    const LEVELS: &str = "a level (error, warn, info, debug, trace, off)";
    // The filter's own reader takes a misspelt level for the name of a module, and the log would fall silent.
    let is_level = |word: &str| !word.is_empty() && LevelFilter::from_str(word).is_ok();
    let misspelt = text.split(',').find(|part| !part.contains(['=', '[']) && !is_level(part.trim()));
    let reason = match (misspelt, EnvFilter::builder().parse(text)) {
        (Some(word), _) => format!("{word:?} is not a level"),
        (None, Err(error)) => error.to_string(),
        (None, Ok(_)) => return Ok(text.to_owned()),
    };
    Err(format!("must be {LEVELS}, or levels by module as \"warn,fuseboard=debug\", not {text:?}: {reason}"))
}

/// A length of time: `30s`, `500ms`, `5m`, `1h`, `1m 30s`, or a bare `0`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|_| {
        format!("must be a length of time with its unit, as \"500ms\", \"30s\", \"5m\" or \"1h\", not {text:?}")
    })
}

/// The shortest text that [`parse_duration`] reads back.
pub(super) fn format_duration(value: Duration) -> String {
    humantime::format_duration(value).to_string()
}

pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let unit = BYTE_UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (number, factor) = unit.map_or((text, 1), |(unit, factor)| (&text[..text.len() - unit.len()], *factor));
    number.trim_end().replace('_', "").parse::<u64>().ok()?.checked_mul(factor)
}

/// The shortest text that [`bytes()`] reads back.
pub(super) fn format_bytes(value: u64) -> String {
    let whole = |(_, factor): &&(&str, u64)| value.is_multiple_of(*factor);
    let (unit, factor) = BYTE_UNITS.iter().find(whole).copied().unwrap_or(("B", 1));
    format!("{}{unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_as_written() {
        for (text, value) in [("1B", 1), ("64KiB", 65_536), ("1MiB", 1_048_576), ("3GiB", 3_221_225_472)] {
            assert_eq!(parse_bytes(text), Some(value));
            assert_eq!(format_bytes(value), text);
        }
        assert_eq!(parse_bytes("64 KiB"), Some(65_536));
        assert_eq!(parse_bytes("65_536"), Some(65_536));
        for text in ["", "KiB", "-1", "64KB", "64k", "1.5MiB", "99999999999999999999", "18446744073709551615KiB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for text in ["", "30", "-1s", "1.5", "soon", "99999999999999999999s", "18446744073709551615y"] {
            assert!(parse_duration(text).unwrap_err().contains("\"30s\""), "{text}");
        }
    }

    #[test]
    fn a_misspelt_level_is_no_filter() {
        for text in ["info", "INFO", "off", "warn,fuseboard=debug", "fuseboard::grpc=trace, error"] {
            assert_eq!(log_filter(text).as_deref(), Ok(text));
        }
        for text in ["", "inof", "fuseboard", "warn,debgu", "fuseboard=loud", "a=b=c"] {
            assert!(log_filter(text).unwrap_err().contains("a level (error, warn"), "{text}");
        }
    }

    #[test]
    fn numbers_are_easy_to_read() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (65_536, "65,536"), (10_000_000, "10,000,000")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn state_is_kept_where_the_user_keeps_it() {
        let place = |state: Option<&str>, home: Option<&str>, is_root| {
            let variable = |name: &str| if name == "HOME" { home } else { state }.map(OsString::from);
            state_dir(variable, is_root)
        };
        assert_eq!(place(Some("/state"), Some("/home/ann"), true), Path::new("/state/fuseboard"));
        assert_eq!(place(None, Some("/home/ann"), false), Path::new("/home/ann/.local/state/fuseboard"));
        assert_eq!(place(Some("state"), Some("/root"), true), Path::new("/root/.local/state/fuseboard"));
        assert_eq!(place(Some(""), Some(""), true), Path::new("/var/lib/fuseboard"));
        assert_eq!(place(None, None, false), Path::new("fuseboard-data"));
        assert_eq!(data_dir("./auto").as_deref(), Ok(Path::new("./auto")));
        assert!(data_dir("").unwrap_err().contains("auto"));
    }

    #[test]
    fn a_port_can_be_switched_off() {
        assert_eq!(http_address("off"), Ok(Listen::Off));
        assert_eq!(http_address(""), Ok(Listen::Off));
        assert_eq!(http_address("[::1]:80").map(Listen::address), address("[::1]:80").map(Some));
        assert!(http_address("no").unwrap_err().contains("\"off\""));
    }

    #[test]
    fn an_address_is_numeric_or_localhost() {
        assert_eq!(address("localhost:1"), address("127.0.0.1:1"));
        assert!(address("[::1]:50051").is_ok());
        for text in ["", "50051", ":50051", "127.0.0.1", "example.org:50051", "127.0.0.1:70000"] {
            assert!(address(text).unwrap_err().contains("IP:PORT"), "{text}");
        }
    }
}
