//! Children that are not started, and those whose streams nobody but the caller can read.

use std::cell::RefCell;
use std::io::Read;
use tasklets::explore::Explore;
use tasklets::process::{Command, Stdio};
use tasklets::{Halt, Runtime, pause, run, spawn, yield_now};

#[test]
fn the_output_of_both_streams_is_read_without_another_tasklet() {
    let runtime = Runtime::builder().max_tasklets(1).build();
    let script = "head -c 300000 /dev/zero; head -c 500000 /dev/zero >&2; head -c 7 /dev/zero";
    let output = runtime.run(|| Command::new("sh").args(["-c", script]).output());
    let output = output.unwrap().unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (300_007, 500_000));
    assert!(output.status.success());
}

#[test]
fn who_is_stopped_before_it_starts_a_child_to_wait_for_starts_none() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut echo = Command::new("echo");
    echo.stdout(Stdio::from(writer));
    run(|| {
        let stopped = spawn(move || {
            assert_eq!(pause(), Err(Halt::Cancelled));
            [echo.status().unwrap_err(), echo.output().unwrap_err()]
                .map(|it| it.downcast::<Halt>().unwrap())
        });
        yield_now();
        stopped.cancel();
        assert_eq!(stopped.join().unwrap(), [Halt::Cancelled; 2]);
    });
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_run_that_is_explored_starts_no_process() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut echo = Command::new("echo");
    echo.stdout(Stdio::from(writer));
    let echo = RefCell::new(Some(echo));
    let explored = Explore::new().run(|| drop(echo.take().map(|mut it| it.spawn())));
    let text = format!("{explored:?}");
    assert!(text.contains("starting a process"), "{text}");
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}
