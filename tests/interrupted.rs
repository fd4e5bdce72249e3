//! Ctrl-C ends the examples that are pipelines as it ends a pipeline: whole items, nothing left.
#![cfg(all(target_os = "linux", not(miri)))]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use support::example::built;

/// So large that it would take minutes.
const WIDTH: usize = 20_000;

#[test]
fn ctrl_c_ends_a_pipeline_behind_a_whole_item_and_all_of_its_threads() {
    let mut mandelbrot = Command::new(built("mandelbrot"));
    mandelbrot.arg(WIDTH.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = mandelbrot.spawn().unwrap();
    let mut picture = BufReader::new(child.stdout.take().unwrap());
    let mut header = String::new();
    picture.read_line(&mut header).unwrap();
    assert_eq!(header, format!("P5 {WIDTH} {WIDTH} 255\n"));
    let mut first = vec![0; WIDTH];
    picture.read_exact(&mut first).unwrap();
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let mut rest = Vec::new();
    picture.read_to_end(&mut rest).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "mandelbrot: stopped\n");
    assert_eq!(rest.len() % WIDTH, 0, "rows are whole");
    assert!(rest.len() / WIDTH < WIDTH / 2, "it was stopped");
}
