//! The lines of a pipeline that runs: what they say, and that they change nothing.
#![cfg(not(miri))]

mod support;

use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};
use std::io;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use support::example::built;
use tasklets::pipeline::{self, Cause};
use tasklets::{Never, channel, explore, run, spawn};

/// A terminal that remembers all that it has shown.
#[derive(Clone, Debug, Default)]
struct Screen(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    rows: Vec<String>,
    row: usize,
    column: usize,
    /// What stood there each time that something had been drawn.
    frames: Vec<Vec<String>>,
}

impl Screen {
    fn lines(&self) -> MultiProgress {
        let screen = Box::new(self.clone());
        MultiProgress::with_draw_target(ProgressDrawTarget::term_like(screen))
    }

    fn frames(&self) -> Vec<Vec<String>> {
        self.0.lock().unwrap().frames.clone()
    }

    /// All rows that have ever been shown.
    fn rows(&self) -> Vec<String> {
        self.frames().concat()
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap().rows.iter().all(|it| it.trim().is_empty())
    }

    fn edit(&self, change: impl FnOnce(&mut Shown)) -> io::Result<()> {
        let mut shown = self.0.lock().unwrap();
        change(&mut shown);
        let rows = shown.row + 1;
        if shown.rows.len() < rows {
            shown.rows.resize(rows, String::new());
        }
        Ok(())
    }
}

impl Shown {
    fn write(&mut self, text: &str) {
        for letter in text.chars() {
            if letter == '\r' {
                self.column = 0;
                continue;
            }
            let row = &mut self.rows[self.row];
            let kept: String = row.chars().take(self.column).collect();
            *row = format!("{kept}{letter}");
            self.column += 1;
        }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        120
    }

    fn move_cursor_up(&self, rows: usize) -> io::Result<()> {
        self.edit(|it| it.row -= rows)
    }

