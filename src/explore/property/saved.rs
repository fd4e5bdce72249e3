//! The file of a shrunk case: what it is made from, by which steps it shrank, and its schedule.
//!
//! Always: a file that is not exactly what was written is not used; what cannot be written is said
//! and does no other harm.

use std::fmt::{self, Debug};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use proptest::test_runner::Reason;

use super::super::event::mix;
use super::super::replay::{Overrides, REPLAY, ReplayError, asked_for, short_name};
use super::schedule::Failing;
use super::tree::Step;

/// The first line of a file; the number is the version of its form.
const FORM: &str = "tasklets shrunk case ";
const VERSION: &str = "1";

/// A shrunk case.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) failing: Failing,
    /// What the data are made from.
    pub(super) seed: [u8; 32],
    /// What shrank them.
    pub(super) steps: Vec<Step>,
    /// The data, to see that they are the same.
    pub(super) data: String,
}

/// Why a file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SavedError {
    /// It is of another version.
    Version(String),
    /// It is not what was written: at which line.
    Damaged(&'static str),
    /// Its schedule is not one.
    Schedule(ReplayError),
    /// The same steps lead to other data.
    Changed,
}

impl fmt::Display for SavedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SavedError::Version(of) => {
                write!(f, "the saved case is of version `{of}`, this is {VERSION}")
            }
            SavedError::Damaged(at) => write!(f, "the saved case is damaged: its {at}"),
            SavedError::Schedule(error) => fmt::Display::fmt(error, f),
            SavedError::Changed => f.write_str(
                "the data of the saved case cannot be made again: their strategy has changed",
            ),
        }
    }
}

/// Where the case of a test is saved.
#[derive(Debug)]
pub(super) struct Shelf {
    path: PathBuf,
    program: String,
}

/// Data as a text without line breaks.
pub(super) fn one_line(data: &impl Debug) -> String {
    format!("{data:?}").replace(['\n', '\r'], " ")
}

impl Shelf {
    pub(super) fn new(folder: &Path, program: String) -> Shelf {
        let plain = |it: char| if it.is_alphanumeric() || it == '_' { it } else { '-' };
        let file: String = short_name(&program).replace("::", "-").chars().map(plain).collect();
        Shelf { path: folder.join(file).with_extension("sched"), program }
    }

    /// Says on standard error what is wrong.
    pub(super) fn complain(&self, error: &impl fmt::Display) {
        eprintln!("tasklets: {}: {error}", self.path.display());
    }

    /// What the file holds, if it can be read.
    fn text(&self) -> Option<String> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                self.complain(&error);
                None
            }
        }
    }

    /// The saved case, if there is one that can be used.
    pub(super) fn look(&self) -> Option<Saved> {
        let text = self.text()?;
        match read(&text, &self.program) {
            Ok(saved) => Some(saved),
            Err(error) => {
                self.complain(&error);
                None
            }
        }
    }

    /// The saved case, if the environment asks for a schedule of this program.
    pub(super) fn asked_for(&self) -> Result<Option<Saved>, Reason> {
        let asked = asked_for(&self.program);
        if asked.map_err(|it| Reason::from(format!("{REPLAY}: {it}")))?.is_none() {
            return Ok(None);
        }
        let Some(text) = self.text() else { return Ok(None) };
        let wrong = |it| Reason::from(format!("{}: {it}", self.path.display()));
        read(&text, &self.program).map(Some).map_err(wrong)
    }

    pub(super) fn save(&self, saved: &Saved) {
        let text = write(saved, &self.program);
        if fs::read_to_string(&self.path).is_ok_and(|it| it == text) {
            return;
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        if let Err(error) = fs::create_dir_all(folder).and_then(|()| fs::write(&self.path, text)) {
            self.complain(&error);
        }
    }
}

/// Writes a case: one line for each part, then a sum over all of them.
fn write(saved: &Saved, program: &str) -> String {
    let seed: String = saved.seed.iter().map(|it| format!("{it:02x}")).collect();
    let sign = |it: &Step| if *it == Step::Simplify { 's' } else { 'c' };
    let steps: String = saved.steps.iter().map(sign).collect();
    let lines = [
        format!("{FORM}{VERSION}"),
        format!("crate {}", env!("CARGO_PKG_VERSION")),
        format!("program {}", short_name(program)),
        format!("replay {}", saved.failing.replay),
        format!("run {}", saved.failing.nth),
        format!("seed {seed}"),
        format!("steps {steps}"),
        format!("data {}", saved.data),
    ];
    let body = lines.join("\n");
    format!("{body}\nsum {:016x}\n", sum(&body))
}

fn sum(text: &str) -> u64 {
    text.bytes().fold(0, |sum, byte| mix(sum, u64::from(byte)))
}

/// Reads what [`write`] wrote.
fn read(text: &str, program: &str) -> Result<Saved, SavedError> {
    let first = text.lines().next().unwrap_or_default();
    let version = first.strip_prefix(FORM).ok_or(SavedError::Damaged("first line"))?;
    if version != VERSION {
        return Err(SavedError::Version(version.into()));
    }
    let whole = text.trim_end().rsplit_once("\nsum ");
    let (body, total) = whole.ok_or(SavedError::Damaged("end is missing"))?;
    if total != format!("{:016x}", sum(body)) {
        return Err(SavedError::Damaged("sum differs"));
    }
    let part = |name: &'static str| {
        let fits = |line: &&str| line.split_once(' ').is_some_and(|it| it.0 == name);
        let line = body.lines().find(fits).ok_or(SavedError::Damaged(name))?;
        Ok(&line[name.len() + 1..])
    };
    let replay = String::from(part("replay")?);
    let overrides = Overrides::read(&replay, Some(program)).map_err(SavedError::Schedule)?;
    let nth = part("run")?.parse().map_err(|_| SavedError::Damaged("run"))?;
    let steps = part("steps")?.chars().map(|it| match it {
        's' => Ok(Step::Simplify),
        'c' => Ok(Step::Complicate),
        _ => Err(SavedError::Damaged("steps")),
    });
    Ok(Saved {
        failing: Failing { nth, outcome: None, overrides, replay },
        seed: read_seed(part("seed")?).ok_or(SavedError::Damaged("seed"))?,
        steps: steps.collect::<Result<_, _>>()?,
        data: part("data")?.into(),
    })
}

fn read_seed(text: &str) -> Option<[u8; 32]> {
    let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_read_as_it_was_written() {
        let overrides = Overrides::parse(&Overrides::default().text("a::b"), "a::b").unwrap();
        let replay = overrides.text("a::b");
        let failing = Failing { nth: 1, outcome: None, overrides, replay };
        let (seed, data) = ([0xA7; 32], String::from("[\"sum 7\", 3]"));
        let steps = vec![Step::Simplify, Step::Complicate];
        let text = write(&Saved { failing, seed, steps, data }, "a::b");
        let again = read(&text, "a::b").unwrap();
        assert_eq!(text, write(&again, "a::b"));
        for cut in 0..text.trim_end().len() {
            let error = read(&text[..cut], "a::b").unwrap_err();
            assert!(matches!(error, SavedError::Damaged(_) | SavedError::Version(_)), "{error}");
        }
        let error = |text: &str, program| read(text, program).unwrap_err();
        let newer = text.replacen("case 1", "case 9", 1);
        assert_eq!(error(&newer, "a::b"), SavedError::Version("9".into()));
        assert_eq!(error(&text.replace('3', "4"), "a::b"), SavedError::Damaged("sum differs"));
        let other = SavedError::Schedule(ReplayError::Program("a::b".into()));
        assert_eq!(error(&text, "c"), other);
    }
}
