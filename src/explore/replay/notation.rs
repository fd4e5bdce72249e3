//! Replay strings: schedules as texts, for a program.
//!
//! A text has a version, the program's name, the parts of the schedule, and a sum of both. Beside
//! overrides there are parts that say what a run may do and to which trace it leads, so it takes no
//! other settings to replay it: `v2:office:=e5a6e8e,lax,3@0.0d,3@1.0>0/0:0a75`.
//!
//! Always: a text that is not exactly what was written is refused; it can stand between quotes of
//! a shell.

use std::env::VarError;
use std::fmt;

use super::super::event::{Kind, mix};
use super::super::system::Rules;
use super::{Key, Overrides, Want};

/// The environment variable whose replay string is run instead of a search.
pub(in crate::explore) const REPLAY: &str = "TASKLETS_REPLAY";

/// The version of the format of replay strings.
const VERSION: &str = "v2";

/// Says in a replay string that timers may fire at any moment.
const LAX: &str = "lax";

/// Says in a replay string how many events a run may have, if that is not what it mostly is.
const EVENTS: char = 'n';

/// Says in a replay string that the end of the root cancels the others.
const ENDINGS: &str = "end";

/// Says in a replay string that what it leads to is not the same each time.
const UNSTEADY: &str = "~";

/// Why a text is no schedule of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// It is of another version of this format.
    Version(String),
    /// It is of another program; which.
    Program(String),
    /// It is not complete, or was changed.
    Garbled(String),
    /// The program does something else by now.
    Changed,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Version(of) => {
                write!(
                    f,
                    "the replay string is of version `{of}`, this is {VERSION}: search again, as \
                     other versions say other things"
                )
            }
            ReplayError::Program(of) => {
                write!(f, "the replay string is of another program: `{of}`")
            }
            ReplayError::Changed => f.write_str(
                "the program does something else than when the replay string was written: it has \
                 changed, or is another one",
            ),
            ReplayError::Garbled(part) => {
                write!(f, "the replay string is cut or changed, at `{part}`")
            }
        }
    }
}

impl std::error::Error for ReplayError {}

impl Overrides {
    /// The schedule as a text for `program`; [`parse`](Self::parse) reads it.
    pub fn text(&self, program: &str) -> String {
        let trace = self.trace.iter().map(|it| format!("={it:x}"));
        let notes = [(self.endings, ENDINGS), (self.unsteady, UNSTEADY), (self.lax_timers, LAX)];
        let notes = notes.into_iter().filter(|it| it.0).map(|it| String::from(it.1));
        let most = self.events_max.filter(|it| *it != Rules::default().events_max);
        let notes = notes.chain(most.map(|it| format!("{EVENTS}{it}")));
        let all = self.wants.iter().map(|(key, want)| write_one(key, want));
        let body = trace.chain(notes).chain(all).collect::<Vec<_>>().join(",");
        let program = short_name(program);
        let sum = checksum(&program, &body);
        format!("{VERSION}:{program}:{body}:{sum:04x}")
    }

    /// Reads what [`text`](Self::text) wrote for the same program.
    ///
    /// # Errors
    /// The text is of another version or program, or is damaged.
    pub fn parse(text: &str, program: &str) -> Result<Overrides, ReplayError> {
        Overrides::parse_of(text, Some(program))
    }

    /// As [`parse`](Self::parse), of any program if it is not said of which, and with a note of
    /// what a run may do also where that is as mostly.
    pub(in crate::explore) fn read(
        text: &str,
        program: Option<&str>,
    ) -> Result<Overrides, ReplayError> {
        let mut overrides = Overrides::parse_of(text, program)?;
        overrides.events_max.get_or_insert(Rules::default().events_max);
        Ok(overrides)
    }

    fn parse_of(text: &str, program: Option<&str>) -> Result<Overrides, ReplayError> {
        let garbled = |part: &str| ReplayError::Garbled(part.into());
        let (version, rest) = text.split_once(':').ok_or_else(|| garbled(text))?;
        if version != VERSION {
            return Err(ReplayError::Version(version.into()));
        }
        let (rest, sum) = rest.rsplit_once(':').ok_or_else(|| garbled(rest))?;
        let (of, body) = rest.rsplit_once(':').ok_or_else(|| garbled(rest))?;
        if sum != format!("{:04x}", checksum(of, body)) {
            return Err(garbled(sum));
        }
        if program.is_some_and(|it| short_name(it) != of) {
            return Err(ReplayError::Program(of.into()));
        }
        let mut overrides = Overrides::default();
        for part in body.split(',').filter(|it| !it.is_empty()) {
            if let Some(trace) = part.strip_prefix('=') {
                let trace = u32::from_str_radix(trace, 16).map_err(|_| garbled(part))?;
                overrides.trace = Some(trace);
            } else if part == ENDINGS {
                overrides.endings = true;
            } else if part == UNSTEADY {
                overrides.unsteady = true;
            } else if part == LAX {
                overrides.lax_timers = true;
            } else if let Some(most) = part.strip_prefix(EVENTS) {
                overrides.events_max = Some(most.parse().map_err(|_| garbled(part))?);
            } else {
                overrides.wants.extend([read_one(part).ok_or_else(|| garbled(part))?]);
            }
        }
        Ok(overrides)
    }

