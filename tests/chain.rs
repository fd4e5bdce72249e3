//! Laws of tasklets that live on in the tasklets they spawn, generation after generation.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use support::isolated;
use tasklets::{Builder, current, run, spawn, yield_now};

/// Spawns the next generation and ends.
fn generation(left: u32, ended: Rc<Cell<bool>>) {
    match left.checked_sub(1) {
        Some(left) => drop(spawn(move || generation(left, ended))),
        None => ended.set(true),
    }
}

#[test]
fn a_line_of_descent_may_be_long() {
    let ended = isolated(|| {
        run(|| {
            let ended = Rc::new(Cell::new(false));
            generation(100_000, ended.clone());
            while !ended.get() {
                yield_now();
            }
        });
    });
    ended.map(|it| it.well());
}

/// The length of the path after so many generations, asked on a stack that is small.
fn path_after(left: u32, tell: Rc<Cell<usize>>) {
    let next = Builder::new().stack_size(16 * 1024);
    let next = next.spawn(move || match left.checked_sub(1) {
        Some(left) => path_after(left, tell),
        None => tell.set(current().unwrap().path().len()),
    });
    drop(next.unwrap());
}

#[test]
fn a_long_path_is_told_on_a_small_stack() {
    let ended = isolated(|| {
        run(|| {
            let length = Rc::new(Cell::new(0));
            path_after(10_000, length.clone());
            while length.get() == 0 {
                yield_now();
            }
            assert_eq!(length.get(), "root".len() + ".0".len() * 10_001);
        });
    });
    ended.map(|it| it.well());
}
