//! Stacks as a resource: how many there can be, what they cost, and what happens when they run out.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Mutex;
use support::{Isolation, isolated, maps, memory_kib, real_stacks, status_kib};
use tasklets::{
    Builder, Halt, JoinError, Never, Runtime, after, blocking, channel, pause, run, scope, select,
    sleep, spawn, yield_now,
};

/// Tests that need gigabytes run one at a time.
static HEAVY: Mutex<()> = Mutex::new(());

const KIB: usize = 1024;

/// How many tasklets the OS lets a process have without guard markers, if that is testable.
fn most_by_maps() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    let most = text.trim().parse::<usize>().ok()?;
    if most > 300_000 {
        eprintln!("not tested: vm.max_map_count is {most}, too many to use up");
        return None;
    }
    Some(most)
}

/// Spawns tasklets that wait for `gone` until no more can be made; returns them and the error.
fn spawn_until_refused(
    gone: &tasklets::Receiver<Never>,
) -> (Vec<tasklets::Tasklet<Result<Never, Halt>>>, tasklets::SpawnError) {
    let mut waiting = Vec::new();
    loop {
        let gone = gone.clone();
        match Builder::new().spawn(move || gone.recv()) {
            Ok(tasklet) => waiting.push(tasklet),
            Err(error) => return (waiting, error),
        }
    }
}