    /// One line for each, for a report.
    pub fn explain(&self) -> Vec<String> {
        self.wants.iter().map(|(key, want)| write_one(key, want)).collect()
    }
}

/// What the environment asks to replay, if it is for this program.
pub(in crate::explore) fn asked_for(program: &str) -> Result<Option<Overrides>, ReplayError> {
    let text = match std::env::var(REPLAY) {
        Ok(text) => text,
        Err(VarError::NotPresent) => return Ok(None),
        Err(VarError::NotUnicode(text)) => {
            return Err(ReplayError::Garbled(text.to_string_lossy().into_owned()));
        }
    };
    match Overrides::read(&text, Some(program)) {
        Ok(overrides) => Ok(Some(overrides)),
        Err(ReplayError::Program(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many bytes of a program's name are in a replay string at most.
const NAME_MAX: usize = 64;

/// The name of a program in replay strings, which can stand between quotes of a shell: a name that
/// is long or has odd characters is cut, and ends with a sum of all of it.
pub(in crate::explore) fn short_name(program: &str) -> String {
    let plain = |it: char| it.is_alphanumeric() || (' '..='~').contains(&it) && !"'\\".contains(it);
    if program.len() <= NAME_MAX && program.chars().all(plain) {
        return program.into();
    }
    let sum = program.bytes().fold(0, |sum, byte| mix(sum, u64::from(byte))) as u32;
    let end = format!("~{sum:08x}");
    let mut name: String = program.chars().map(|it| if plain(it) { it } else { '_' }).collect();
    let fits = |it: &usize| *it + end.len() <= NAME_MAX && name.is_char_boundary(*it);
    let cut = (0..=name.len()).rev().find(fits).unwrap_or(0);
    name.truncate(cut);
    name + &end
}

fn checksum(program: &str, body: &str) -> u16 {
    let bytes = program.bytes().chain([0]).chain(body.bytes());
    bytes.fold(0, |sum, byte| mix(sum, u64::from(byte))) as u16
}

/// Paths are written without `root`, so the root itself is empty.
fn write_path(path: &[u32]) -> String {
    path.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn read_path(text: &str) -> Option<Vec<u32>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split('.').map(|it| it.parse().ok()).collect()
}

/// Written `1.0@5.2<0.3/1`: branch 2 of slot 5 of `root.1.0` is met by branch 1 of `root.0.3`.
fn write_one((path, nth): &Key, want: &Want) -> String {
    let slot = format!("{}@{nth}.{}", write_path(path), want.branch);
    let peer = want.peer.as_ref().map(|(path, branch)| format!("{}/{branch}", write_path(path)));
    let sign = SIGNS.iter().find(|it| (it.1, it.2) == (want.kind, want.second));
    let sign = sign.map_or('?', |it| it.0);
    format!("{slot}{sign}{}", peer.unwrap_or_default())
}

/// How a slot's completion is written: the kind, and whether the slot is the second.
const SIGNS: [(char, Kind, bool); 8] = [
    ('<', Kind::Meeting, true),
    ('>', Kind::Meeting, false),
    ('-', Kind::Cancelled, true),
    ('!', Kind::Cancelled, false),
    ('c', Kind::Closed, false),
    ('d', Kind::Default, false),
    ('t', Kind::Timer, false),
    ('e', Kind::Ended, false),
];

fn read_one(text: &str) -> Option<(Key, Want)> {
    let at = text.find(|it| SIGNS.iter().any(|sign| sign.0 == it))?;
    let (_, kind, second) = *SIGNS.iter().find(|sign| text[at..].starts_with(sign.0))?;
    let (slot, peer) = (&text[..at], &text[at + 1..]);
    let (path, numbers) = slot.split_once('@')?;
    let (nth, branch) = numbers.split_once('.')?;
    let peer = match kind {
        Kind::Meeting | Kind::Cancelled => {
            let (path, branch) = peer.split_once('/')?;
            Some((read_path(path)?, branch.parse().ok()?))
        }
        Kind::Closed | Kind::Default | Kind::Timer | Kind::Ended => {
            peer.is_empty().then_some(None)?
        }
    };
    let key = (read_path(path)?, nth.parse().ok()?);
    Some((key, Want { kind, peer, second, branch: branch.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_schedule_is_read_as_it_was_written() {
        let meeting =
            Want { kind: Kind::Meeting, peer: Some((vec![0, 3], 1)), second: true, branch: 2 };
        let closed = Want { kind: Kind::Closed, peer: None, second: false, branch: 0 };
        let wants = BTreeMap::from([((vec![1, 0], 5), meeting), ((vec![], 7), closed)]);
        let overrides = Overrides { wants, trace: Some(7), endings: true, ..Overrides::default() };
        let rules = Rules { lax_timers: true, events_max: 70, ..Rules::default() };
        let overrides = overrides.under(rules);
        let text = overrides.text("a::b");
        assert_eq!(Overrides::parse(&text, "a::b"), Ok(overrides));
        assert_eq!(Overrides::parse(&text, "c"), Err(ReplayError::Program("a::b".into())));
        for cut in 0..text.len() {
            assert!(Overrides::parse(&text[..cut], "a::b").is_err(), "{}", &text[..cut]);
        }
        for version in ["v1", "v3"] {
            let other = text.replacen("v2", version, 1);
            let error = Overrides::parse(&other, "a::b");
            assert_eq!(error, Err(ReplayError::Version(version.into())));
        }
    }
}