    fn move_cursor_down(&self, rows: usize) -> io::Result<()> {
        self.edit(|it| it.row += rows)
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.edit(|it| it.column += columns)
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.edit(|it| it.column -= columns)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.edit(|it| (it.row, it.column) = (it.row + 1, 0))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.edit(|_| {})?;
        self.edit(|it| it.write(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.edit(|_| {})?;
        self.edit(|it| {
            let row = it.row;
            it.rows[row].clear();
            it.column = 0;
        })
    }

    fn flush(&self) -> io::Result<()> {
        self.edit(|it| {
            let rows = it.rows.iter().map(|it| it.trim_end().to_owned());
            it.frames.push(rows.filter(|it| !it.is_empty()).collect());
        })
    }
}

#[test]
fn each_stage_has_a_line_with_its_items_and_their_rate() {
    let screen = Screen::default();
    run(|| {
        let numbers = pipeline::from_iter(0..5).named("numbers");
        let doubled = numbers.map(|it| it * 2).named("dou\nble").filter(|it| *it > 2).named("some");
        doubled.count().named("how many").progress_on(&screen.lines()).run().unwrap();
    });
    let last = screen.frames().into_iter().rfind(|it| it.len() == 4).unwrap();
    let begin =
        ["numbers  5 of 5 items, ", "dou ble  5 items, ", "some  5 items, ", "how many  3 it"];
    for (row, begin) in last.iter().zip(begin) {
        assert!(row.starts_with(begin) && row.contains("/s"), "{last:?}");
    }
    assert!(last[0].ends_with(" to go") && !last[1].contains(" to go"), "{last:?}");
    assert!(screen.is_empty(), "{screen:?}");
}

#[test]
fn only_a_source_that_knows_its_length_tells_how_long() {
    let endings = |screen: &Screen| screen.rows().iter().filter(|it| it.contains("to go")).count();
    let (known, unknown) = (Screen::default(), Screen::default());
    run(|| {
        pipeline::from_iter(vec![1, 2, 3]).count().progress_on(&known.lines()).run().unwrap();
        let odd = (0..4).filter(|it| it % 2 == 1);
        pipeline::from_iter(odd).count().progress_on(&unknown.lines()).run().unwrap();
        pipeline::from_iter(0_u64..).take(3).count().progress_on(&unknown.lines()).run().unwrap();
    });
    assert!(endings(&known) > 0, "{known:?}");
    assert_eq!(endings(&unknown), 0, "{unknown:?}");
}

#[test]
fn no_line_stays_whatever_ends_the_pipeline() {
    let (failed, panicked, stopped) = (Screen::default(), Screen::default(), Screen::default());
    run(|| {
        let bad = pipeline::from_iter(["1", "two"]).try_map(|it| it.parse::<i32>());
        bad.count().progress_on(&failed.lines()).run().unwrap_err();
        let bad = pipeline::from_iter(0..9).map(|it| assert!(it < 3));
        bad.count().progress_on(&panicked.lines()).run().unwrap_err();
        let (stop, stopping) = channel::<Never>();
        let mut stop = Some(stop);
        let endless = pipeline::from_iter(0..).inspect(|it| assert!(*it < 5 || *it > 1_000_000));
        let endless = endless.for_each(|it| drop(stop.take_if(|_| it == 3)));
        let ended = endless.progress_on(&stopped.lines()).run_until(stopping.receiving());
        ended.unwrap_err();
    });
    for screen in [failed, panicked, stopped] {
        assert!(!screen.rows().is_empty(), "nothing was shown");
        assert!(screen.is_empty(), "{screen:?}");
    }
}

#[test]
fn where_nobody_can_see_them_there_are_no_lines() {
    let hidden = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
    let done = run(|| pipeline::from_iter(0..100).count().progress_on(&hidden).run().unwrap());
    assert_eq!(done.value, 100);
    assert!(hidden.clear().is_ok());
}

#[test]
fn what_is_printed_in_between_stands_above_the_lines() {
    let screen = Screen::default();
    let lines = screen.lines();
    run(|| {
        let print = |it| lines.suspend(|| screen.write_line(&format!("result {it}")).unwrap());
        pipeline::from_iter(0..3).for_each(print).progress_on(&lines).run().unwrap();
    });
    let rows = screen.0.lock().unwrap().rows.clone();
    let rows: Vec<_> = rows.iter().map(|it| it.trim()).filter(|it| !it.is_empty()).collect();
    assert_eq!(rows, ["result 0", "result 1", "result 2"]);
}

#[test]
fn a_panic_of_whoever_draws_is_that_of_its_stage_and_not_of_the_lines() {
    let screen = Screen::default();
    let lines = screen.lines();
    let error = run(|| {
        let print = |it: i32| lines.suspend(|| assert!(it < 2, "too many"));
        let printed = pipeline::from_iter(0..9).map(|it| it).for_each(print).named("print");
        printed.progress_on(&lines).run().unwrap_err()
    });
    assert!(matches!(error.cause, Cause::Panicked(_)));
    assert_eq!(error.to_string(), "stage `print` panicked: too many");
    // The lines are of no use any more, and do no harm.
    let done = run(|| pipeline::from_iter(0..9).count().progress_on(&lines).run());
    assert_eq!(done.unwrap().value, 9);
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_on_stderr_gets_the_lines_and_nothing_else_does() {
    if Command::new("script").arg("--version").output().is_err() {
        return; // no util-linux
    }
    let picture = |to: &str| {
        let mut script = Command::new("script");
        let mandelbrot = built("mandelbrot");
        script.arg("-qec").arg(format!("'{}' 64 {to}", mandelbrot.display())).arg("/dev/null");
        let output = script.env("TERM", "xterm").stdin(Stdio::null()).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    };
    let shown = picture(">/dev/null");
    assert!(shown.contains(" of 64 items, ") && shown.contains("try_for_each 2  "), "{shown}");
    assert_eq!(picture("2>&1 >/dev/null | cat"), "");
}

#[test]
fn lines_add_no_schedule() {
    let schedules = |shown: bool| {
        let verdict = explore::Explore::new().check(move || {
            let other = spawn(|| {});
            let mut whole = pipeline::from_iter(0..2).map(|it| it).collect::<Vec<_>>();
            if shown {
                whole = whole.progress_on(&Screen::default().lines());
            }
            assert_eq!(whole.run().unwrap().value, [0, 1]);
            other.join().unwrap();
        });
        format!("{verdict:?}") // which counts what was tried
    };
    assert_eq!(schedules(true), schedules(false));
}