#[test]
fn running_out_of_memory_maps_is_an_error_that_names_the_limit() {
    let _alone = HEAVY.lock().unwrap_or_else(|it| it.into_inner());
    let Some(most) = most_by_maps().filter(|_| real_stacks()) else { return };
    let child = Isolation::default().env("TASKLETS_GUARD", "pages").seconds(300);
    let Some(ended) = child.run(move || {
        run(|| {
            let (alive, gone) = channel::<Never>();
            let (waiting, error) = spawn_until_refused(&gone);
            assert!(error.to_string().contains("vm.max_map_count"), "{error}");
            assert!(waiting.len() > most / 3, "only {} before {error}", waiting.len());
            yield_now(); // now all of them have stacks
            assert!(waiting.iter().all(|it| it.state() == tasklets::State::Waiting));
            drop(Builder::new().spawn(|| ()).unwrap_err());
            drop(alive);
            for tasklet in waiting {
                assert_eq!(tasklet.join().unwrap(), Err(Halt::Closed));
            }
            assert_eq!(spawn(|| "there is room again").join().unwrap(), "there is room again");
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_tasklet_for_which_no_stack_is_left_fails_with_the_reason() {
    let _alone = HEAVY.lock().unwrap_or_else(|it| it.into_inner());
    if most_by_maps().is_none() || !real_stacks() {
        return;
    }
    let child = Isolation::default().env("TASKLETS_GUARD", "pages").seconds(300);
    let Some(ended) = child.run(|| {
        run(|| {
            let (alive, gone) = channel::<Never>();
            let (waiting, _) = spawn_until_refused(&gone);
            yield_now();
            // Another run of this process: its scheduler counts its own tasklets only.
            let other = blocking(|| {
                let ended = Runtime::builder().build().run(|| spawn(|| 1).join().map(|_| ()));
                format!("{ended:?}")
            });
            let other = other.unwrap();
            assert!(other.contains("vm.max_map_count"), "{other}");
            drop(alive);
            waiting.into_iter().for_each(|it| drop(it.join()));
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn a_stack_that_the_os_refuses_is_the_panic_of_its_tasklet_and_of_nobody_else() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = Isolation::default().virtual_kib(3 << 20).run(|| {
        let dropped = Rc::new(Cell::new(0));
        let (count, count_now) = (dropped.clone(), dropped.clone());
        run(move || {
            let huge = || Builder::new().stack_size(1 << 30);
            let all: Vec<_> = (0..5)
                .map(|_| {
                    let held = Counted(count.clone());
                    let body = move || {
                        let _held = held;
                        pause()
                    };
                    huge().spawn(body).unwrap()
                })
                .collect();
            yield_now();
            let (refused, waiting): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|it| it.is_finished());
            assert!(!refused.is_empty());
            assert_eq!(count_now.get(), refused.len() as u32, "dropped though a handle is kept");
            for tasklet in refused {
                let Err(JoinError::Panicked(why)) = tasklet.join() else {
                    panic!("it has no stack")
                };
                assert!(why.downcast::<String>().unwrap().contains("refused a stack of"));
            }
            waiting.iter().for_each(|it| it.cancel());
            waiting.into_iter().for_each(|it| assert_eq!(it.join().unwrap(), Err(Halt::Cancelled)));
            assert_eq!(spawn(|| 3).join().unwrap(), 3);
        });
        assert_eq!(dropped.get(), 5, "what the tasklets captured is dropped, each once");
    }) else {
        return;
    };
    ended.well();
}

/// Counts its drops.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_destructor_that_panics_for_want_of_a_stack_does_not_end_the_process() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a captured value's drop"));
        }
    }
    if !real_stacks() {
        return;
    }
    let Some(ended) = Isolation::default().virtual_kib(3 << 20).run(|| {
        let ended = Runtime::builder().build().run(|| {
            for _ in 0..5 {
                let bomb = Bomb;
                let huge = Builder::new().stack_size(1 << 30);
                std::mem::forget(huge.spawn(move || {
                    let _ = pause();
                    std::mem::forget(bomb);
                }));
            }
            yield_now();
        });
        assert!(ended.is_err(), "a panic is not lost: {ended:?}");
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn no_more_tasklets_are_alive_than_the_builder_allows() {
    let runtime = Runtime::builder().max_tasklets(5).build();
    let ended = runtime.run(|| {
        let (alive, gone) = channel::<Never>();
        let (waiting, error) = spawn_until_refused(&gone);
        assert_eq!(waiting.len(), 4, "the root is one of five");
        assert!(error.to_string().contains("max_tasklets"), "{error}");
        assert!(error.to_string().contains('5'), "{error}");
        let overdrawn = std::panic::catch_unwind(|| spawn(|| ()));
        assert!(overdrawn.is_err());
        drop(alive);
        waiting.into_iter().for_each(|it| assert_eq!(it.join().unwrap(), Err(Halt::Closed)));
        spawn(|| 1).join().unwrap()
    });
    assert_eq!(ended.unwrap(), 1);
    let none = Runtime::builder().max_tasklets(0).build().run(|| ());
    assert!(none.unwrap_err().to_string().contains("max_tasklets"));
}

#[test]
fn finished_stacks_are_used_again() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = isolated(|| {
        run(|| {
            let spawn_many = |count: usize| {
                (0..count).for_each(|it| assert_eq!(spawn(move || it).join().unwrap(), it));
            };
            spawn_many(100);
            let before = (maps(), status_kib("VmRSS"));
            spawn_many(100_000);
            let after = (maps(), status_kib("VmRSS"));
            assert!(after.0 <= before.0 + 4, "maps: {before:?} -> {after:?}");
            assert!(after.1 <= before.1 + 2 * KIB, "KiB: {before:?} -> {after:?}");
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn stacks_of_many_sizes_do_not_pile_up() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = isolated(|| {
        run(|| {
            let spawn_sizes = |count: usize| {
                for bytes in (16 * KIB..).take(count) {
                    Builder::new().stack_size(bytes).spawn(|| ()).unwrap().join().unwrap();
                }
            };
            spawn_sizes(100);
            let before = (maps(), status_kib("VmRSS"));
            spawn_sizes(20_000); // of only five different numbers of pages
            let after = (maps(), status_kib("VmRSS"));
            assert!(after.0 <= before.0 + 100, "maps: {before:?} -> {after:?}");
            assert!(after.1 <= before.1 + 8 * KIB, "KiB: {before:?} -> {after:?}");
        });
    }) else {
        return;
    };
    ended.well();
}

#[test]
fn an_odd_stack_size_does_not_touch_the_whole_stack() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = isolated(|| {
        run(|| {
            spawn(|| ()).join().unwrap();
            for bytes in [(256 << 20) + 1, (256 << 20) + 7, (256 << 20) + 8, (256 << 20) + 4104] {
                let before = status_kib("VmRSS");
                let waiting = Builder::new().stack_size(bytes).spawn(pause).unwrap();
                yield_now();
                let after = status_kib("VmRSS");
                assert!(after <= before + KIB, "{bytes}: {before} -> {after} KiB");
                waiting.cancel();
                assert_eq!(waiting.join().unwrap(), Err(Halt::Cancelled));
            }
        });
    }) else {
        return;
    };
    ended.well();
}

/// Lets `count` tasklets wait at the same time; returns the bytes that each of them takes.
fn crowd(builder: &Builder, count: usize) -> f64 {
    let memory = || status_kib("VmRSS") + status_kib("VmPTE");
    let before = memory();
    run(|| {
        let (tx, rx) = channel::<usize>();
        for _ in 0..count {
            let tx = tx.clone();
            drop(builder.clone().spawn(move || tx.send(1)).unwrap());
        }
        yield_now();
        let taken = (memory() - before) as f64 * 1024.0 / count as f64;
        eprintln!("{count} waiting: {taken:.0} bytes each, {} maps", maps());
        drop(tx);
        assert_eq!(rx.into_iter().sum::<usize>(), count, "each of them goes on");
        taken
    })
}

/// Maps that 100 suspended tasklets take.
fn maps_of_a_hundred() -> usize {
    run(|| {
        let before = maps();
        let (_alive, gone) = channel::<Never>();
        for _ in 0..100 {
            let gone = gone.clone();
            drop(spawn(move || gone.recv()));
        }
        yield_now();
        maps() - before
    })
}

/// A million; a tenth of that in debug builds, where it would take minutes. CI runs both.
const MILLION: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// Body of the tests below: a million tasklets, or a clear error where there cannot be so many.
fn a_million(builder: &Builder) {
    if maps_of_a_hundred() < 150 {
        // In debug builds frames are larger: one page more.
        let most = if cfg!(debug_assertions) { 12_800.0 } else { 8.5 * 1024.0 };
        let taken = crowd(builder, MILLION);
        assert!(taken < most, "{taken:.0} bytes per tasklet, more than {most}");
        return;
    }
    eprintln!("guard markers do not work here: no million");
    run(|| {
        let (_alive, gone) = channel::<Never>();
        let refused = (0..MILLION).find_map(|_| {
            let gone = gone.clone();
            builder.clone().spawn(move || gone.recv()).err()
        });
        assert!(refused.unwrap().to_string().contains("vm.max_map_count"));
    });
}

/// Whether a million tasklets can be tried; says so if not.
fn have_room() -> bool {
    let room = memory_kib("MemAvailable") >= 12 << 20;
    if !room {
        eprintln!("not tested: less than 12 GB of memory are free");
    }
    room && real_stacks()
}

#[test]
fn a_million_small_tasklets_wait_on_stock_limits_or_are_refused_with_the_reason() {
    let _alone = HEAVY.lock().unwrap_or_else(|it| it.into_inner());
    if have_room() {
        let small = || a_million(&Builder::new().stack_size(16 * KIB));
        let Some(ended) = Isolation::default().seconds(900).run(small) else { return };
        eprintln!("{}", ended.well().text);
    }
}

#[test]
fn a_million_default_tasklets_wait_on_stock_limits_or_are_refused_with_the_reason() {
    let _alone = HEAVY.lock().unwrap_or_else(|it| it.into_inner());
    if have_room() {
        let default = || a_million(&Builder::new());
        let Some(ended) = Isolation::default().seconds(900).run(default) else { return };
        eprintln!("{}", ended.well().text);
    }
}

#[test]
fn ten_million_spawns_in_a_row_do_not_exhaust_memory() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = isolated(|| {
        let count = if cfg!(debug_assertions) { 300_000_u64 } else { 10_000_000 };
        let finished = Rc::new(Cell::new(0_u64));
        let total = finished.clone();
        run(move || {
            for number in 0..count {
                let finished = finished.clone();
                drop(spawn(move || finished.set(finished.get() + 1)));
                if number % 1_000 == 999 {
                    yield_now();
                }
            }
        });
        let peak = status_kib("VmHWM");
        eprintln!("{count} spawned, {} begun, at most {peak} KiB", total.get());
        assert!(total.get() >= count - 1_000);
        assert!(peak < 100_000, "{peak} KiB");
    }) else {
        return;
    };
    eprintln!("{}", ended.well().text);
}

#[test]
fn spawns_without_ever_giving_way_cost_little_until_they_begin() {
    if !real_stacks() {
        return;
    }
    let Some(ended) = isolated(|| {
        let count = if cfg!(debug_assertions) { 300_000 } else { 3_000_000 };
        let finished = Rc::new(Cell::new(0));
        let total = finished.clone();
        run(move || {
            let before = status_kib("VmRSS");
            for _ in 0..count {
                let finished = finished.clone();
                drop(spawn(move || finished.set(finished.get() + 1)));
            }
            let each = (status_kib("VmRSS") - before) * 1024 / count;
            eprintln!("{count} that have not begun: {each} bytes each");
            assert!(each < 800, "{each} bytes each");
            yield_now();
        });
        assert_eq!(total.get(), count);
        eprintln!("at most {} KiB", status_kib("VmHWM"));
    }) else {
        return;
    };
    eprintln!("{}", ended.well().text);
}

#[test]
fn the_thread_engine_runs_the_same_program() {
    let program = || {
        let (tx, rx) = channel();
        let (done, finished) = channel::<Never>();
        let sender = spawn(move || tx.send_all(0..100));
        let total = scope(|s| {
            let squares = s.spawn(|| rx.iter().map(|it| it * it).sum::<u64>());
            squares.join().unwrap()
        });
        let waiting = spawn(move || {
            let late = select! {
                recv(finished) -> _ => false,
                op(after(std::time::Duration::from_secs(3_600))) -> _ => true,
            };
            late
        });
        yield_now();
        drop(done);
        let cancelled = spawn(pause);
        yield_now();
        cancelled.cancel();
        let panicked = spawn(|| std::panic::resume_unwind(Box::new(9)));
        let panicked: Result<(), _> = panicked.join();
        sleep(std::time::Duration::from_millis(1)).unwrap();
        let elsewhere = blocking(|| 5).unwrap();
        (
            (sender.join().unwrap().unwrap(), total, waiting.join().unwrap()),
            (cancelled.join().unwrap(), panicked.is_err(), elsewhere),
        )
    };
    let runtime = Runtime::builder().threads_as_stacks(true).build();
    let on_threads = runtime.run(program).unwrap();
    assert_eq!(on_threads, Runtime::builder().build().run(program).unwrap());
    assert_eq!(on_threads, ((100, 328_350, false), (Err(Halt::Cancelled), true, 5)));
}
