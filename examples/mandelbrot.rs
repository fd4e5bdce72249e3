//! The Mandelbrot set as a picture in PGM: rows by as many threads as there are processors, in
//! order.
//!
//! ```text
//! cargo run --release --example mandelbrot -- 1200 >mandelbrot.pgm
//! ```
//!
//! Always: rows are worked on in parallel and printed one after the other; no more of them than
//! there are workers are in memory. A terminal on stderr shows how far it is. Ctrl-C ends it behind
//! a whole row, with status 130.

use std::io::{self, Write};
use std::process::ExitCode;
use tasklets::pipeline::{self, Cause};
use tasklets::{Halt, Runtime, ctrl_c};

const STEPS: u8 = 255;

/// How many steps the point takes to leave.
fn steps((x, y): (f64, f64)) -> u8 {
    let (mut re, mut im) = (0.0, 0.0);
    for step in 0..STEPS {
        (re, im) = (re * re - im * im + x, 2.0 * re * im + y);
        if re * re + im * im > 4.0 {
            return step;
        }
    }
    STEPS
}

fn row(y: usize, width: usize) -> Vec<u8> {
    let scale = 3.0 / width as f64;
    let place = |x: usize| (x as f64 * scale - 2.25, (y as f64 - width as f64 / 2.0) * scale);
    (0..width).map(|x| STEPS - steps(place(x))).collect()
}

fn main() -> ExitCode {
    let mut given = std::env::args_os().skip(1);
    let width = given.next().map_or(Some(600), |it| it.to_str()?.parse().ok());
    let (Some(width @ 1..=20_000), None) = (width, given.next()) else {
        eprintln!("usage: mandelbrot [WIDTH], from 1 to 20000");
        return ExitCode::from(2);
    };
    let threads = std::thread::available_parallelism().map_or(1, |it| it.get());
    let runtime = Runtime::builder().blocking_threads(threads).build();
    let drawn = runtime.run(|| {
        let (stop, mut out) = (ctrl_c()?, io::stdout().lock());
        writeln!(out, "P5 {width} {width} {STEPS}")?;
        let rows = pipeline::from_iter(0..width).on_pool().map(move |y| row(y, width));
        let printed = rows.workers(4 * threads).try_for_each(|row| out.write_all(&row));
        match printed.progress().run_until(stop) {
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(error) if matches!(error.cause, Cause::Halted(Halt::Cancelled)) => {
                eprintln!("mandelbrot: stopped");
                Ok(ExitCode::from(130))
            }
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    });
    match drawn {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => (eprintln!("mandelbrot: {error}"), ExitCode::FAILURE).1,
        Err(error) => (eprintln!("mandelbrot: {error}"), ExitCode::FAILURE).1,
    }
}
